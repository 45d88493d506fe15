package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	if err := checkClock(time.Now()); err != nil {
		t.Error(err)
	}
	if err := checkClock(time.Unix(100, 0)); err == nil || !strings.Contains(err.Error(), "says 1970-01-01 00:01:40; set it") {
		t.Errorf("a clock at 1970: %v", err)
	}
}

// TestHost is run again by itself under a low limit of open files.
func TestHost(t *testing.T) {
	const inner = "CANALGO_TEST_HOST"
	if os.Getenv(inner) != "" {
		t.Log(lookAtHost("/dev/shm/canalgo/data"))
		return
	}
	out, err := exec.Command("sh", "-c", "ulimit -n 64; "+inner+"=1 exec "+os.Args[0]+" -test.run TestHost -test.v").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"may open 64 files (ulimit -n)", "/dev/shm/canalgo/data is in memory (tmpfs)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s does not say %q", out, want)
		}
	}
	if got := lookAtHost("/proc"); len(got) > 0 {
		t.Errorf("without a reason: %q", got)
	}
}

func TestPortHolder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if got, want := portHolder(address), fmt.Sprintf("; pid %d (canalgo.test) listens there", os.Getpid()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	l.Close()
	for _, nobody := range []string{address, "nonsense", "127.0.0.1:http"} {
		if got := portHolder(nobody); got != "" {
			t.Errorf("%s: %q", nobody, got)
		}
	}
}
