package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"canalgo/cluster"
	"canalgo/config"
	"canalgo/status"
)

// maxAnswer bounds what a Client reads, in bytes.
const maxAnswer = 64 << 20

// An AnswerError is a node's refusal.
type AnswerError struct {
	Code int // HTTP status
	Text string
}

func (e *AnswerError) Error() string { return e.Text }

// ErrUnreachable is wrapped by the error of a Client that got no answer at all.
var ErrUnreachable = errors.New("no node answers")

// A Client asks one node. It is safe for several goroutines.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client for the address, host:port, that the node's node.http names.
func NewClient(address string) (*Client, error) {
	host, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/"))
	if err != nil {
		return nil, fmt.Errorf("the node's address: want host:port, for example %s, got %q", config.DefaultHTTP, address)
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext}
	return &Client{
		base: "http://" + net.JoinHostPort(host, port),
		http: &http.Client{
			Timeout:       writeTimeout + readTimeout,
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Report returns the node's report.
func (c *Client) Report(ctx context.Context) (status.Report, error) {
	var report status.Report
	err := c.do(ctx, http.MethodGet, "/status", nil, &report)
	return report, err
}

// SetPaused pauses or resumes "source/NAME", "sink/NAME" or "mapping/NAME".
func (c *Client) SetPaused(ctx context.Context, what string, paused bool) error {
	path := "/v1/resume"
	if paused {
		path = "/v1/pause"
	}
	return c.do(ctx, http.MethodPost, path, pauseBody{What: what}, nil)
}

// Apply replaces the configuration by the file's; with dryRun it only asks what would change. The file's secrets travel sealed
// with a key that is made for the request and travels with it: over loopback alone.
func (c *Client) Apply(ctx context.Context, file config.File, dryRun bool) (Applied, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	replicated, err := file.ToCluster(key)
	if err != nil {
		return Applied{}, err
	}
	var applied Applied
	err = c.do(ctx, http.MethodPost, "/v1/apply", applyBody{Key: key, Config: replicated, DryRun: dryRun}, &applied)
	return applied, err
}

// StartLoad begins, or begins again, the load of "SOURCE/MAPPING"; of the rows of its etlCondition when there is a part.
func (c *Client) StartLoad(ctx context.Context, duty string, part *Part) error {
	return c.do(ctx, http.MethodPost, "/v1/load", loadBody{Duty: duty, Part: part}, nil)
}

// Rewind starts a source again from a place and returns the place in the log.
func (c *Client) Rewind(ctx context.Context, source, start string) (string, error) {
	var out rewoundBody
	err := c.do(ctx, http.MethodPost, "/v1/rewind", rewindBody{Source: source, Start: start}, &out)
	return out.Position, err
}

// Remove takes a node out of the cluster.
func (c *Client) Remove(ctx context.Context, node string) error {
	return c.do(ctx, http.MethodPost, "/v1/remove", removeBody{Node: node}, nil)
}

// Leave has the node that is asked leave the cluster and stop.
func (c *Client) Leave(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/leave", struct{}{}, nil)
}

// Load returns how far the load of "SOURCE/MAPPING" has come.
func (c *Client) Load(ctx context.Context, duty string) (status.Duty, error) {
	var line status.Duty
	err := c.do(ctx, http.MethodGet, "/v1/load?duty="+url.QueryEscape(duty), nil, &line)
	return line, err
}

// Quarantine returns what is set aside.
func (c *Client) Quarantine(ctx context.Context) ([]cluster.Quarantined, error) {
	var entries []cluster.Quarantined
	err := c.do(ctx, http.MethodGet, "/v1/quarantine", nil, &entries)
	return entries, err
}

// Quarantined returns one entry.
func (c *Client) Quarantined(ctx context.Context, id uint64) (cluster.Quarantined, error) {
	var entry cluster.Quarantined
	err := c.do(ctx, http.MethodGet, "/v1/quarantine/"+strconv.FormatUint(id, 10), nil, &entry)
	return entry, err
}

// RetryQuarantine writes entries again, all without ids. It returns how many are no longer set aside, and why the others are.
func (c *Client) RetryQuarantine(ctx context.Context, ids ...uint64) (n int, failed []string, err error) {
	return c.release(ctx, "retry", ids)
}

// DropQuarantine forgets entries, all without ids. It returns how many there were, and why others are left.
func (c *Client) DropQuarantine(ctx context.Context, ids ...uint64) (n int, failed []string, err error) {
	return c.release(ctx, "drop", ids)
}

func (c *Client) release(ctx context.Context, verb string, ids []uint64) (int, []string, error) {
	var done countBody
	err := c.do(ctx, http.MethodPost, "/v1/quarantine/"+verb, idsBody{IDs: ids, All: len(ids) == 0}, &done)
	return done.Count, done.Failed, err
}

// do sends a request and decodes the answer into result.
func (c *Client) do(ctx context.Context, method, path string, body, result any) error {
	response, err := c.send(ctx, c.http, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w completely at %s (%w)", ErrUnreachable, strings.TrimPrefix(c.base, "http://"), err)
	}
	if response.StatusCode != http.StatusOK {
		return refusal(response, data)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(data, result); err != nil {
		return &AnswerError{Code: response.StatusCode, Text: "the answer is not a node's; is it canalgo that listens there?"}
	}
	return nil
}

// send sends a request. Whoever gets the answer closes its body.
func (c *Client) send(ctx context.Context, by *http.Client, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := by.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return response, nil
}

// unreachable says that a request got no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return fmt.Errorf("%w at %s (%w)", ErrUnreachable, strings.TrimPrefix(c.base, "http://"), err)
}

// refusal is an answer other than 200.
func refusal(response *http.Response, data []byte) error {
	var body errorBody
	if json.Unmarshal(data, &body) != nil || body.Error == "" {
		body.Error = "the answer is " + response.Status + "; is it canalgo that listens there?"
	}
	return &AnswerError{Code: response.StatusCode, Text: body.Error}
}
