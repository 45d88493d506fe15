package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"canalgo/api"
	"canalgo/cli"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/status"
	"canalgo/verify"
)

const canary = "c4n4ry-hunter2"

const good = `
[source.shop]
addr = "127.0.0.1:3306"
user = "canal"
password = "` + canary + `"
[sink.es]
type = "elasticsearch"
addresses = ["http://127.0.0.1:9200"]
[mapping.orders]
source = "shop"
sink = "es"
_index = "orders"
sql = "select id as _id from shop.orders"
`

// node is a Control that remembers what it was asked.
type node struct {
	mu      sync.Mutex
	reports []status.Report // one after the other; the last one stays
	calls   []string
	err     error

	verified verify.Result
}

func (n *node) call(format string, args ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, fmt.Sprintf(format, args...))
	return n.err
}

func (n *node) Report(context.Context) status.Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.reports) == 0 {
		return status.Report{Node: "n1"}
	}
	r := n.reports[0]
	if len(n.reports) > 1 {
		n.reports = n.reports[1:]
	}
	return r
}

func (n *node) Leader() (string, bool) { return "", true }

func (n *node) Rewind(_ context.Context, source, start string) (string, error) {
	return "binlog.000007:4", n.call("rewind %s %s", source, start)
}

func (n *node) Remove(_ context.Context, name string) error { return n.call("remove %s", name) }

func (n *node) Leave() { _ = n.call("leave") }

func (n *node) SetPaused(_ context.Context, what string, paused bool) error {
	return n.call("paused %s %v", what, paused)
}

func (n *node) Apply(_ context.Context, file config.File, dryRun bool) (api.Applied, error) {
	return api.Applied{Version: 3, Changes: []string{"source.shop.password: changed"}, NeedLoad: []string{"shop/orders"}},
		n.call("apply %s %v", file.Sources["shop"].Password.Reveal(), dryRun)
}

func (n *node) Verify(_ context.Context, source, mapping string, values bool, progress func(verify.Result)) (verify.Result, error) {
	progress(verify.Result{Rows: 1})
	return n.verified, n.call("verify %s/%s %v", source, mapping, values)
}

func (n *node) StartLoad(_ context.Context, source, mapping string, part *api.Part) error {
	if part != nil {
		return n.call("load of %s/%s with %q", source, mapping, part.Params)
	}
	return n.call("load %s/%s", source, mapping)
}

func (n *node) Quarantine(context.Context) ([]cluster.Quarantined, error) {
	duty := cluster.DutyID{Source: "shop", Mapping: "orders", Kind: cluster.Stream}
	return []cluster.Quarantined{
		{ID: 4, Duty: duty, Index: "orders", Document: "a", Reason: "number\x1b[2J too large", Table: "shop.orders", Key: []string{"id=7"}},
		{ID: 9, Duty: duty, Index: "orders", Document: "b", Reason: "strict"},
	}, nil
}

func (n *node) RetryQuarantine(_ context.Context, ids []uint64) (int, error) {
	return len(ids) - 1, errors.Join(n.call("retry %v", ids), errors.New("entry 9: strict still"))
}

func (n *node) DropQuarantine(_ context.Context, ids []uint64) (int, error) {
	return len(ids), n.call("drop %v", ids)
}

func serve(t *testing.T, n *node) string {
	t.Helper()
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- api.New(l, n, nil, hclog.NewNullLogger()).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return l.Addr().String()
}

// call runs one command line.
func call(t *testing.T, p cli.Program, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = cli.Main(t.Context(), args, &out, &errs, p)
	return code, out.String(), errs.String()
}

func goodFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommands(t *testing.T) {
	file := goodFile(t)
	stuck := status.Report{Node: "n1", Duties: []status.Duty{{ID: "shop/orders", Stage: status.NeedsLoad}}}
	cases := []struct {
		name    string
		reports []status.Report
		err     error
		args    []string
		code    int
		stdout  []string
		stderr  string
		asked   []string
	}{
		{"status", nil, nil, []string{"status"}, 0, []string{"node n1 · "}, "", nil},
		{"status of a stuck node", []status.Report{stuck}, nil, []string{"status"}, 4, []string{"shop/orders  needs load"}, "", nil},
		{"status for programs", []status.Report{stuck}, nil, []string{"status", "-json"}, 4, []string{`"stage": "needs load"`}, "", nil},
		{"status of what", nil, nil, []string{"status", "shop"}, 2, nil, `canalgo: status takes no "shop"`, nil},
		{"pause", nil, nil, []string{"pause", "sink", "es"}, 0, []string{"sink es: paused\n"}, "", []string{"paused sink/es true"}},
		{"resume", nil, nil, []string{"resume", "source/shop"}, 0, []string{"source shop: resumed\n"}, "", []string{"paused source/shop false"}},
		{"pause what", nil, nil, []string{"pause", "es"}, 2, nil, "write canalgo pause source NAME", nil},
		{"pause nothing", nil, fmt.Errorf("sink/x: %w", api.ErrNotFound), []string{"pause", "sink", "x"}, 2, nil, "canalgo: sink/x: not found\n", []string{"paused sink/x true"}},
		{"not leading", nil, cluster.ErrNotLeader, []string{"pause", "sink", "x"}, 3, nil, "does not lead", []string{"paused sink/x true"}},
		{"diff", nil, nil, []string{"diff", file}, 0, []string{"source.shop.password: changed\n", "canalgo load shop/orders"}, "", []string{"apply " + canary + " true"}},
		{"apply", nil, nil, []string{"apply", file}, 0, []string{"source.shop.password: changed\n", "configuration 3 is in use"}, "", []string{"apply " + canary + " false"}},
		{"flag behind", nil, nil, []string{"apply", file, "-dry-run"}, 0, []string{"nothing was changed"}, "", []string{"apply " + canary + " true"}},
		{"apply what", nil, nil, []string{"apply"}, 2, nil, "canalgo: write canalgo apply FILE\n", nil},
		{"apply nothing", nil, nil, []string{"apply", file + ".gone"}, 2, nil, "c.toml.gone: no such file", nil},
		{"load", []status.Report{
			{}, // there was none before
			{Duties: []status.Duty{{ID: "shop/orders#load", Stage: status.Working, Load: &status.Load{Phase: "copying", Runs: 1, Rows: 50, Total: 200}}}},
			{Duties: []status.Duty{{ID: "shop/orders#load", Stage: status.Done, Load: &status.Load{Phase: "done", Runs: 1, Rows: 200, Swept: 3}}}},
		}, nil, []string{"load", "shop/orders"}, 0, []string{"shop/orders: 50/200 25%\n", "shop/orders: done, 200 rows, 3 swept\n"}, "", []string{"load shop/orders"}},
		{"load again", []status.Report{
			{Duties: []status.Duty{{ID: "shop/orders#load", Stage: status.Done, Load: &status.Load{Phase: "done", Runs: 1, Rows: 100}}}},
			{Duties: []status.Duty{{ID: "shop/orders#load", Stage: status.Done, Load: &status.Load{Phase: "done", Runs: 1, Rows: 100}}}},
			{Duties: []status.Duty{{ID: "shop/orders#load", Stage: status.Working, Load: &status.Load{Phase: "copying", Runs: 2, Rows: 50, Total: 200}}}},
			{Duties: []status.Duty{{ID: "shop/orders#load", Stage: status.Done, Load: &status.Load{Phase: "done", Runs: 2, Rows: 200, Swept: 3}}}},
		}, nil, []string{"load", "shop/orders"}, 0, []string{"shop/orders: 50/200 25%\n", "shop/orders: done, 200 rows, 3 swept\n"}, "", []string{"load shop/orders"}},
		{"load that stops", []status.Report{
			{Duties: []status.Duty{{ID: "shop/orders#load", Stage: status.Stopped, LastError: "no key"}}},
		}, nil, []string{"load", "shop/orders"}, 4, nil, "the load of shop/orders is stopped: no key", []string{"load shop/orders"}},
		{"load and leave", nil, nil, []string{"load", "shop/orders", "-detach"}, 0, []string{"begins"}, "", []string{"load shop/orders"}},
		{"load of a part", nil, nil, []string{"load", "-part", "-detach", "shop/orders", "2024-01-01", "x"}, 0, []string{"begins"}, "", []string{`load of shop/orders with ["2024-01-01" "x"]`}},
		{"load with parameters", nil, nil, []string{"load", "shop/orders", "2024-01-01"}, 2, nil, "canalgo load -part SOURCE/MAPPING PARAM", nil},
		{"load what", nil, nil, []string{"load", "orders"}, 2, nil, "write canalgo load SOURCE/MAPPING", nil},
		{"quarantine", nil, nil, []string{"quarantine", "ls"}, 0, []string{"4   shop/orders  orders/a  shop.orders id=7  unknown   number [2J too large\n"}, "", nil},
		{"entry", nil, nil, []string{"quarantine", "show", "9"}, 0, []string{`"reason": "strict"`}, "", nil},
		{"no entry", nil, nil, []string{"quarantine", "show", "5"}, 2, nil, "under 5", nil},
		{"retry", nil, nil, []string{"quarantine", "retry", "4", "9"}, 4, []string{"1 written\n"}, "entry 9: strict still\n", []string{"retry [4 9]"}},
		{"drop", nil, nil, []string{"quarantine", "drop", "all"}, 0, []string{"2 dropped\n"}, "", []string{"drop [4 9]"}},
		{"drop what", nil, nil, []string{"quarantine", "drop", "x"}, 2, nil, `got "x"`, nil},
		{"drop nothing", nil, nil, []string{"quarantine", "drop"}, 2, nil, "write canalgo quarantine", nil},
		{"unknown command", nil, nil, []string{"stats"}, 2, nil, `there is no command "stats"`, nil},
		{"unknown flag", nil, nil, []string{"status", "-jsn"}, 2, nil, "flag provided but not defined: -jsn", nil},
		{"help of a command", nil, nil, []string{"load", "-h"}, 0, []string{"usage: canalgo -config FILE"}, "", nil},
		{"rewind", nil, nil, []string{"rewind", "shop", "binlog.000007:4"}, 0, []string{"shop goes on from binlog.000007:4, in a new epoch\n"}, "", []string{"rewind shop binlog.000007:4"}},
		{"rewind what", nil, nil, []string{"rewind", "shop"}, 2, nil, "write canalgo rewind SOURCE PLACE", nil},
		{"remove", nil, nil, []string{"remove", "n3"}, 0, []string{"n3 is no longer a member\n"}, "", []string{"remove n3"}},
		{"remove nobody", nil, fmt.Errorf("node n3: %w", api.ErrNotFound), []string{"remove", "n3"}, 2, nil, "canalgo: node n3: not found\n", []string{"remove n3"}},
		{"leave", nil, nil, []string{"leave"}, 0, []string{"leaves the cluster"}, "", []string{"leave"}},
		{"leave who", nil, nil, []string{"leave", "n3"}, 2, nil, "canalgo remove NODE", nil},
		{"version", nil, nil, []string{"version"}, 0, []string{"canalgo 1.2 (go1."}, "", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n := &node{reports: c.reports, err: c.err}
			t.Setenv("CANALGO_HTTP", serve(t, n))
			code, stdout, stderr := call(t, cli.Program{Version: "1.2"}, c.args...)
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			for _, want := range c.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("stdout %q, want %q", stdout, want)
				}
			}
			if !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" || strings.Count(stderr, "\n") > 1 {
				t.Errorf("stderr %q, want one line with %q", stderr, c.stderr)
			}
			if !reflect.DeepEqual(n.calls, c.asked) {
				t.Errorf("asked %q, want %q", n.calls, c.asked)
			}
			if strings.Contains(stdout+stderr, canary) || strings.Contains(stdout+stderr, "\x1b") {
				t.Errorf("a secret or a control character is shown: %q %q", stdout, stderr)
			}
		})
	}
}

