package elastic_test

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
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/sink/elastic"
)

// serve starts a server that answers requests by path suffix, and returns a sink that writes to it.
func serve(t *testing.T, answers map[string]http.HandlerFunc) *elastic.Sink {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		for suffix, answer := range answers {
			if strings.HasSuffix(r.URL.Path, suffix) {
				answer(w, r)
				return
			}
		}
		if r.URL.Path == "/" { // the client asks once what it talks to
			fmt.Fprint(w, `{"version":{"number":"7.17.29","build_flavor":"default"},"tagline":"You Know, for Search"}`)
			return
		}
		http.Error(w, `{"error":{"type":"unexpected","reason":"`+r.URL.Path+`"}}`, http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	cfg := elastic.Defaults()
	cfg.Addresses = []string{server.URL}
	s, err := elastic.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func change(op mapping.Op, id string, version event.Version, body string) mapping.Change {
	return mapping.Change{Op: op, Index: "i", ID: id, Version: version, Body: []byte(body)}
}

func item(op, id string, status int, failure string) string {
	if failure != "" {
		failure = `,"error":` + failure
	}
	return fmt.Sprintf(`{%q:{"_index":"i","_type":"_doc","_id":%q,"status":%d%s}}`, op, id, status, failure)
}

func items(list ...string) string {
	return `{"took":1,"errors":true,"items":[` + strings.Join(list, ",") + `]}`
}

func TestWriteSendsVersionedActions(t *testing.T) {
	var body string
	s := serve(t, map[string]http.HandlerFunc{"/i/_bulk": func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = string(b)
		fmt.Fprint(w, items(item("index", `a"\`, 201, ""), item("delete", "b", 404, "")))
	}})
	err := s.Write(t.Context(), []mapping.Change{change(mapping.Write, `a"\`, 7, `{"n":1}`), change(mapping.Delete, "b", 1<<62, "")})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"index":{"_id":"a\"\\","version":7,"version_type":"external_gte"}}` + "\n" + `{"n":1}` + "\n" +
		`{"delete":{"_id":"b","version":4611686018427387904,"version_type":"external_gte"}}` + "\n"
	if body != want {
		t.Errorf("sent\n%s\nwant\n%s", body, want)
	}
}

// TestHashOfARouting has hashes that Elasticsearch's own tests name.
func TestHashOfARouting(t *testing.T) {
	for text, want := range map[string]uint32{
		"hell": 0x5a0cb7c3, "hello": 0xd7c31989, "hello w": 0x22ab2984, "hello wo": 0xdf0ca123, "hello wor": 0xe7744d61,
		"The quick brown fox jumps over the lazy dog": 0xe07db09c, "The quick brown fox jumps over the lazy cog": 0x4e63d2ad,
	} {
		if got := elastic.Murmur3(text); got != want {
			t.Errorf("%q: got %x, want %x", text, got, want)
		}
	}
}

// TestWriteOfAChild: what a document leaves is deleted where it is another document to Elasticsearch, and nowhere else.
func TestWriteOfAChild(t *testing.T) {
	child := change(mapping.Write, "c1", 7, `{"n":1}`)
	child.Routing, child.Left = "hello", []string{"hell", "hello w"}
	gone := change(mapping.Delete, "c2", 7, "")
	gone.Routing = "hello"
	for _, c := range []struct {
		name, shards string
		left         []string
	}{
		{"one shard", `{"routing_num_shards":1024,"settings":{"index":{"number_of_shards":"1"}}}`, nil},
		// The hashes modulo 2: hell 1, hello 1, hello w 0.
		{"two shards", `{"routing_num_shards":2,"settings":{"index":{"number_of_shards":"2"}}}`, []string{"hello w"}},
		// Modulo 3, as signed numbers: hell 1, hello 2, hello w 0.
		{"three shards", `{"routing_num_shards":3,"settings":{"index":{"number_of_shards":"3"}}}`, []string{"hell", "hello w"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var body string
			s := serve(t, map[string]http.HandlerFunc{
				"/_cluster/state/metadata/i": says(`{"metadata":{"indices":{"i":` + c.shards + `}}}`),
				"/i/_bulk": func(w http.ResponseWriter, r *http.Request) {
					b, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					body = string(b)
					var list []string
					for range c.left {
						list = append(list, item("delete", "c1", 404, ""))
					}
					fmt.Fprint(w, items(append(list, item("index", "c1", 201, ""), item("delete", "c2", 200, ""))...))
				}})
			if err := s.Write(t.Context(), []mapping.Change{child, gone}); err != nil {
				t.Fatal(err)
			}
			want := ""
			for _, r := range c.left {
				want += `{"delete":{"_id":"c1","routing":"` + r + `","version":7,"version_type":"external_gte"}}` + "\n"
			}
			want += `{"index":{"_id":"c1","routing":"hello","version":7,"version_type":"external_gte"}}` + "\n" + `{"n":1}` + "\n" +
				`{"delete":{"_id":"c2","routing":"hello","version":7,"version_type":"external_gte"}}` + "\n"
			if body != want {
				t.Errorf("sent\n%s\nwant\n%s", body, want)
			}
		})
	}
}

// TestWriteOfAChildIsAnsweredOnce: a change of several actions is in one place, and sent again as a whole.
func TestWriteOfAChildIsAnsweredOnce(t *testing.T) {
	const conflict = `{"type":"version_conflict_engine_exception","reason":"[c1]: version conflict, current version [99] is higher than the one provided [7]"}`
	const strict, busy = `{"type":"strict_dynamic_mapping_exception","reason":"no"}`, `{"type":"es_rejected_execution_exception","reason":"busy"}`
	child := change(mapping.Write, "c1", 7, `{"n":1}`)
	child.Routing, child.Left = "hello", []string{"hell"}
	for _, c := range []struct {
		name, first, second string
		want                [3]int // refused, conflicts, to send again
	}{
		{"conflict where it was", item("delete", "c1", 409, conflict), item("index", "c1", 201, ""), [3]int{0, 1, 0}},
		{"conflict and refused", item("delete", "c1", 409, conflict), item("index", "c1", 400, strict), [3]int{1, 0, 0}},
		{"refused and busy", item("delete", "c1", 429, busy), item("index", "c1", 400, strict), [3]int{0, 0, 1}},
		{"busy twice", item("delete", "c1", 429, busy), item("index", "c1", 429, busy), [3]int{0, 0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, map[string]http.HandlerFunc{
				"/_cluster/state/metadata/i": says(`{"metadata":{"indices":{"i":{"routing_num_shards":3,"settings":{"index":{"number_of_shards":"3"}}}}}}`),
				"/_bulk":                     says(items(c.first, c.second)),
				"/_mget": func(w http.ResponseWriter, r *http.Request) {
					if b, err := io.ReadAll(r.Body); err != nil || string(b) != `{"docs":[{"_id":"c1","routing":"hello"}]}` {
						t.Errorf("asked %s, %v", b, err)
					}
					fmt.Fprint(w, `{"docs":[{"_index":"i","_id":"c1","found":false}]}`)
				},
			})
			var partial *sink.PartialError
			if err := s.Write(t.Context(), []mapping.Change{child}); !errors.As(err, &partial) {
				t.Fatalf("got %v, want a PartialError", err)
			}
			if got := [3]int{len(partial.Rejected), len(partial.Conflicts), len(partial.Retry)}; got != c.want {
				t.Errorf("got %v refused, in conflict and to send again, want %v", got, c.want)
			}
			for _, again := range partial.Retry {
				if len(again.Left) != 1 {
					t.Errorf("sent again without what it leaves: %+v", again)
				}
			}
		})
	}
}

func TestWriteSortsAnswers(t *testing.T) {
	const conflict = `{"type":"version_conflict_engine_exception","reason":"[b]: version conflict, current version [99] is higher than the one provided [7]"}`
	const strict = `{"type":"strict_dynamic_mapping_exception","reason":"mapping set to strict","caused_by":{"type":"x","reason":"inner"}}`
	s := serve(t, map[string]http.HandlerFunc{
		"/_bulk": says(items(item("index", "a", 200, ""), item("index", "b", 409, conflict), item("index", "c", 400, strict),
			item("index", "d", 429, `{"type":"es_rejected_execution_exception","reason":"busy"}`), item("index", "e", 400, strict),
			item("index", "f", 400, `{"type":"index_closed_exception","reason":"closed"}`))),
		"/_mget": says(`{"docs":[{"_index":"i","_id":"c","found":false},{"_index":"i","_id":"e","_version":50,"found":true}]}`),
	})
	var changes []mapping.Change
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		changes = append(changes, change(mapping.Write, id, 7, "{}"))
	}
	var partial *sink.PartialError
	if err := s.Write(t.Context(), changes); !errors.As(err, &partial) {
		t.Fatalf("got %v, want a PartialError", err)
	}
	if len(partial.Rejected) != 1 || partial.Rejected[0].Change.ID != "c" || !strings.Contains(partial.Rejected[0].Reason, "strict_dynamic_mapping_exception: mapping set to strict: inner") {
		t.Errorf("rejected: %+v", partial.Rejected)
	}
	has := map[string]event.Version{}
	for _, c := range partial.Conflicts {
		has[c.Change.ID] = c.Has
	}
	if len(has) != 2 || has["b"] != 99 || has["e"] != 50 {
		t.Errorf("conflicts: %v, want b at 99 and e, refused but older than what is there, at 50", has)
	}
	if len(partial.Retry) != 2 || partial.Retry[0].ID != "d" || partial.Retry[1].ID != "f" || !strings.Contains(fmt.Sprint(partial.Cause), "/_open") {
		t.Errorf("retry: %+v, cause %v", partial.Retry, partial.Cause)
	}
}

// TestWriteToAnAliasWithoutAWriteIndex: the alias is to blame, not the documents. What else Elasticsearch finds illegal is the documents'.
func TestWriteToAnAliasWithoutAWriteIndex(t *testing.T) {
	const none = `{"type":"illegal_argument_exception","reason":"no write index is defined for alias [i]. The write index may be explicitly disabled using is_write_index=false or the alias points to multiple indices without one being designated as a write index"}`
	const other = `{"type":"illegal_argument_exception","reason":"Limit of total fields [1000] has been exceeded"}`
	s := serve(t, map[string]http.HandlerFunc{
		"/_bulk": says(items(item("index", "a", 400, none), item("index", "b", 400, other), item("delete", "c", 400, none))),
		"/_mget": says(`{"docs":[{"_index":"i","_id":"b","found":false}]}`),
	})
	var partial *sink.PartialError
	err := s.Write(t.Context(), []mapping.Change{change(mapping.Write, "a", 7, "{}"), change(mapping.Write, "b", 7, "{}"), change(mapping.Delete, "c", 7, "")})
	if !errors.As(err, &partial) {
		t.Fatalf("got %v, want a PartialError", err)
	}
	if len(partial.Retry) != 2 || !strings.Contains(fmt.Sprint(partial.Cause), "i is an alias of several indices without a write index") {
		t.Errorf("retry: %+v, cause %v", partial.Retry, partial.Cause)
	}
	if len(partial.Rejected) != 1 || partial.Rejected[0].Change.ID != "b" {
		t.Errorf("rejected: %+v", partial.Rejected)
	}
}

func TestWriteDoesNotTrustABadAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"garbage":     `<html>502</html>`,
		"cut":         items(item("index", "a", 200, ""))[:40],
		"too few":     items(item("index", "a", 200, "")),
		"too many":    items(item("index", "a", 200, ""), item("index", "b", 200, ""), item("index", "c", 200, "")),
		"other order": items(item("index", "b", 200, ""), item("index", "a", 200, "")),
		"no items":    `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, map[string]http.HandlerFunc{"/_bulk": says(answer)})
			err := s.Write(t.Context(), []mapping.Change{change(mapping.Write, "a", 1, "{}"), change(mapping.Write, "b", 1, "{}")})
			var partial *sink.PartialError
			if err == nil || errors.As(err, &partial) {
				t.Errorf("got %v, want an error that is worth a retry of all", err)
			}
		})
	}
}

func TestWriteHalvesWhatIsTooLarge(t *testing.T) {
	s := serve(t, map[string]http.HandlerFunc{"/_bulk": func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if len(b) > 200 {
			http.Error(w, "", http.StatusRequestEntityTooLarge)
			return
		}
		var list []string
		for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			var action map[string]struct {
				ID string `json:"_id"`
			}
			if json.Unmarshal([]byte(line), &action) == nil && action["index"].ID != "" {
				list = append(list, item("index", action["index"].ID, 201, ""))
			}
		}
		fmt.Fprint(w, items(list...))
	}})
	changes := []mapping.Change{change(mapping.Write, "a", 1, "{}"), change(mapping.Write, "b", 1, "{}"), change(mapping.Write, "c", 1, "{}"),
		change(mapping.Write, "huge", 1, `{"x":"`+strings.Repeat("x", 300)+`"}`)}
	var partial *sink.PartialError
	if err := s.Write(t.Context(), changes); !errors.As(err, &partial) {
		t.Fatalf("got %v, want a PartialError", err)
	}
	if len(partial.Rejected) != 1 || partial.Rejected[0].Change.ID != "huge" || len(partial.Retry)+len(partial.Conflicts) != 0 {
		t.Errorf("got %+v, want only the huge document refused", partial)
	}
}

