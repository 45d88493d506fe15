package elastic

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v7"
	"github.com/elastic/go-elasticsearch/v7/esapi"
	"github.com/tidwall/gjson"

	"canalgo/event"
	"canalgo/sink"
)

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Clearer = (*Sink)(nil)
)

// A Sink writes to one Elasticsearch. It is safe for several goroutines.
type Sink struct {
	cfg       Config
	es        *elasticsearch.Client
	transport *http.Transport
}

// New checks cfg and allocates; it opens no connection.
func New(cfg Config) (*Sink, error) {
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   cfg.InFlight + 4,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: time.Duration(cfg.Timeout),
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
	if cfg.CA != "" {
		pem, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no PEM certificate", cfg.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	es, err := elasticsearch.NewClient(elasticsearch.Config{
		Addresses: cfg.Addresses, Username: cfg.User, Password: cfg.Password.Reveal(), Transport: transport,
		DisableRetry: true, // the one retry loop is the worker's
	})
	if err != nil {
		return nil, fmt.Errorf("elasticsearch client: %w", err)
	}
	return &Sink{cfg: cfg, es: es, transport: transport}, nil
}

// Limits returns what a worker may send at once.
func (s *Sink) Limits() sink.Limits {
	return sink.Limits{BulkBytes: s.cfg.BulkBytes, BulkDocs: s.cfg.BulkDocs, InFlight: s.cfg.InFlight, Linger: 10 * time.Millisecond}
}

// Close closes idle connections.
func (s *Sink) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// A statusError is an answer that is not a success.
type statusError struct {
	status int
	body   string // the beginning
}

func (e *statusError) Error() string {
	if e.body == "" {
		return fmt.Sprintf("elasticsearch answered %d %s", e.status, http.StatusText(e.status))
	}
	return fmt.Sprintf("elasticsearch answered %d: %s", e.status, e.body)
}

// do sends a request and returns the whole body of a successful answer; any other answer is a *statusError.
func (s *Sink) do(ctx context.Context, r esapi.Request) ([]byte, error) {
	if err := sink.Begin(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.cfg.Timeout))
	defer cancel()
	res, err := r.Do(ctx, s.es)
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: %w", err)
	}
	defer res.Body.Close()
	var body []byte
	if n := res.Header.Get("Content-Length"); n != "" && len(n) < 9 {
		body = make([]byte, 0, atoi(n)+bytesMinRead)
	}
	body, err = readAll(res.Body, body)
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: read answer: %w", err)
	}
	if res.IsError() {
		return nil, &statusError{status: res.StatusCode, body: summary(body)}
	}
	return body, nil
}

const bytesMinRead = 512

func atoi(s string) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// readAll is io.ReadAll into a buffer of the size that the answer announced.
func readAll(r io.Reader, b []byte) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

// summary is what a person needs of an error's body.
func summary(body []byte) string {
	if e := gjson.GetBytes(body, "error"); e.IsObject() {
		return reason(e)
	}
	text := strings.Join(strings.Fields(string(body[:min(len(body), 300)])), " ")
	return strings.ToValidUTF8(text, "?")
}

// reason joins an error's type and reason with those of its causes.
func reason(e gjson.Result) string {
	text := e.Get("type").String() + ": " + e.Get("reason").String()
	for cause := e.Get("caused_by"); cause.IsObject(); cause = cause.Get("caused_by") {
		text += ": " + cause.Get("reason").String()
	}
	return text
}

// Ping asks who answers; an Elasticsearch of another major version is a *event.StopError.
func (s *Sink) Ping(ctx context.Context) (version string, err error) {
	body, err := s.do(ctx, esapi.InfoRequest{})
	if err != nil {
		return "", err
	}
	version = gjson.GetBytes(body, "version.number").String()
	if other := gjson.GetBytes(body, "version.distribution").String(); other != "" {
		return version, &event.StopError{Reason: fmt.Sprintf("%s is %s %s", strings.Join(s.cfg.Addresses, ", "), other, version), Fix: "this sink writes to Elasticsearch 7"}
	}
	if !strings.HasPrefix(version, "7.") {
		return version, &event.StopError{Reason: fmt.Sprintf("%s is Elasticsearch %q", strings.Join(s.cfg.Addresses, ", "), version), Fix: "this sink writes to version 7"}
	}
	return version, nil
}

// IndexUUID returns the UUID of the index, or "" when there is none. An alias is followed when it names one index.
func (s *Sink) IndexUUID(ctx context.Context, index string) (string, error) {
	body, err := s.do(ctx, esapi.IndicesGetSettingsRequest{Index: []string{index}})
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("index %s: %w", index, err)
	}
	uuid, indices := "", 0
	gjson.ParseBytes(body).ForEach(func(_, v gjson.Result) bool {
		uuid = v.Get("settings.index.uuid").String()
		indices++
		return true
	})
	if indices > 1 {
		return "", &event.StopError{Reason: fmt.Sprintf("%s is an alias of %d indices", index, indices), Fix: "name one index"}
	}
	return uuid, nil
}

// CreateIndex creates an index from a body such as {"mappings":{"properties":{...}}} and returns its UUID. Documents'
// versions of deletes are kept for 15 minutes in it, longer than any write of ours can be late.
func (s *Sink) CreateIndex(ctx context.Context, index string, body []byte) (string, error) {
	settings := fmt.Sprintf(`{"settings":{"number_of_shards":%d,"number_of_replicas":%d,"gc_deletes":"15m"},`, s.cfg.Shards, s.cfg.Replicas)
	_, err := s.do(ctx, esapi.IndicesCreateRequest{Index: index, Body: strings.NewReader(settings + string(body[1:]))})
	if err != nil && !strings.Contains(err.Error(), "resource_already_exists_exception") {
		return "", fmt.Errorf("create index %s: %w", index, err)
	}
	return s.IndexUUID(ctx, index)
}
