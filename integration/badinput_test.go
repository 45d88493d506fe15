//go:build integration

package integration_test

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/golden"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// A bad is a file that is good but for one thing.
type bad struct {
	name     string
	old, new string // replaced in the good file; an old of "" replaces all
	code     int
	want     []string // in the one line that says it
}

// oneLine checks that a text is one line with all of want, and no stack trace.
func oneLine(t *testing.T, text string, want ...string) {
	t.Helper()
	if strings.Count(text, "\n") != 1 || strings.Contains(text, "goroutine ") || strings.Contains(text, "panic") {
		t.Errorf("want one line, got:\n%s", text)
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

// goodRig has a file that check finds nothing wrong with.
func goodRig(t *testing.T) (r *rig, good string) {
	t.Helper()
	r = newRig(t, "badinput", oracle.WorkloadConfig{}, "")
	r.must(r.work.Fill(t.Context(), 3))
	r.command(0, "check", r.node.Config())
	data, err := os.ReadFile(r.node.Config())
	r.must(err)
	return r, string(data)
}

// spoil writes the good file with one thing changed.
func (r *rig) spoil(good string, c bad) {
	r.t.Helper()
	text := c.new
	if c.old != "" {
		if !strings.Contains(good, c.old) {
			r.t.Fatalf("the file has no %q:\n%s", c.old, good)
		}
		text = strings.Replace(good, c.old, c.new, 1)
	}
	r.must(os.WriteFile(r.node.Config(), []byte(text), 0o600))
}

func (r *rig) output(args ...string) harness.Output {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	out, err := r.node.Command(ctx, args...)
	r.must(err)
	return out
}

// TestBadSurroundings runs canalgo check in each folder of testdata/badinput: with its config.toml, in which what the servers decide
// stands between @s, after the statements of before.sql and the requests of before.http. The file want has what check says, but for
// the lines of what is as it should be.
func TestBadSurroundings(t *testing.T) {
	r := newRig(t, "badinput", oracle.WorkloadConfig{}, "")
	unlogged, err := component.StartMySQL(t.Context(), t.TempDir(), "--skip-log-bin", "--log-replica-updates=OFF", "--innodb-native-foreign-keys=ON")
	r.must(err)
	t.Cleanup(func() { unlogged.Kill() })
	filtered, err := component.StartMySQL(t.Context(), t.TempDir(), "--binlog-ignore-db=badinput")
	r.must(err)
	t.Cleanup(func() { filtered.Kill() })
	values := map[string]string{"MYSQL": r.mysql.Addr(), "UNLOGGED": unlogged.Addr(), "FILTERED": filtered.Addr(), "ES": r.proxy.URL(), "ES8": notElasticsearch7(t, `"number":"8.11.0"`),
		"OPENSEARCH": notElasticsearch7(t, `"number":"2.11.0","distribution":"opensearch"`), "USER": component.CanalgoUser,
		"PASSWORD": component.CanalgoPassword, "ES_PASSWORD": component.ElasticPassword, "OTHER_CA": foreignCA(t)}
	id, err := r.db.Query("SELECT @@server_id")
	r.must(err)
	values["SERVER_ID"], _ = id.GetString(0, 0)
	setup, err := os.ReadFile("testdata/badinput/setup.sql")
	r.must(err)
	r.must(r.db.Exec(lines(fill(string(setup), values))...))
	t.Cleanup(func() { r.must(r.db.Exec("DROP USER blind, no_select, needs_tls")) })
	r.must(unlogged.Exec("CREATE DATABASE badinput", "CREATE TABLE badinput.orders (id BIGINT PRIMARY KEY, name INT, at INT, big INT, price INT, note INT)",
		"CREATE TABLE badinput.lines (id INT PRIMARY KEY, o BIGINT, FOREIGN KEY (o) REFERENCES badinput.orders (id) ON DELETE CASCADE)"))

	r.must(filtered.Exec("CREATE DATABASE badinput", "CREATE TABLE badinput.orders (id BIGINT PRIMARY KEY, name INT, at INT, big INT, price INT, note INT)"))

	golden.Each(t, "testdata/badinput", func(t *testing.T, c golden.Case) {
		r.must(r.db.Exec(lines(c.Read(t, "before.sql"))...))
		defer func() { r.must(r.db.Exec(lines(c.Read(t, "after.sql"))...)) }()
		for _, request := range lines(c.Read(t, "before.http")) {
			method, rest, _ := strings.Cut(request, " ")
			path, body, _ := strings.Cut(rest, " ")
			_, err := r.es.Request(t.Context(), method, path, []byte(body))
			r.must(err)
		}
		defer func() {
			_, err := r.es.Request(context.Background(), http.MethodDelete, "/badinput,badinput-1,badinput-2?ignore_unavailable=true&expand_wildcards=all", nil)
			r.must(err)
		}()
		file := filepath.Join(t.TempDir(), "config.toml")
		r.must(os.WriteFile(file, []byte(fill(c.Read(t, "config.toml"), values)), 0o600))
		out := r.output("check", file)
		text := fmt.Sprintf("canalgo check config.toml: exit %d\n%s%s", out.Code, out.Stdout, out.Stderr)
		for _, secret := range []string{component.CanalgoPassword, "another-secret"} {
			if strings.Contains(text, secret) {
				t.Error("check prints a password")
			}
		}
		c.Compare(t, printed(strings.ReplaceAll(text, file, "config.toml"), values))
	})
}

// fill puts values in the places of @NAME@s.
func fill(text string, values map[string]string) string {
	for name, value := range values {
		text = strings.ReplaceAll(text, "@"+name+"@", value)
	}
	return text
}

var (
	uuids  = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	counts = regexp.MustCompile(`[0-9]+ of [0-9]+ checks|all [0-9]+ checks`)
	places = regexp.MustCompile(`binlog\.[0-9]{6}`)
	digits = regexp.MustCompile(`[0-9]+`)
	sizes  = regexp.MustCompile(`UUID:1-[0-9]+|only [0-9]+ bytes`)
)

// printed takes out of what check printed what is as it should be, and what is another thing in each run.
func printed(text string, values map[string]string) string {
	if text, sample, ok := strings.Cut(text, "\nmapping.orders: a row would become"); ok && !strings.Contains(text, ": exit 0") {
		_, end, _ := strings.Cut(sample, "\n}\n\n")
		return printed(text+end, values)
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "ok ") || strings.Contains(line, "tables:") || strings.Contains(line, "; ") {
			out.WriteString(line)
		}
	}
	text = counts.ReplaceAllString(uuids.ReplaceAllString(out.String(), "UUID"), "N of M checks")
	text = sizes.ReplaceAllStringFunc(places.ReplaceAllString(text, "binlog.N"), func(s string) string { return digits.ReplaceAllString(s, "N") })
	for name, value := range values {
		if strings.Contains(value, ":") { // an address
			text = strings.ReplaceAll(text, value, "@"+name+"@")
		}
	}
	return text
}

// lines returns the lines of a file that hold something.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// foreignCA returns the file of an authority that signed nothing here.
func foreignCA(t *testing.T) string {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// notElasticsearch7 serves what answers like Elasticsearch, but for its version.
func notElasticsearch7(t *testing.T, version string) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"version":{%s},"tagline":"You Know, for Search"}`, version)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestBadStart starts canalgo where it can not begin.
func TestBadStart(t *testing.T) {
	r, good := goodRig(t)
	r.start()
	t.Cleanup(func() { r.must(os.WriteFile(r.node.Config(), []byte(good), 0o600)) })
	port := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		r.must(err)
		defer l.Close()
		return l.Addr().String()
	}
	free, other := port(), port()
	file := filepath.Join(t.TempDir(), "file")
	r.must(os.WriteFile(file, nil, 0o600))
	format := filepath.Join(t.TempDir(), "format")
	r.must(os.MkdirAll(format, 0o700))
	r.must(os.WriteFile(filepath.Join(format, "meta.json"), []byte(`{"format":99,"cluster_id":"c","node_id":"n1"}`), 0o600))

	good = strings.Replace(strings.Replace(good, r.node.HTTP, free, 1), r.node.Port, other, 1)
	data := func(path string) string { return fmt.Sprintf("data = %q", path) }
	for _, c := range []bad{
		{"port in use", free, r.node.HTTP, 3, []string{"node.http", r.node.HTTP, "in use", fmt.Sprintf("pid %d (canalgo) listens there", r.node.PID())}},
		{"node port in use", other, r.node.Port, 3, []string{"node.listen", r.node.Port, "in use", fmt.Sprintf("pid %d (canalgo) listens there", r.node.PID())}},
		{"folder in use", "", good, 3, []string{"data folder", r.node.Data(), "in use", fmt.Sprint(r.node.PID())}},
		{"folder is a file", data(r.node.Data()), data(file), 3, []string{"data folder", file, "is a file"}},
		{"folder below a file", data(r.node.Data()), data(file + "/data"), 3, []string{"data folder", file, "a part of the path is a file"}},
		{"folder that cannot be made", data(r.node.Data()), data("/proc/canalgo"), 3, []string{"data folder", "/proc/canalgo"}},
		{"folder of another version", data(r.node.Data()), data(format), 3, []string{"data folder", format, "99"}},
		{"no file", "", good, 2, []string{"no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.spoil(good, c)
			config := r.node.Config()
			if c.code == 2 {
				config += ".none"
			}
			out := r.output("-config", config)
			if out.Code != c.code {
				t.Errorf("ended with %d, want %d", out.Code, c.code)
			}
			oneLine(t, out.Stderr, append(c.want, config)...)
		})
	}
}

// TestOneWrongMapping runs two mappings of which one cannot work: the other does, and the status says which is which.
func TestOneWrongMapping(t *testing.T) {
	r := newRig(t, "onewrong", oracle.WorkloadConfig{}, "")
	r.must(r.node.Configure(r.sections("") + r.mapping("broken", "", "select t.nothing as _id from onewrong.acc t")))
	r.must(r.node.Start())
	report := r.awaitReport("the wrong mapping's stop and the other's work", func(report status.Report) bool {
		wrong, _ := report.Duty("shop/broken")
		right, _ := report.Duty("shop/onewrong")
		return wrong.Stage == status.Stopped && right.Stage == status.Idle
	})
	if wrong, _ := report.Duty("shop/broken"); !strings.Contains(wrong.LastError, "nothing") {
		t.Errorf("the wrong mapping's error is %q", wrong.LastError)
	}
	r.must(r.work.Fill(t.Context(), 10))
	r.document("10", func(_ component.Document, found bool) bool { return found })
	r.command(4, "status")
}

// TestGarbageOverHTTP sends what is no request; afterwards the node answers as before.
func TestGarbageOverHTTP(t *testing.T) {
	r := newRig(t, "garbage", oracle.WorkloadConfig{}, "")
	r.start()
	noise := make([]byte, 1<<20)
	rand.Read(noise)
	for name, data := range map[string][]byte{
		"noise":       noise,
		"long header": []byte("GET /status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"),
		"long path":   []byte("GET /" + strings.Repeat("%2e%2e/", 1<<17) + " HTTP/1.1\r\nHost: x\r\n\r\n"),
		"long body":   []byte("POST /v1/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n" + strings.Repeat("[", 1<<20)),
		"no JSON":     []byte("POST /v1/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n\x00\xff{{"),
		"half":        []byte("GET /sta"),
	} {
		conn, err := net.Dial("tcp", r.node.HTTP)
		r.must(err)
		conn.SetDeadline(time.Now().Add(within))
		conn.Write(data) // it may be cut off
		conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn) // or reset
		conn.Close()
		if strings.HasPrefix(string(answer), "HTTP/1.1 2") {
			t.Errorf("%s: answered %.100s", name, answer)
		}
	}
	report, err := r.node.Status(t.Context())
	r.must(err)
	if !report.Healthy || len(report.Duties) != 1 {
		t.Errorf("afterwards: %+v", report)
	}
	r.must(r.work.Fill(t.Context(), 5))
	r.equal()
}