// TestRedirectsAreNotFollowed: an address is only what the file names.
func TestRedirectsAreNotFollowed(t *testing.T) {
	s := serve(t, map[string]http.HandlerFunc{
		"/":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/secret", http.StatusFound) },
		"/secret": func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") },
	})
	if version, err := s.Ping(t.Context()); err == nil {
		t.Errorf("version %q", version)
	}
}

func TestPingRefusesAnotherMajorVersion(t *testing.T) {
	s := serve(t, map[string]http.HandlerFunc{"/": says(`{"version":{"number":"8.11.1","build_flavor":"default"},"tagline":"You Know, for Search"}`)})
	var stop *event.StopError
	if _, err := s.Ping(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "8.11.1") {
		t.Errorf("got %v, want a StopError that names the version", err)
	}
}

func TestClearDeletesOnlyWhatIsOlder(t *testing.T) {
	var deleted string
	s := serve(t, map[string]http.HandlerFunc{
		"/i/_refresh":     says(`{}`),
		"/i/_search":      says(`{"_scroll_id":"s","hits":{"hits":[{"_id":"old","_version":5},{"_id":"new","_version":20}]}}`),
		"/_search/scroll": says(`{"_scroll_id":"s","hits":{"hits":[]}}`),
		"/_bulk": func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			deleted = string(b)
			fmt.Fprint(w, items(item("delete", "old", 200, "")))
		},
	})
	over, asked := errors.New("the lease is over"), 0
	_, err := s.Clear(sink.Leased(t.Context(), func() error {
		if asked++; asked > 2 {
			return over
		}
		return nil
	}), mapping.Own{Index: "i"}, 10)
	if !errors.Is(err, over) || asked != 3 {
		t.Errorf("%v after %d requests, want each to ask for the lease", err, asked)
	}
	cleared, err := s.Clear(t.Context(), mapping.Own{Index: "i"}, 10)
	if err != nil || cleared != (sink.Cleared{Deleted: 1, Highest: 20}) {
		t.Fatalf("cleared %+v, %v", cleared, err)
	}
	if want := `{"delete":{"_id":"old","version":10,"version_type":"external_gte"}}` + "\n"; deleted != want {
		t.Errorf("sent %s, want %s", deleted, want)
	}
}

