package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"canalgo/api"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/status"
	"canalgo/verify"
)

func TestClientAndServer(t *testing.T) {
	n := &node{
		report: status.Report{Node: "n1", Duties: []status.Duty{{ID: "shop/orders", Stage: status.Idle},
			{ID: "shop/orders#load", Load: &status.Load{Rows: 7}}}},
		quarantine: []cluster.Quarantined{
			{ID: 4, Duty: orders, Document: "a", Reason: "too large"}, {ID: 9, Duty: orders, Document: "b"}},
	}
	c := client(t, serve(t, n))
	ctx := t.Context()
	if got, err := c.Report(ctx); err != nil || !reflect.DeepEqual(got, n.report) {
		t.Errorf("report: %+v, %v", got, err)
	}
	if err := c.SetPaused(ctx, "sink/es", true); err != nil {
		t.Error(err)
	}
	if err := c.SetPaused(ctx, "source/shop", false); err != nil {
		t.Error(err)
	}
	if err := c.StartLoad(ctx, "shop/orders", nil); err != nil {
		t.Error(err)
	}
	if err := c.StartLoad(ctx, "shop/orders", &api.Part{Params: []string{"1"}}); err != nil {
		t.Error(err)
	}
	if got, err := c.Load(ctx, "shop/orders"); err != nil || got.Load == nil || got.Load.Rows != 7 {
		t.Errorf("load: %+v, %v", got, err)
	}
	if got, err := c.Quarantine(ctx); err != nil || len(got) != 2 || got[0].Reason != "too large" {
		t.Errorf("quarantine: %+v, %v", got, err)
	}
	if got, err := c.Quarantined(ctx, 9); err != nil || got.Document != "b" {
		t.Errorf("quarantined: %+v, %v", got, err)
	}
	if got, _, err := c.RetryQuarantine(ctx); err != nil || got != 2 {
		t.Errorf("retry: %d, %v", got, err)
	}
	if got, _, err := c.DropQuarantine(ctx, 9); err != nil || got != 1 {
		t.Errorf("drop: %d, %v", got, err)
	}
	want := []string{"paused sink/es true", "paused source/shop false", "load shop orders", `load of shop orders with ["1"]`, "retry [4 9]", "drop [9]"}
	if got := n.asked(); !reflect.DeepEqual(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// toLeader carries requests for a node port to a server's commands, as links do.
type toLeader struct {
	*api.Server
	asked string
}

func (l *toLeader) RoundTrip(r *http.Request) (*http.Response, error) {
	l.asked = r.URL.Host
	w := httptest.NewRecorder()
	l.Commands().ServeHTTP(w, r)
	return w.Result(), nil
}

func TestCommandsArePassedOnToTheLeader(t *testing.T) {
	leading := &node{quarantine: []cluster.Quarantined{{ID: 4, Duty: orders}}}
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	carry := &toLeader{Server: api.New(l, leading, nil, hclog.NewNullLogger())}
	following := &node{leader: "10.0.0.1:8112"}
	c := client(t, serveWith(t, following, carry))
	if err := c.SetPaused(t.Context(), "sink/es", true); err != nil {
		t.Error(err)
	}
	if got, err := c.Quarantine(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("quarantine: %v, %v", got, err)
	}
	if at, err := c.Rewind(t.Context(), "shop", "current"); err != nil || at != "binlog.000007:4" {
		t.Errorf("rewind: %s, %v", at, err)
	}
	if got := leading.asked(); !reflect.DeepEqual(got, []string{"paused sink/es true", "rewind shop current"}) || carry.asked != following.leader {
		t.Errorf("the leader at %s was asked %q", carry.asked, got)
	}
	if err := c.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if got := following.asked(); !reflect.DeepEqual(got, []string{"leave"}) {
		t.Errorf("the node itself was asked %q, want only to leave", got)
	}
	c = client(t, serveWith(t, &node{noLeader: true}, carry))
	var refusal *api.AnswerError
	if err := c.SetPaused(t.Context(), "sink/es", true); !errors.As(err, &refusal) || refusal.Code != http.StatusServiceUnavailable {
		t.Errorf("without a leader: %v", err)
	}
}

const file = `
[source.shop]
addr = "127.0.0.1:3306"
schema = "shop"
user = "canal"
password = "` + canary + `"
[sink.es]
type = "elasticsearch"
addresses = ["http://127.0.0.1:9200"]
password = "` + canary + `2"
[mapping.orders]
source = "shop"
sink = "es"
_index = "orders"
sql = "select id as _id from orders"
`

func TestApply(t *testing.T) {
	n := &node{}
	c := client(t, serve(t, n))
	want, err := config.Parse("c.toml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Apply(t.Context(), want, true)
	if err != nil || got.Version != 3 || len(got.Changes) != 1 || len(got.NeedLoad) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if !reflect.DeepEqual(n.file, want) {
		t.Errorf("the node got %+v\nwant %+v", n.file, want)
	}
	if n.file.Sources["shop"].Password.Reveal() != canary {
		t.Error("the secret did not arrive")
	}
	if got := n.asked(); !reflect.DeepEqual(got, []string{"apply true"}) {
		t.Errorf("asked %q", got)
	}
	m := want.Mappings["orders"]
	m.Sink = "none"
	want.Mappings["orders"] = m
	if _, err := c.Apply(t.Context(), want, false); err == nil || !strings.Contains(err.Error(), "mapping.orders.sink") {
		t.Errorf("a wrong configuration: %v", err)
	}
	if got := n.asked(); len(got) > 0 {
		t.Errorf("asked %q", got)
	}
}

func TestErrors(t *testing.T) {
	cases := []struct {
		err  error
		code int
	}{
		{fmt.Errorf("sink es9: %w", api.ErrNotFound), http.StatusNotFound},
		{fmt.Errorf("loading already: %w", api.ErrRefused), http.StatusConflict},
		{fmt.Errorf("pause: %w", cluster.ErrNotLeader), http.StatusServiceUnavailable},
		{errors.New("disk full"), http.StatusInternalServerError},
	}
	for _, c := range cases {
		err := client(t, serve(t, &node{err: c.err})).SetPaused(t.Context(), "sink/es", true)
		var refusal *api.AnswerError
		if !errors.As(err, &refusal) || refusal.Code != c.code || !strings.HasPrefix(refusal.Text, c.err.Error()) {
			t.Errorf("%v: got %#v", c.err, err)
		}
	}
	n := &node{err: errors.Join(errors.New("entry 4: too large"), errors.New("entry 9: gone")),
		quarantine: []cluster.Quarantined{{ID: 4, Duty: orders}, {ID: 9, Duty: orders}}}
	if _, failed, err := client(t, serve(t, n)).RetryQuarantine(t.Context()); err != nil || !reflect.DeepEqual(failed, []string{"entry 4: too large", "entry 9: gone"}) {
		t.Errorf("refused again: %q, %v", failed, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := client(t, l.Addr().String()).Report(t.Context()); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestServeWaiting(t *testing.T) {
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, l.Addr().String())
	stop := api.ServeWaiting(l, "it waits for the others")
	var refusal *api.AnswerError
	if _, err := c.Report(t.Context()); !errors.As(err, &refusal) || refusal.Code != http.StatusServiceUnavailable || refusal.Text != "it waits for the others" {
		t.Errorf("while it waits: %v", err)
	}
	stop()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- api.New(l, &node{report: status.Report{Node: "n1"}}, nil, hclog.NewNullLogger()).Run(ctx)
	}()
	if report, err := c.Report(t.Context()); err != nil || report.Node != "n1" {
		t.Errorf("afterwards: %+v, %v", report, err)
	}
	cancel()
	<-ended
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{
		l.Addr().String(): "node.http: " + l.Addr().String() + " is in use by another process",
		"192.0.2.1:8111":  "node.http: 192.0.2.1:8111 is not an address of this host",
	} {
		if _, err := api.Listen(address); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		report status.Report
		code   int
		want   string
	}{
		{status.Report{Healthy: true}, 200, "healthy\n"},
		{status.Report{Problems: []string{"shop/orders does not get on:\nwrite", "4 documents are set aside"}}, 503,
			"shop/orders does not get on: write\n4 documents are set aside\n"},
	} {
		response, err := http.Get("http://" + serve(t, &node{report: c.report}) + "/health")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != c.code || string(body) != c.want {
			t.Errorf("%+v: %d %q, %v, want %d %q", c.report, response.StatusCode, body, err, c.code, c.want)
		}
	}
}

// TestRequests sends single requests and looks at the answer's code and text.
func TestRequests(t *testing.T) {
	n := &node{report: status.Report{Node: "n1"}}
	address := serve(t, n)
	const form = "application/x-www-form-urlencoded"
	const pause = `{"what":"sink/es"}`
	cases := []struct {
		name, method, path, body, contentType string
		header                                map[string]string
		code                                  int
		want                                  string
	}{
		{"status", "GET", "/status", "", "", nil, 200, `"node": "n1"`},
		{"table", "GET", "/status?format=text", "", "", nil, 200, "node n1 · "},
		{"format", "GET", "/status?format=xml", "", "", nil, 400, `format: \"xml\" is unknown`},
		{"alive", "GET", "/healthz", "", "", nil, 200, "works"},
		{"ready", "GET", "/readyz", "", "", nil, 200, "ready"},
		{"metrics", "GET", "/metrics", "", "", nil, 200, "canalgo_healthy 0"},
		{"head", "HEAD", "/status", "", "", nil, 200, ""},
		{"unknown page", "GET", "/nothing", "", "", nil, 404, "no such page"},
		{"outside", "GET", "/../../etc/passwd", "", "", nil, 404, "no such page"},
		{"wrong method", "POST", "/status", "", "", nil, 405, "/status does not take POST, only GET"},
		{"wrong method of a change", "GET", "/v1/pause", "", "", nil, 405, "only POST"},
		{"good", "POST", "/v1/pause", pause, "application/json", nil, 200, "sink/es paused"},
		{"by name", "POST", "/v1/pause", pause, "application/json; charset=utf-8", map[string]string{"Host": "localhost:1"}, 200, ""},
		{"form", "POST", "/v1/pause", pause, form, nil, 415, "application/json"},
		{"no type", "POST", "/v1/pause", pause, "", nil, 415, "application/json"},
		{"rebound name", "POST", "/v1/pause", pause, "application/json", map[string]string{"Host": "evil.example"}, 403, "Host header"},
		{"rebound name, reading", "GET", "/v1/quarantine", "", "", map[string]string{"Host": "evil.example"}, 403, "Host header"},
		{"page", "POST", "/v1/pause", pause, "application/json", map[string]string{"Origin": "http://localhost:3000"}, 403, "browser"},
		{"unknown field", "POST", "/v1/pause", `{"waht":"x"}`, "application/json", nil, 400, `unknown field \"waht\"`},
		{"no JSON", "POST", "/v1/pause", `what=x`, "application/json", nil, 400, "byte 1: invalid character"},
		{"twice", "POST", "/v1/pause", `{"what":"sink/es","what":"sink/x"}`, "application/json", nil, 400, `byte 24: the key \"what\" stands there twice`},
		{"wrong type", "POST", "/v1/pause", `{"what":7}`, "application/json", nil, 400, "byte 9: what: want string, got number"},
		{"nothing", "POST", "/v1/pause", ``, "application/json", nil, 400, "body is empty"},
		{"more", "POST", "/v1/pause", pause + pause, "application/json", nil, 400, "something follows"},
		{"deep", "POST", "/v1/pause", strings.Repeat("[", 100000), "application/json", nil, 400, "error"},
		{"large", "POST", "/v1/pause", `{"what":"` + strings.Repeat("x", 2<<20) + `"}`, "application/json", nil, 413, "larger than"},
		{"what", "POST", "/v1/pause", `{"what":"es"}`, "application/json", nil, 400, "want source/NAME"},
		{"duty", "POST", "/v1/load", `{"duty":"orders"}`, "application/json", nil, 400, "want SOURCE/MAPPING"},
		{"no load", "GET", "/v1/load?duty=a/b", "", "", nil, 404, "no load"},
		{"no entry", "GET", "/v1/quarantine/5", "", "", nil, 404, "under 5"},
		{"no number", "GET", "/v1/quarantine/x", "", "", nil, 400, "number"},
		{"neither", "POST", "/v1/quarantine/drop", `{}`, "application/json", nil, 400, "either ids or all"},
		{"unknown id", "POST", "/v1/quarantine/drop", `{"ids":[7]}`, "application/json", nil, 404, "under 7"},
		{"secret that does not open", "POST", "/v1/apply", `{"key":"YQ==","config":{"version":0,"sources":{"s":{"spec":{"settings":{},"secrets":{"password":"YQ=="}}}}},"dry_run":true}`,
			"application/json", nil, 400, "source.s: password"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+address+"/", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			path, query, _ := strings.Cut(c.path, "?")
			request.URL.Path, request.URL.RawQuery = path, query
			if c.contentType != "" {
				request.Header.Set("Content-Type", c.contentType)
			}
			for name, value := range c.header {
				if name == "Host" {
					request.Host = value
				}
				request.Header.Set(name, value)
			}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "outside" && response.StatusCode/100 == 3 {
				return // the path is cleaned by a redirect
			}
			if response.StatusCode != c.code || !strings.Contains(string(body), c.want) {
				t.Errorf("got %d %s\nwant %d %s", response.StatusCode, body, c.code, c.want)
			}
			if c.code >= 400 && !json.Valid(body) {
				t.Errorf("not JSON: %s", body)
			}
		})
	}
	if got := n.asked(); len(got) != 2 {
		t.Errorf("the node was asked %q", got)
	}
}

func TestReady(t *testing.T) {
	n := &node{report: status.Report{
		Sources: []status.Source{{Name: "shop", State: status.SourceConnecting}},
		Duties:  []status.Duty{{ID: "shop/orders", Stage: status.Stuck}},
	}}
	response, err := http.Get("http://" + serve(t, n) + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 503 || !bytes.Contains(body, []byte("source shop is connecting")) || !bytes.Contains(body, []byte("shop/orders is stuck")) {
		t.Errorf("got %d %s", response.StatusCode, body)
	}
}

// TestGarbage sends what is no HTTP, and opens more connections than are served; afterwards the server answers.
func TestGarbage(t *testing.T) {
	address := serve(t, &node{})
	var held []net.Conn
	for range 300 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		conn.Close()
	}
	for _, garbage := range []string{"\x00\x01\x02\x03\xff\xff\xff\xff", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"GET /status HTTP/1.1\r\nX: " + strings.Repeat("y", 64<<10) + "\r\n\r\n", "POST /v1/pause HTTP/1.1\r\nContent-Length: -1\r\n\r\n"} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, garbage+"\r\n\r\n"); err != nil {
			t.Logf("closed while writing: %v", err)
		}
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if strings.Contains(line, " 200 ") {
			t.Errorf("%.20q is answered with %q", garbage, line)
		}
		conn.Close()
	}
	if _, err := client(t, address).Report(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestVerifyTellsHowFarItIs(t *testing.T) {
	n := &node{verified: verify.Result{Rows: 9, Documents: 8, Missing: 1, Differences: []verify.Difference{{Kind: verify.Missing, Document: "1"}}}}
	c := client(t, serve(t, n))
	var told []int
	result, err := c.Verify(t.Context(), "shop/orders", true, func(r verify.Result) { told = append(told, r.Rows) })
	if err != nil || !reflect.DeepEqual(result, n.verified) || !reflect.DeepEqual(told, []int{1}) || !reflect.DeepEqual(n.calls, []string{"verify shop/orders true"}) {
		t.Errorf("%+v, %v; told of %v; asked %q", result, err, told, n.calls)
	}
	n.err = errors.New("the source is away")
	if _, err := c.Verify(t.Context(), "shop/orders", false, func(verify.Result) {}); err == nil || err.Error() != "the source is away" {
		t.Errorf("%v", err)
	}
}
