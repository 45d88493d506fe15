package harness_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"canalgo/integration/harness"
	"canalgo/status"
)

// TestMain lets the test binary be the canalgo that is run.
func TestMain(m *testing.M) {
	if os.Getenv("CANALGO_BINARY") == os.Args[0] {
		os.Exit(pretend(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// pretend is a canalgo of one page: its term counts how often it was asked. The file's key does says what it does besides.
func pretend(args []string) int {
	if args[0] != "-config" {
		fmt.Println(strings.Join(args, " "), os.Getenv("CANALGO_HTTP"))
		return len(args)
	}
	var file struct {
		Node struct{ HTTP, Data string }
		Does string
	}
	if _, err := toml.DecodeFile(args[1], &file); err != nil {
		fmt.Println(err)
		return 2
	}
	os.MkdirAll(file.Node.Data, 0o755)
	switch file.Does {
	case "die":
		fmt.Println("out of paper")
		return 3
	case "print":
		fmt.Println("password=planted")
	case "store":
		os.WriteFile(filepath.Join(file.Node.Data, "db"), []byte("..planted.."), 0o644)
	}
	asked := 0
	http.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		asked++
		report := status.Report{Node: "n1", Term: uint64(asked)}
		if file.Does == "show" {
			report.Problems = []string{"planted"}
		}
		json.NewEncoder(w).Encode(report)
	})
	http.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/metrics", func(http.ResponseWriter, *http.Request) {})
	go http.ListenAndServe(file.Node.HTTP, nil)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return 0
}

// node makes a node of this test binary that does something special.
func node(t *testing.T, does string) *harness.Node {
	t.Helper()
	t.Setenv("CANALGO_BINARY", os.Args[0])
	n, err := harness.New(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(n.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.Config(), fmt.Appendf(nil, "does = %q\n%s", does, file), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Kill() })
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	return n
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestWait(t *testing.T) {
	n := node(t, "")
	if err := n.WaitReady(soon(t)); err != nil {
		t.Fatal(err)
	}
	if report, err := n.Status(soon(t)); err != nil || report.Term < 4 {
		t.Errorf("asked %d times, %v; want readiness asked until its third answer", report.Term, err)
	}
	report, err := n.Wait(soon(t), "term 7", func(r status.Report) bool { return r.Term >= 7 })
	if err != nil || report.Term < 7 {
		t.Errorf("term %d, %v", report.Term, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = n.Wait(ctx, "the moon", func(status.Report) bool { return false })
	if err == nil || !strings.Contains(err.Error(), "the moon") || !strings.Contains(err.Error(), `"node":"n1"`) {
		t.Errorf("in vain: %v, want what was waited for and the last status", err)
	}
	if err := n.Stop(); err != nil || n.ExitCode() != 0 {
		t.Errorf("stop: %v, exit code %d", err, n.ExitCode())
	}
}

func TestWaitEndsWithTheProcess(t *testing.T) {
	n := node(t, "die")
	err := n.WaitReady(soon(t))
	if err == nil || !strings.Contains(err.Error(), "ended with 3") || !strings.Contains(err.Error(), "out of paper") {
		t.Errorf("%v, want the exit code and the log", err)
	}
}

func TestCommand(t *testing.T) {
	n := node(t, "")
	out, err := n.Command(soon(t), "load", "a/b")
	if want := "load a/b " + n.HTTP + "\n"; err != nil || out.Stdout != want || out.Code != 2 {
		t.Errorf("%q, code %d, %v, want %q, code 2", out.Stdout, out.Code, err, want)
	}
}

func TestLeaks(t *testing.T) {
	for does, place := range map[string]string{"": "", "print": "canalgo.log", "store": "db", "show": "/status"} {
		t.Run(does, func(t *testing.T) {
			n := node(t, does)
			if err := n.WaitReady(soon(t)); err != nil {
				t.Fatal(err)
			}
			err := n.Leaks(soon(t), "another", "planted")
			if place == "" && err != nil {
				t.Error(err)
			}
			if place != "" && (err == nil || !strings.Contains(err.Error(), place) || strings.Contains(err.Error(), "planted")) {
				t.Errorf("%v, want the place %s and not the secret", err, place)
			}
		})
	}
}