// TestAnswerOfSomeShardsIsNone: what the other shards have would stay for ever. One that is away may be told by the numbers alone.
func TestAnswerOfSomeShardsIsNone(t *testing.T) {
	const all = `"_shards":{"total":2,"successful":2,"failed":0}`
	const away = `"_shards":{"total":2,"successful":1,"failed":0}`
	const failed = `"_shards":{"total":2,"successful":1,"failed":1,"failures":[{"reason":{"type":"node_not_connected_exception","reason":"gone"}}]}`
	for _, c := range []struct {
		name                           string
		refresh, search, scroll, count string // what stands beside the rest
		cleared, counted               string // the error's text, "" for none
	}{
		{"all", all, all, all, all, "", ""},
		{"a replica is not assigned", away, all, all, all, "", ""},
		{"the refresh", failed, all, all, all, "refresh: elasticsearch answered for 1 of 2 shards: node_not_connected_exception: gone", "refresh: "},
		{"the search", all, failed, all, all, "list ids: elasticsearch answered for 1 of 2 shards: node_not", ""},
		{"the search, of a shard that is away", all, away, all, all, "list ids: elasticsearch answered for 1 of 2 shards", ""},
		{"the search, in time", all, `"timed_out":true,` + all, all, all, "its time was up", ""},
		{"a page", all, all, failed, all, "list ids: elasticsearch answered for 1 of 2 shards", ""},
		{"the last page", all, all, away, all, "list ids: elasticsearch answered for 1 of 2 shards", ""},
		{"the count", all, all, all, away, "", "elasticsearch answered for 1 of 2 shards"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, map[string]http.HandlerFunc{
				"/i/_refresh": says(`{` + c.refresh + `}`),
				"/i/_search": func(w http.ResponseWriter, r *http.Request) {
					if some := r.URL.Query().Get("allow_partial_search_results"); some != "false" {
						t.Errorf("allow_partial_search_results is %q", some)
					}
					fmt.Fprint(w, `{"_scroll_id":"s",`+c.search+`,"hits":{"hits":[{"_id":"new","_version":20}]}}`)
				},
				"/_search/scroll": says(`{"_scroll_id":"s",` + c.scroll + `,"hits":{"hits":[]}}`),
				"/i/_count":       says(`{"count":3,` + c.count + `}`),
			})
			own := mapping.Own{Index: "i"}
			is := func(err error, want string) bool {
				return (err == nil) == (want == "") && strings.Contains(fmt.Sprint(err), want)
			}
			if _, err := s.Clear(t.Context(), own, 10); !is(err, c.cleared) {
				t.Errorf("cleared: %v, want %q", err, c.cleared)
			}
			if err := s.List(t.Context(), own, func([]mapping.Change) error { return nil }); !is(err, c.cleared) {
				t.Errorf("listed: %v, want %q", err, c.cleared)
			}
			if _, err := s.CountBefore(t.Context(), own, 10); !is(err, c.cleared) {
				t.Errorf("counted before: %v, want %q", err, c.cleared)
			}
			if _, err := s.Count(t.Context(), own); !is(err, c.counted) {
				t.Errorf("counted: %v, want %q", err, c.counted)
			}
		})
	}
}

