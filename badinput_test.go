package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"canalgo/cli"
	"canalgo/integration/golden"
)

// canary is the password of every file in testdata/badinput.
const canary = "c4n4ry-hunter2"

// TestBadInput runs canalgo in each folder of testdata/badinput, with the words in its file args, or "check config.toml" without
// one. It needs no server: what is wrong is found before one is asked.
func TestBadInput(t *testing.T) {
	golden.Each(t, "testdata/badinput", func(t *testing.T, c golden.Case) {
		t.Chdir(c.Dir)
		args := strings.Fields(c.Read(t, "args"))
		if len(args) == 0 {
			args = []string{"check", "config.toml"}
		}
		var out strings.Builder
		code := cli.Main(t.Context(), args, &out, &out, program())
		text := fmt.Sprintf("canalgo %s: exit %d\n%s", strings.Join(args, " "), code, &out)
		if strings.Contains(text, canary) || strings.Contains(text, "goroutine ") {
			t.Errorf("a secret or a stack is shown:\n%s", text)
		}
		c.Compare(t, text)
	})
}

// TestUnreadableFile reads a file of another user: B1.
func TestUnreadableFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.Chmod(filepath.Dir(filepath.Dir(file)), 0o755); err != nil { // the folder of this test's folders
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("[node]\n"), 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	go func() {
		// Only this thread is nobody, and it ends with the goroutine; root could read the file.
		runtime.LockOSThread()
		if os.Getuid() == 0 {
			if err := syscall.Setfsuid(65534); err != nil {
				t.Error(err)
			}
		}
		var out strings.Builder
		code := cli.Main(t.Context(), []string{"check", file}, &out, &out, program())
		done <- fmt.Sprintf("exit %d: %s", code, &out)
	}()
	want := fmt.Sprintf("exit 2: canalgo: %s: permission denied (running as uid %d; the file is 0, uid %[2]d)\n", file, os.Getuid())
	if got := <-done; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// TestExposedSecretFile has a password in a file that everybody may read: B9.
func TestExposedSecretFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"password": canary, "config.toml": `
[source.shop]
addr = "127.0.0.1:1"
user = "canal"
password = "file:password"
[sink.log]
type = "logger"
[mapping.orders]
source = "shop"
sink = "log"
_index = "orders"
sql = "select id as _id from shop.orders"
`} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func() string {
		var out strings.Builder
		cli.Main(t.Context(), []string{"check", "config.toml"}, &out, &out, program())
		return out.String()
	}
	const want = "look   config.toml:5:13: source.shop.password: password can be read by others on this host (0644); chmod 600 it\n"
	if got := check(); strings.Contains(got, "look ") {
		t.Errorf("nobody can read it, but check says\n%s", got)
	}
	if err := os.Chmod("password", 0o644); err != nil {
		t.Fatal(err)
	}
	if got := check(); !strings.HasPrefix(got, want) || strings.Contains(got, canary) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestTableOfBadInput holds docs/bad-input.md against what is there: each number once, with tests and folders that exist.
func TestTableOfBadInput(t *testing.T) {
	doc, err := os.ReadFile("docs/bad-input.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	rows := make(map[string]string)
	for line := range strings.Lines(string(doc)) {
		cells := strings.SplitN(line, "|", 5)
		if len(cells) < 5 || !strings.HasPrefix(cells[1], " B") {
			continue
		}
		id, shown := strings.TrimSpace(cells[1]), cells[3]
		if rows[id] != "" {
			t.Errorf("%s stands there twice", id)
		}
		rows[id] = shown
		names := strings.Split(shown, "`")
		if len(names) < 3 && !strings.Contains(shown, "not applicable: ") {
			t.Errorf("%s is shown by nothing", id)
		}
		for i := 1; i < len(names); i += 2 {
			found, err := filepath.Glob(names[i])
			if err != nil {
				t.Fatal(err)
			}
			if len(found) == 0 && !tests[names[i]] {
				t.Errorf("%s: there is no %s", id, names[i])
			}
		}
	}
	for n := 1; n <= 76; n++ {
		if rows[fmt.Sprintf("B%d", n)] == "" {
			t.Errorf("B%d is missing", n)
		}
	}
	for _, dir := range []string{"testdata/badinput", "integration/testdata/badinput"} {
		golden.Each(t, dir, func(t *testing.T, c golden.Case) {
			var n int
			if _, err := fmt.Sscanf(c.Name, "B%02d-", &n); err == nil && !strings.Contains(rows[fmt.Sprintf("B%d", n)], fmt.Sprintf("`%s/B%02d", dir, n)) {
				t.Errorf("B%d does not name %s", n, c.Name)
			}
		})
	}
}

// testNames returns the tests and fuzz targets of all packages.
func testNames(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(data, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
