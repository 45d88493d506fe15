// Package proxy stands between canalgo and its servers in tests: Elastic understands bulk requests to Elasticsearch,
// records, delays and spoils them; TCP cuts, stalls and delays any connection.
//
// Both listen on a loopback port of their own. All methods may be called from several goroutines.
package proxy

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Stats counts what passed an Elastic. An item is one action of a bulk request.
type Stats struct {
	Bulks        int // bulk requests that arrived
	InFlight     int // of these, those that have no answer yet
	Items        int // items that arrived
	Acknowledged int // items that Elasticsearch answered with 2xx, and deletes of what was not there
	Conflicts    int // items that it answered with 409
	Refused      int // items that it answered with anything else
	// Repeats are items that were refused as older (409), or written again with the version that the document had
	// been acknowledged with.
	Repeats int
	// Regressions are acknowledged items after which a document had a lower version than before. The order is
	// Elasticsearch's own, by sequence number, whatever the order of its answers.
	Regressions int
}

// Elastic is a reverse proxy in front of one Elasticsearch.
type Elastic struct {
	target  *url.URL
	url     string
	client  *http.Client
	forward *httputil.ReverseProxy
	server  *http.Server
	work    context.Context // of requests to the target; outlives the client's own, so that a bulk can arrive late
	cancel  context.CancelFunc

	mu            sync.Mutex
	stats         Stats
	acknowledged  map[key]write
	itemFault     func(Item) int
	requestFault  func(*http.Request) int
	answerFault   func(*http.Request) Answer
	lateness      func(*http.Request) time.Duration
	confirmed     func(Item)
	inFlight      map[string]int // bulk requests without an answer, by their sender's IP address
	stripVersions bool
	before, after []*Hold // not yet caught a request
}

type key struct{ index, id string }

type write struct{ version, seq int64 }

// NewElastic starts a proxy for the Elasticsearch at target, such as http://127.0.0.1:9200. The caller closes it.
func NewElastic(target string) (*Elastic, error) { return NewElasticOn("127.0.0.1:0", target) }

// NewElasticOn is NewElastic on another address than a loopback port of its own.
func NewElasticOn(listen, target string) (*Elastic, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", target, err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", target, err)
	}
	e := &Elastic{
		target: u,
		url:    "http://" + l.Addr().String(),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true}},
		forward: &httputil.ReverseProxy{
			Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(u) },
			ErrorLog: log.New(io.Discard, "", 0), // a server that is away is a test's doing
		},
		acknowledged: make(map[key]write),
		inFlight:     make(map[string]int),
	}
	e.work, e.cancel = context.WithCancel(context.Background())
	e.server = &http.Server{Handler: e, ErrorLog: log.New(io.Discard, "", 0)}
	go e.server.Serve(l)
	return e, nil
}

// URL is http://host:port of the proxy.
func (e *Elastic) URL() string { return e.url }

// Close ends the proxy with all requests in it; those that are held are not forwarded any more.
func (e *Elastic) Close() error {
	e.cancel()
	return e.server.Close()
}

// Stats returns the counts until now.
func (e *Elastic) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Version returns the version of a document's newest acknowledged write or delete.
func (e *Elastic) Version(index, id string) (version int64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.acknowledged[key{index, id}]
	return w.version, ok
}

// Forget drops what was acknowledged, for a test that deletes indices. The counts stay.
func (e *Elastic) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.acknowledged)
}

// FailItems asks status about every item from now on. Where it returns other than 0, Elasticsearch does not see the
// item, and the answer has that status for it. A nil function ends this.
func (e *Elastic) FailItems(status func(Item) int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.itemFault = status
}

// FailRequests asks status about every request, bulk or not; other than 0, it is the answer: 502 a page, as a gateway's, others
// an error as Elasticsearch writes it. With Reset there is none. A nil function ends this.
func (e *Elastic) FailRequests(status func(*http.Request) int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requestFault = status
}

// SpoilAnswers asks answer what becomes of the answer to every bulk request that Elasticsearch has done. A nil function ends this.
func (e *Elastic) SpoilAnswers(answer func(*http.Request) Answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answerFault = answer
}

// DelayBulks asks delay how long every bulk request is kept before it is forwarded, even when its sender is gone by then. A nil
// function ends this.
func (e *Elastic) DelayBulks(delay func(*http.Request) time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lateness = delay
}

// WatchConfirmed has watch see each item that Elasticsearch holds at its version or a later one, as it has answered, before its sender
// hears of that. It must not call the proxy. A nil function ends this.
func (e *Elastic) WatchConfirmed(watch func(Item)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.confirmed = watch
}

// InFlight counts the bulk requests of one host, an IP address, that have no answer yet.
func (e *Elastic) InFlight(host string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inFlight[host]
}

// StripVersions says whether versions are taken out of bulk actions, so that Elasticsearch cannot refuse an old write.
func (e *Elastic) StripVersions(strip bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stripVersions = strip
}