// TestOwnDocuments: of an index that others write too, only those of the mapping are listed, counted and deleted.
func TestOwnDocuments(t *testing.T) {
	const filter = `{"query":{"term":{"kind":{"value":"child"}}}}`
	var deleted string
	filtered := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if b, err := io.ReadAll(r.Body); err != nil || string(b) != filter {
				t.Errorf("asked %s of %s, %v", b, r.URL.Path, err)
			}
			fmt.Fprint(w, answer)
		}
	}
	s := serve(t, map[string]http.HandlerFunc{
		"/i/_refresh":     says(`{}`),
		"/i/_search":      filtered(`{"_scroll_id":"s","hits":{"hits":[{"_id":"old","_routing":"7","_version":5}]}}`),
		"/i/_count":       filtered(`{"count":3}`),
		"/_search/scroll": says(`{"_scroll_id":"s","hits":{"hits":[]}}`),
		"/_bulk": func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			deleted = string(b)
			fmt.Fprint(w, items(item("delete", "old", 200, "")))
		},
		"/i/_mget": says(`{"docs":[{"_id":"a","found":true,"_routing":"7","_version":3,"_source":{}},{"_id":"a","found":true,"_routing":"7","_version":3,"_source":{}},{"_id":"b","found":true,"_version":3,"_source":{}}]}`),
	})
	own := mapping.Own{Index: "i", Field: "kind", Value: "child"}
	if cleared, err := s.Clear(t.Context(), own, 10); err != nil || cleared.Deleted != 1 {
		t.Errorf("cleared %+v, %v", cleared, err)
	}
	if want := `{"delete":{"_id":"old","routing":"7","version":10,"version_type":"external_gte"}}` + "\n"; deleted != want {
		t.Errorf("sent %s, want %s", deleted, want)
	}
	if n, err := s.Count(t.Context(), own); err != nil || n != 3 {
		t.Errorf("counted %d, %v", n, err)
	}
	var found []bool
	of := []mapping.Change{{ID: "a", Routing: "7"}, {ID: "a", Routing: "8"}, {ID: "b"}} // on one shard, an id is found under any routing
	err := s.Documents(t.Context(), "i", of, func(_ int, _ event.Version, source []byte) error {
		found = append(found, source != nil)
		return nil
	})
	if err != nil || fmt.Sprint(found) != "[true false true]" {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	for want, spoil := range map[string]func(*elastic.Config){
		"addresses: must name":       func(c *elastic.Config) { c.Addresses = nil },
		"addresses: \"es:9200\"":     func(c *elastic.Config) { c.Addresses = []string{"es:9200"} },
		"addresses: must not hold a": func(c *elastic.Config) { c.Addresses = []string{"http://u:p@es:9200"} },
		"bulk_docs:":                 func(c *elastic.Config) { c.BulkDocs = 0 },
		"timeout:":                   func(c *elastic.Config) { c.Timeout = 0 },
	} {
		c := elastic.Defaults()
		c.Addresses = []string{"http://es:9200"}
		spoil(&c)
		if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) || strings.Contains(errs[0].Error(), "u:p") {
			t.Errorf("got %v, want one error that begins with %q", errs, want)
		}
	}
}
