//go:build integration

package integration_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
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

// TestBadFiles runs canalgo with files that have one mistake.
func TestBadFiles(t *testing.T) {
	r, good := goodRig(t)
	mapping := good[strings.Index(good, "[mapping."):]
	for _, c := range []bad{
		{"unknown key", "user = ", "usr = \"x\"\nuser = ", 2, []string{"source.shop.usr", `did you mean "user"`}},
		{"wrong type", "bulk_docs = 500", `bulk_docs = "500"`, 2, []string{"sink.es.bulk_docs", `"500"`, "number"}},
		{"too small", "bulk_docs = 500", "bulk_docs = 0", 2, []string{"sink.es.bulk_docs", "0", "between 1 and"}},
		{"no mapping", mapping, "", 2, []string{"mapping", "[mapping.NAME]"}},
		{"two sinks of one name", "[mapping.", "[sink.es]\ntype = \"logger\"\n\n[mapping.", 2, []string{"sink.es"}},
		{"unknown sink", `sink = "es"`, `sink = "ez"`, 2, []string{"mapping.badinput.sink", "ez", `did you mean "es"`}},
		{"unknown source", `source = "shop"`, `source = "shp"`, 2, []string{"mapping.badinput.source", "shp", `did you mean "shop"`}},
		{"two mappings of one index", "[mapping.", strings.Replace(mapping, "[mapping.badinput]", "[mapping.again]", 1) + "\n[mapping.", 2, []string{"_index", "badinput", "again"}},
		{"no SQL", "select t.id", "selekt t.id", 2, []string{"mapping.badinput.sql", "selekt"}},
		{"a join", "acc t\"", "acc t join x on x.a = t.id\"", 2, []string{"mapping.badinput.sql", "join"}},
		{"a function", "t.ver,", "upper(t.name) as ver,", 2, []string{"mapping.badinput.sql", "upper"}},
		{"no TOML", "[sink.es]", "[sink.es", 2, nil},
		{"empty", "", " ", 2, []string{"empty"}},
		{"no variable", `password = "` + component.CanalgoPassword + `"`, `password = "${CANALGO_NO_SUCH_VARIABLE}"`, 2, []string{"source.shop.password", "CANALGO_NO_SUCH_VARIABLE"}},
		{"start", "schema = ", "start = \"yesterday\"\nschema = ", 2, []string{"source.shop.start", "yesterday", "current"}},
		{"port", `http = "` + r.node.HTTP, `http = "127.0.0.1:http`, 2, []string{"node.http", "1 to 65535"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.spoil(good, c)
			for _, args := range [][]string{{"-config", r.node.Config()}, {"check", r.node.Config()}} {
				out := r.output(args...)
				if out.Code != c.code || out.Stdout != "" {
					t.Errorf("canalgo %s ended with %d, want %d, and printed %q", args[0], out.Code, c.code, out.Stdout)
				}
				oneLine(t, out.Stderr, append(c.want, r.node.Config())...)
			}
		})
	}
}

// TestBadSurroundings runs check where something around a good file is not as it must be. It prints one line for each thing
// that is wrong, here one.
func TestBadSurroundings(t *testing.T) {
	r, good := goodRig(t)
	newer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"version":{"number":"8.11.0","build_flavor":"default"},"tagline":"You Know, for Search"}`)
	}))
	defer newer.Close()
	unlogged, err := component.StartMySQL(t.Context(), t.TempDir(), "--skip-log-bin", "--log-replica-updates=OFF")
	r.must(err)
	t.Cleanup(func() { unlogged.Kill() })
	r.must(unlogged.Exec("CREATE DATABASE badinput", "CREATE TABLE badinput.acc (id BIGINT PRIMARY KEY, ver BIGINT, writer INT, seq BIGINT, bal DECIMAL(12,2), name VARCHAR(100), note TEXT, at DATETIME, txt TEXT, crc BIGINT)"))
	r.must(r.db.Exec("CREATE USER blind IDENTIFIED BY '"+component.Planted+"blind-secret'", "GRANT SELECT ON badinput.* TO blind"))
	t.Cleanup(func() { r.must(r.db.Exec("DROP USER blind")) })
	user := fmt.Sprintf("user = %q\npassword = %q", component.CanalgoUser, component.CanalgoPassword)

	for _, c := range []struct {
		bad
		before, after string // statements around it
	}{
		{bad: bad{"unknown table", "badinput.acc t", "badinput.ac t", 3, []string{"mapping.badinput", "no table badinput.ac", "did you mean badinput.acc?"}}},
		{bad: bad{"unknown column", "t.writer", "t.writr", 3, []string{"mapping.badinput", "writr", "writer"}}},
		{bad: bad{"refused login", component.CanalgoPassword, component.Planted + "other-secret", 3, []string{"source.shop", "Access denied"}}},
		{bad: bad{"missing grants", user, "user = \"blind\"\npassword = \"" + component.Planted + "blind-secret\"", 3, []string{"source.shop", "GRANT REPLICATION SLAVE ON *.* TO 'blind'@'%'"}}},
		{bad: bad{"row image", "", good, 3, []string{"source.shop", "binlog_row_image", "MINIMAL", "SET PERSIST binlog_row_image = 'FULL'"}},
			before: "SET GLOBAL binlog_row_image = MINIMAL", after: "SET GLOBAL binlog_row_image = FULL"},
		{bad: bad{"row metadata", "", good, 3, []string{"source.shop", "binlog_row_metadata", "MINIMAL", "SET PERSIST binlog_row_metadata = 'FULL'"}},
			before: "SET GLOBAL binlog_row_metadata = MINIMAL", after: "SET GLOBAL binlog_row_metadata = FULL"},
		{bad: bad{"a position that is gone", "schema = ", "start = \"binlog.999999:4\"\nschema = ", 3, []string{"source.shop", "start", "binlog.999999"}}},
		{bad: bad{"no binary log", r.mysql.Addr(), unlogged.Addr(), 3, []string{"source.shop", "log_bin", "--log-bin"}}},
		{bad: bad{"another Elasticsearch", r.proxy.URL(), newer.URL, 3, []string{"sink.es", "8.11.0", "version 7"}}},
		{bad: bad{"no MySQL", r.mysql.Addr(), "127.0.0.1:1", 3, []string{"source.shop", "127.0.0.1:1", "refused"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != "" {
				r.must(r.db.Exec(c.before))
				defer func() { r.must(r.db.Exec(c.after)) }()
			}
			r.spoil(good, c.bad)
			out := r.output("check", r.node.Config())
			if out.Code != c.code {
				t.Errorf("check ended with %d, want %d", out.Code, c.code)
			}
			oneLine(t, out.Stderr, r.node.Config())
			_, said, found := strings.Cut("\n"+out.Stdout, "\nWRONG")
			if !found {
				t.Fatalf("check finds nothing wrong:\n%s", out.Stdout)
			}
			for _, w := range c.want {
				if !strings.Contains(said, w) {
					t.Errorf("check does not say %q:\n%s", w, out.Stdout)
				}
			}
		})
	}
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
		{"port in use", free, r.node.HTTP, 3, []string{"node.http", r.node.HTTP, "in use"}},
		{"node port in use", other, r.node.Port, 3, []string{"node.listen", r.node.Port, "in use"}},
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
