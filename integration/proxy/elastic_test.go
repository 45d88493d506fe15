package proxy_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"canalgo/integration/proxy"
)

// fakeElastic keeps versions like external_gte does.
type fakeElastic struct {
	mu       sync.Mutex
	versions map[string]int64
	seq      int64
	late     map[string]chan struct{} // answers to bulks with this X-Late header wait for it
}

func (f *fakeElastic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		io.WriteString(w, "you know")
		return
	}
	f.mu.Lock()
	body, _ := io.ReadAll(r.Body)
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	var items []string
	for len(lines) > 0 {
		var action map[string]struct {
			ID      string `json:"_id"`
			Version *int64 `json:"version"`
		}
		json.Unmarshal([]byte(lines[0]), &action)
		lines = lines[1:]
		for op, meta := range action {
			if op != "delete" {
				lines = lines[1:]
			}
			status := 200
			switch have, ok := f.versions[meta.ID]; {
			case meta.Version == nil:
				f.versions[meta.ID] = have + 1
			case ok && *meta.Version < have:
				status = 409
			default:
				f.versions[meta.ID] = *meta.Version
			}
			items = append(items, fmt.Sprintf(`{%q:{"_id":%q,"status":%d,"_seq_no":%d}}`, op, meta.ID, status, f.seq))
			f.seq++
		}
	}
	late := f.late[r.Header.Get("X-Late")]
	f.mu.Unlock()
	if late != nil {
		<-late
	}
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	fmt.Fprintf(w, `{"took":1,"errors":false,"items":[%s]}`, strings.Join(items, ","))
}

func (f *fakeElastic) version(id string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.versions[id]
}

func start(t *testing.T) (*proxy.Elastic, *fakeElastic) {
	t.Helper()
	fake := &fakeElastic{versions: map[string]int64{}, late: map[string]chan struct{}{}}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	p, err := proxy.NewElastic(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, fake
}

func index(id string, version int64) string {
	return fmt.Sprintf(`{"index":{"_index":"i","_id":%q,"version":%d,"version_type":"external_gte"}}`+"\n"+`{"a":1}`+"\n", id, version)
}

func remove(id string, version int64) string {
	return fmt.Sprintf(`{"delete":{"_id":%q,"version":%d,"version_type":"external_gte"}}`+"\n", id, version)
}

// bulk sends body and returns the answer's status and its items' ids and statuses.
func bulk(ctx context.Context, p *proxy.Elastic, body string, header ...string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/i/_bulk?filter_path=x", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Items []map[string]struct {
			ID     string `json:"_id"`
			Status int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return resp.StatusCode, "", err
	}
	var got []string
	for _, item := range answer.Items {
		for op, result := range item {
			got = append(got, fmt.Sprintf("%s %s %d", op, result.ID, result.Status))
		}
	}
	return resp.StatusCode, strings.Join(got, ", "), nil
}

func mustBulk(t *testing.T, p *proxy.Elastic, body string, header ...string) string {
	t.Helper()
	status, items, err := bulk(t.Context(), p, body, header...)
	if err != nil || status != 200 {
		t.Fatalf("bulk: status %d, %v", status, err)
	}
	return items
}

func TestRepeatsAreCounted(t *testing.T) {
	p, _ := start(t)
	mustBulk(t, p, index("a", 5)+index("b", 5))
	if got := p.Stats(); got.Repeats != 0 || got.Items != 2 || got.Acknowledged != 2 || got.Bulks != 1 {
		t.Fatalf("after two first writes: %+v", got)
	}
	items := mustBulk(t, p, index("a", 5)+remove("b", 4)+index("b", 6))
	if want := "index a 200, delete b 409, index b 200"; items != want {
		t.Errorf("answer %q, want %q", items, want)
	}
	if got := p.Stats(); got.Repeats != 2 || got.Conflicts != 1 || got.Acknowledged != 4 || got.Regressions != 0 || got.InFlight != 0 {
		t.Errorf("after one write again and one that is too old: %+v", got)
	}
	if v, ok := p.Version("i", "b"); v != 6 || !ok {
		t.Errorf("version of b: %d %v, want 6", v, ok)
	}
}