// A Hold catches the next bulk request and keeps it until it is released.
type Hold struct {
	caught, released chan struct{}
	once             sync.Once
}

// HoldBefore keeps the next bulk request from Elasticsearch. When it is released it is forwarded even if its sender is
// gone: a straggler.
func (e *Elastic) HoldBefore() *Hold { return e.hold(&e.before) }

// HoldAfter lets Elasticsearch do the next bulk request and keeps the answer back.
func (e *Elastic) HoldAfter() *Hold { return e.hold(&e.after) }

func (e *Elastic) hold(queue *[]*Hold) *Hold {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := &Hold{caught: make(chan struct{}), released: make(chan struct{})}
	*queue = append(*queue, h)
	return h
}

// Wait returns nil once a request is held.
func (h *Hold) Wait(ctx context.Context) error {
	select {
	case <-h.caught:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a bulk request to hold: %w", ctx.Err())
	}
}

// Release lets the request go on; one that was not caught yet passes freely.
func (h *Hold) Release() { h.once.Do(func() { close(h.released) }) }

// stop waits in the next hold of a queue, if there is one.
func (e *Elastic) stop(queue *[]*Hold) {
	e.mu.Lock()
	if len(*queue) == 0 {
		e.mu.Unlock()
		return
	}
	h := (*queue)[0]
	*queue = (*queue)[1:]
	e.mu.Unlock()
	close(h.caught)
	select {
	case <-h.released:
	case <-e.work.Done():
	}
}

func (e *Elastic) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-e.work.Done():
	}
}

// ServeHTTP handles one request.
func (e *Elastic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	fault := e.requestFault
	e.mu.Unlock()
	if fault != nil {
		if status := fault(r); status != 0 {
			refuse(w, status)
			return
		}
	}
	if !strings.HasSuffix(r.URL.Path, "/_bulk") {
		e.forward.ServeHTTP(w, r)
		return
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	e.count(func(s *Stats) { s.Bulks++; s.InFlight++; e.inFlight[host]++ })
	defer e.count(func(s *Stats) { s.InFlight--; e.inFlight[host]-- })
	if err := e.serveBulk(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}

func (e *Elastic) count(change func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.stats)
}

// Reset is a status for FailRequests: the connection is reset.
const Reset = -1

func refuse(w http.ResponseWriter, status int) {
	switch status {
	case Reset:
		reset(w)
		return
	case http.StatusBadGateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, "<html><body><h1>502 Bad Gateway</h1></body></html>")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"type":"proxy_fault","reason":"made by the test's proxy"},"status":%d}`, status)
}

// serveBulk returns an error only before anything was written to w.
func (e *Elastic) serveBulk(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(r)
	if err != nil {
		return fmt.Errorf("read the bulk request: %w", err)
	}
	defaultIndex := strings.Trim(strings.TrimSuffix(r.URL.Path, "/_bulk"), "/")
	items, err := parseBulk(body, defaultIndex)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.stats.Items += len(items)
	fault, strip, spoil, lateness := e.itemFault, e.stripVersions, e.answerFault, e.lateness
	e.mu.Unlock()

	faults := make([]int, len(items)) // status of the items that are not forwarded
	var send bytes.Buffer
	for i, item := range items {
		if fault != nil {
			faults[i] = fault(item)
		}
		if faults[i] != 0 {
			continue
		}
		if err := item.writeTo(&send, strip); err != nil {
			return err
		}
	}
	if lateness != nil {
		e.wait(lateness(r))
	}
	e.stop(&e.before)
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}}
	data := []byte(`{"took":0,"errors":false,"items":[]}`)
	if send.Len() > 0 {
		if answer, data, err = e.sendBulk(r, &send); err != nil {
			return err
		}
	}
	if answer.StatusCode == http.StatusOK {
		if data, err = e.record(items, faults, data); err != nil {
			return err
		}
	}
	e.stop(&e.after)
	if spoil != nil {
		if how := spoil(r); how != Whole {
			return how.write(w, data)
		}
	}
	for _, name := range []string{"Content-Type", "X-Elastic-Product", "Warning"} {
		if v := answer.Header.Values(name); len(v) > 0 {
			w.Header()[name] = v
		}
	}
	w.WriteHeader(answer.StatusCode)
	w.Write(data) // the sender may be gone
	return nil
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// sendBulk forwards the request with another body.
func (e *Elastic) sendBulk(r *http.Request, body *bytes.Buffer) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(e.work, 5*time.Minute)
	defer cancel()
	u := e.target.JoinPath(r.URL.Path)
	u.RawQuery = r.URL.RawQuery
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), body)
	if err != nil {
		return nil, nil, err
	}
	req.Header = r.Header.Clone()
	for _, name := range []string{"Content-Encoding", "Accept-Encoding", "Connection"} {
		req.Header.Del(name)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, errors.Join(errors.New("read the answer of Elasticsearch"), err)
	}
	return resp, data, nil
}