// README prints the help, for those who read before they build.
func TestREADMEHasTheHelp(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, help, _ := call(t, cli.Program{}, "-h"); !strings.Contains(string(readme), "$ ./canalgo -h\n"+help+"```\n") {
		t.Errorf("README.md, The commands: not what canalgo -h prints:\n%s", help)
	}
}

func TestNobodyAnswers(t *testing.T) {
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, args := range [][]string{{"status", "-http", address}, {"-http", address, "status"}, {"load", "-http=" + address, "a/b"}} {
		code, _, stderr := call(t, cli.Program{}, args...)
		if code != 3 || !strings.HasPrefix(stderr, "canalgo: no node answers at "+address) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: code %d, %q", args, code, stderr)
		}
	}
	if code, _, stderr := call(t, cli.Program{}, "status", "-http", "nonsense"); code != 2 || !strings.Contains(stderr, "want host:port") {
		t.Errorf("no address: code %d, %q", code, stderr)
	}
}

func TestIntroductionAndUsage(t *testing.T) {
	code, stdout, stderr := call(t, cli.Program{})
	if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 3 {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, _ = call(t, cli.Program{}, "-h")
	if lines := strings.Count(stdout, "\n"); code != 0 || lines > 40 {
		t.Errorf("code %d, %d lines", code, lines)
	}
	for _, line := range strings.Split(stdout, "\n") {
		if utf8.RuneCountInString(line) > 120 {
			t.Errorf("too wide: %s", line)
		}
	}
}

// TestFlags looks at what a node is started with.
func TestFlags(t *testing.T) {
	file := goodFile(t)
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("a-token-in-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	withToken := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(withToken, []byte(good+"\n[cluster]\ntoken = \"0123456789abcdef\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		args   []string
		code   int
		stderr string
		check  func(cli.Start) bool
	}{
		{"join alone", []string{"-join", "10.0.0.1:8112,10.0.0.2:8112", "-token", "0123456789abcdef"}, 0, "", func(s cli.Start) bool {
			return len(s.File.Cluster.Join) == 2 && s.File.Cluster.Token.Reveal() == "0123456789abcdef" && s.File.Node.Listen == ":8112" && len(s.File.Sources) == 0
		}},
		{"token in a file", []string{"-join", "h:1", "-token", "file:" + tokenFile}, 0, "", func(s cli.Start) bool { return s.File.Cluster.Token.Reveal() == "a-token-in-a-file" }},
		{"token in the environment", []string{"-join", "h:1"}, 0, "", func(s cli.Start) bool { return s.File.Cluster.Token.Reveal() == canary+canary }},
		{"flags over the file", []string{"-config", file, "-id", "n7", "-data", "d", "-listen", "127.0.0.1:1", "-advertise", "h:2", "-http", "127.0.0.1:3", "-bootstrap"}, 0, "",
			func(s cli.Start) bool {
				n := s.File.Node
				return n.Name == "n7" && n.Data == "d" && n.Listen == "127.0.0.1:1" && n.Advertise == "h:2" && n.HTTP == "127.0.0.1:3" && s.Bootstrap && len(s.File.Mappings) == 1
			}},
		{"token in file and environment", []string{"-config", withToken}, 0, "", func(s cli.Start) bool {
			return s.File.Cluster.Token.Reveal() == canary+canary && len(s.File.Warnings) == 1 && strings.Contains(s.File.Warnings[0], "the file's does not count")
		}},
		{"no port", []string{"-join", "10.0.0.1"}, 2, `-join[0]: want host:port, for example "10.0.0.1:8112", got "10.0.0.1"`, nil},
		{"bad advertise", []string{"-config", file, "-advertise", ":8112"}, 2, "-advertise: want host:port", nil},
		{"no such token", []string{"-join", "h:1", "-token", "${CANALGO_NO_SUCH}"}, 2, "-token: environment variable CANALGO_NO_SUCH is not set", nil},
		{"short token", []string{"-join", "h:1", "-token", "abc"}, 2, "-token: too short", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("CANALGO_TOKEN", canary+canary)
			var got *cli.Start
			code, _, stderr := call(t, cli.Program{Run: func(_ context.Context, start cli.Start) error { got = &start; return nil }}, c.args...)
			if code != c.code || !strings.Contains(stderr, c.stderr) || strings.Contains(stderr, "abc\"") {
				t.Errorf("code %d, %q", code, stderr)
			}
			if c.check != nil && (got == nil || !c.check(*got)) {
				t.Errorf("started with %+v", got)
			}
		})
	}
}