func TestAnswerIsHeldWhileTheSenderDies(t *testing.T) {
	p, fake := start(t)
	hold := p.HoldAfter()
	ctx, kill := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, _, err := bulk(ctx, p, index("a", 5))
		failed <- err
	}()
	if err := hold.Wait(soon(t)); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().InFlight; got != 1 {
		t.Errorf("%d bulks in flight, want 1", got)
	}
	if got := fake.version("a"); got != 5 {
		t.Errorf("version %d behind a held answer, want 5", got)
	}
	kill()
	if err := <-failed; err == nil {
		t.Error("the sender got an answer while it was held")
	}
	hold.Release()
	mustBulk(t, p, index("a", 5))
	if got := p.Stats().Repeats; got != 1 {
		t.Errorf("%d repeats, want 1", got)
	}
}

func TestStragglerIsRefusedByItsVersionOnly(t *testing.T) {
	for _, strip := range []bool{false, true} {
		t.Run(fmt.Sprintf("strip=%v", strip), func(t *testing.T) {
			p, fake := start(t)
			p.StripVersions(strip)
			hold := p.HoldBefore()
			ctx, kill := context.WithCancel(t.Context())
			failed := make(chan struct{})
			go func() {
				defer close(failed)
				bulk(ctx, p, index("a", 5))
			}()
			if err := hold.Wait(soon(t)); err != nil {
				t.Fatal(err)
			}
			kill()
			<-failed
			mustBulk(t, p, index("a", 6))
			hold.Release()
			waitFor(t, func() bool { return p.Stats().InFlight == 0 })
			got := p.Stats()
			if strip && (got.Regressions != 1 || got.Conflicts != 0) {
				t.Errorf("without versions: %+v, want a regression", got)
			}
			if !strip && (got.Regressions != 0 || got.Conflicts != 1 || fake.version("a") != 6) {
				t.Errorf("with versions: %+v, version %d, want a conflict", got, fake.version("a"))
			}
		})
	}
}

func TestOvertakenAnswerIsNoRegression(t *testing.T) {
	p, fake := start(t)
	late := make(chan struct{})
	fake.late["1"] = late
	done := make(chan struct{})
	go func() {
		defer close(done)
		bulk(t.Context(), p, index("a", 5), "X-Late", "1")
	}()
	waitFor(t, func() bool { return fake.version("a") == 5 })
	mustBulk(t, p, index("a", 6))
	close(late)
	<-done
	if got := p.Stats(); got.Regressions != 0 || got.Acknowledged != 2 {
		t.Errorf("%+v, want no regression", got)
	}
	if v, _ := p.Version("i", "a"); v != 6 {
		t.Errorf("version %d, want 6", v)
	}
}

func TestFaults(t *testing.T) {
	p, fake := start(t)
	p.FailItems(func(i proxy.Item) int {
		if i.ID == "b" && i.Op == "index" && i.Index == "i" && i.Version == 7 && string(i.Source) == `{"a":1}` {
			return 429
		}
		return 0
	})
	if got, want := mustBulk(t, p, index("a", 7)+index("b", 7)+remove("c", 7)), "index a 200, index b 429, delete c 200"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	if got := mustBulk(t, p, index("b", 7)); got != "index b 429" {
		t.Errorf("answer %q when all items fail", got)
	}
	if got := fake.version("b"); got != 0 {
		t.Errorf("a failed item reached the server with version %d", got)
	}
	if got := p.Stats().Refused; got != 2 {
		t.Errorf("%d refused, want 2", got)
	}
	p.FailItems(nil)
	p.FailRequests(func(*http.Request) int { return 503 })
	if status, _, err := bulk(t.Context(), p, index("b", 7)); status != 503 {
		t.Errorf("status %d, %v, want 503", status, err)
	}
	p.FailRequests(nil)
	mustBulk(t, p, index("b", 7))
	if got := fake.version("b"); got != 7 {
		t.Errorf("version %d after the faults, want 7", got)
	}
}

