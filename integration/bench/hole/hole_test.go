package hole_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/integration/bench/hole"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/sink/elastic"
)

func serve(t *testing.T) (*hole.Server, string) {
	t.Helper()
	s := new(hole.Server)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

// TestSinkTakesItForElasticsearch writes with the real sink, which compares every item's answer with what it sent.
func TestSinkTakesItForElasticsearch(t *testing.T) {
	s, url := serve(t)
	cfg := elastic.Defaults()
	cfg.Addresses = []string{url}
	out, err := elastic.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if v, err := out.Ping(t.Context()); err != nil || !strings.HasPrefix(v, "7.17") {
		t.Errorf("ping: %q, %v", v, err)
	}
	before, err := out.IndexUUID(t.Context(), "user")
	if err != nil || before == "" {
		t.Errorf("uuid %q, %v", before, err)
	}
	if uuid, err := out.CreateIndex(t.Context(), "user", []byte(`{"mappings":{}}`)); err != nil || uuid != before {
		t.Errorf("created uuid %q, %v; want %q", uuid, err, before)
	}
	changes := []mapping.Change{
		{Op: mapping.Write, Index: "user", ID: `a"b`, Version: 7, Body: []byte(`{"delete":{"_id":"x"}}`)}, // a document that looks like an action
		{Op: mapping.Write, Index: "user", ID: "2", Version: event.Version(1)<<62 + 1, Body: []byte(`{}`)},
		{Op: mapping.Delete, Index: "user", ID: "3", Version: 9},
		{Op: mapping.Write, Index: "user", ID: "4", Version: 9, Body: []byte(`{"n":1}`)},
	}
	if err := out.Write(t.Context(), changes); err != nil {
		t.Errorf("write: %v", err)
	}
	if got := s.Documents(); got != 4 {
		t.Errorf("got %d documents, want 4", got)
	}
	if n, err := out.Clear(t.Context(), mapping.Own{Index: "user"}, 99); n.Deleted != 0 || err != nil {
		t.Errorf("clear: %d, %v", n, err)
	}
	var partial *sink.PartialError
	if err := out.Write(t.Context(), changes[:1]); errors.As(err, &partial) {
		t.Errorf("written again: %v", partial)
	}
}

func TestBulkAnswer(t *testing.T) {
	_, url := serve(t)
	body := `{"index":{"_id":"1","version":5}}` + "\n{}\n" + `{"delete":{"_id":"2","version":18446744073709551615}}` + "\n"
	resp, err := http.Post(url+"/user/_bulk", "application/x-ndjson", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Errors bool
		Items  []map[string]struct {
			Index   string      `json:"_index"`
			ID      string      `json:"_id"`
			Version json.Number `json:"_version"`
			Result  string
			Status  int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := "[map[index:{user 1 5 created 201}] map[delete:{user 2 18446744073709551615 deleted 200}]]"
	if text := fmt.Sprint(got.Items); got.Errors || text != want {
		t.Errorf("errors %v\n got %s\nwant %s", got.Errors, text, want)
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"POST", "/user/_bulk", "no action\n{}\n", 400, "is not an action"},
		{"POST", "/user/_bulk", `{"index":{"version":5}}` + "\n{}\n", 400, "is not an action"},
		{"POST", "/user/_mget", `{"ids":["a","b"]}`, 200, `{"_index":"user","_type":"_doc","_id":"b","found":false}`},
		{"POST", "/user/_refresh", "", 200, `"successful":1`},
		{"DELETE", "/_search/scroll", "{}", 200, `"succeeded":true`},
		{"GET", hole.CountPath, "", 200, "0"},
		{"GET", "/user/_doc/1", "", 404, "does not know"},
		{"DELETE", "/user", "", 404, "does not know"},
	} {
		_, url := serve(t)
		req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !strings.Contains(string(answer), c.contains) {
			t.Errorf("%s %s: got %d %s, %v; want %d with %s", c.method, c.path, resp.StatusCode, answer, err, c.status, c.contains)
		}
	}
}