func TestRun(t *testing.T) {
	file := goodFile(t)
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("[source.a]\nx=1\ny=2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		args   []string
		err    error
		code   int
		stderr string
	}{
		{"good", []string{"-config", file}, nil, 0, ""},
		{"it stops", []string{"-config", file}, errors.New("disk full\nand more"), 4, "canalgo: disk full and more\n"},
		{"it cannot begin", []string{"-config", file}, fmt.Errorf("start: %w", &cli.PreconditionError{Err: errors.New("port in use")}), 3, "canalgo: start: port in use\n"},
		{"bad file", []string{"-config", bad}, nil, 2, "bad.toml:2:3: source.a.x: unknown key"},
		{"no file", []string{"-config", bad + "x"}, nil, 2, "bad.tomlx: no such file"},
		{"no name", []string{"-config"}, nil, 2, "flag needs an argument: -config"},
		{"more", []string{"-config", file, "start"}, nil, 2, `takes no "start"`},
		{"unknown flag", []string{"-cfg", file}, nil, 2, "not defined: -cfg"},
	}
	for _, c := range cases {
		p := cli.Program{Run: func(_ context.Context, start cli.Start) error {
			if start.Path != file || start.File.Sources["shop"].Password.Reveal() != canary {
				t.Errorf("%s: run with %s", c.name, start.Path)
			}
			return c.err
		}}
		code, _, stderr := call(t, p, c.args...)
		if code != c.code || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%s: code %d, %q, want %d, %q", c.name, code, stderr, c.code, c.stderr)
		}
		if c.name == "bad file" && strings.Count(stderr, "\n") < 4 {
			t.Errorf("not every mistake has a line:\n%s", stderr)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code := cli.Main(ctx, []string{"-config", file}, &strings.Builder{}, &strings.Builder{}, cli.Program{
		Run: func(ctx context.Context, _ cli.Start) error { return ctx.Err() }})
	if code != 0 {
		t.Errorf("stopped by a signal: code %d", code)
	}
}

func TestCheck(t *testing.T) {
	checked := cli.Checked{Lines: []cli.CheckLine{{What: "source.shop: log_bin", OK: true, Detail: "ON"}}}
	p := cli.Program{Check: func(context.Context, config.File) (cli.Checked, error) { return checked, nil }}
	file := goodFile(t)
	code, stdout, stderr := call(t, p, "check", file)
	if code != 0 || stderr != "" || stdout != "ok     source.shop: log_bin: ON\n"+file+": all 1 checks passed\n" {
		t.Errorf("good: code %d, %q, %q", code, stdout, stderr)
	}
	checked.Lines = append(checked.Lines,
		cli.CheckLine{What: "source.shop: expiry", OK: true, Warn: true, Detail: "1 h", Fix: "longer"},
		cli.CheckLine{What: "source.shop: binlog_row_metadata", Detail: "MINIMAL, want FULL", Fix: "SET PERSIST binlog_row_metadata = 'FULL'"})
	checked.Samples = []cli.Sample{{Mapping: "orders", Index: "orders", ID: "7", Document: json.RawMessage(`{"name":"x"}`)}}
	code, stdout, stderr = call(t, p, "check", file)
	want := `ok     source.shop: log_bin: ON
look   source.shop: expiry: 1 h
       fix: longer
WRONG  source.shop: binlog_row_metadata: MINIMAL, want FULL
       fix: SET PERSIST binlog_row_metadata = 'FULL'

mapping.orders: a row would become orders/7
{
  "name": "x"
}

`
	if code != 3 || stdout != want || stderr != "canalgo: "+file+": 1 of 3 checks failed\n" {
		t.Errorf("wrong: code %d, %s, %q", code, stdout, stderr)
	}
}

func TestBar(t *testing.T) {
	left := 31.0
	d := status.Duty{ID: "shop/orders#load", Load: &status.Load{Phase: "copying", Rows: 1000, Total: 4000, RowsPerSecond: 100, SecondsLeft: &left}}
	if got, want := cli.Bar(d, 100), "[#######.......................] shop/orders: 1,000/4,000 25% 100/s 31s left"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for width := range 120 {
		if n := utf8.RuneCountInString(cli.Bar(d, width)); n > width {
			t.Errorf("%d columns of %d", n, width)
		}
	}
}