func TestCompressedBulkAndOtherRequests(t *testing.T) {
	p, fake := start(t)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, index("a", 3))
	z.Close()
	mustBulk(t, p, b.String(), "Content-Encoding", "gzip")
	if got := fake.version("a"); got != 3 {
		t.Errorf("version %d, want 3", got)
	}
	resp, err := http.Get(p.URL() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "you know" {
		t.Errorf("other requests get %q", body)
	}
}

func TestServerAway(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	p, err := proxy.NewElastic(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	server.Close()
	resp, err := http.Post(p.URL()+"/i/_bulk", "application/json", strings.NewReader(index("a", 1)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d, want 502", resp.StatusCode)
	}
}

// soon is a context that ends a wait in vain.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// waitFor polls, because the proxy has no event for it.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ctx := soon(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("waited 10 s in vain")
		}
	}
}

// TestElasticSpoilsAnswers has a bulk of two items done, the second of which is refused, and its answer spoiled.
func TestElasticSpoilsAnswers(t *testing.T) {
	for answer, want := range map[proxy.Answer]struct {
		text string
		ends bool // before its end
	}{
		proxy.Whole:     {`"errors":true,"items":[{"index":{"_id":"1","status":200,"_seq_no":0}},{"index":{"_id":"2","_index":"i",`, false},
		proxy.Lost:      {"", true},
		proxy.Truncated: {`{"took":1,`, true},
		proxy.Garbage:   {"this was an answer", false},
		proxy.Fewer:     {`"errors":true,"items":[{"index":{"_id":"1","status":200,"_seq_no":0}}]}`, false},
		proxy.Swapped:   {`,{"index":{"_id":"1","status":200,"_seq_no":0}}]}`, false},
		proxy.Denied:    {`"errors":false,"items":[{"index":{"_id":"1","status":200,"_seq_no":0}},{"index":{"_id":"2","_index":"i",`, false},
	} {
		p, fake := start(t)
		p.FailItems(func(i proxy.Item) int {
			if i.ID == "2" {
				return 400
			}
			return 0
		})
		p.SpoilAnswers(func(*http.Request) proxy.Answer {
			if n := p.InFlight("127.0.0.1"); n != 1 {
				t.Errorf("%d bulks are in flight", n)
			}
			return answer
		})
		resp, err := http.Post(p.URL()+"/_bulk", "application/json", strings.NewReader(index("1", 7)+index("2", 7)))
		got := ""
		if err == nil {
			var data []byte
			data, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			got = string(data)
		}
		if !strings.Contains(got, want.text) || (err != nil) != want.ends {
			t.Errorf("answer %d: %q, %v, want %q", answer, got, err, want.text)
		}
		if v := fake.version("1"); v != 7 {
			t.Errorf("answer %d: the item was not done: version %d", answer, v)
		}
	}
}

// TestElasticDelaysBulks keeps a bulk back whose sender has gone, and counts it as under way until it has arrived.
func TestElasticDelaysBulks(t *testing.T) {
	p, fake := start(t)
	p.DelayBulks(func(*http.Request) time.Duration { return 200 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/_bulk", strings.NewReader(index("1", 7)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultClient.Do(r); err == nil {
		t.Fatal("it was not kept back")
	}
	if p.InFlight("127.0.0.1") != 1 || fake.version("1") != 0 {
		t.Errorf("%d under way, version %d", p.InFlight("127.0.0.1"), fake.version("1"))
	}
	for deadline := time.Now().Add(10 * time.Second); fake.version("1") != 7 || p.InFlight("127.0.0.1") != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never arrived: %d under way, version %d", p.InFlight("127.0.0.1"), fake.version("1"))
		}
	}
}

// TestElasticRefusesRequests answers as a gateway does, and not at all.
func TestElasticRefusesRequests(t *testing.T) {
	p, _ := start(t)
	for status, want := range map[int]string{503: "proxy_fault", 502: "<html>", proxy.Reset: ""} {
		p.FailRequests(func(*http.Request) int { return status })
		resp, err := http.Get(p.URL() + "/")
		if (err != nil) != (status == proxy.Reset) {
			t.Errorf("%d: %v", status, err)
		}
		if err != nil {
			continue
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != status || !strings.Contains(string(data), want) {
			t.Errorf("%d: answer %d %q, %v", status, resp.StatusCode, data, err)
		}
	}
}
