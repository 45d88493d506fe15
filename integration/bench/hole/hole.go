// Package hole answers like an Elasticsearch 7.17 that takes every document at once, and keeps nothing: what writes into it
// is measured without what a real one costs.
//
// It knows the requests that the sink makes: who it is, an index's settings and creation, _bulk with one answer for each item,
// refresh, a search that finds nothing, _mget that finds nothing. Every index exists. It looks at the action line of each
// item, because the answer repeats it, and at nothing else.
package hole

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidwall/gjson"
)

// CountPath is where GET answers the number of documents taken so far, as text.
const CountPath = "/_hole/count"

// maxBody bounds a request, in bytes; Elasticsearch's own bound is 100 MB.
const maxBody = 100 << 20

// A Server is an http.Handler for several connections. The zero value is ready.
type Server struct {
	documents atomic.Uint64
	buffers   sync.Pool // *buffers
}

// buffers are kept from request to request.
type buffers struct{ request, answer bytes.Buffer }

// Documents returns how many items of _bulk were taken.
func (s *Server) Documents() uint64 { return s.documents.Load() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch") // else the client refuses to go on
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	b, ok := s.buffers.Get().(*buffers)
	if !ok {
		b = new(buffers)
	}
	defer s.buffers.Put(b)
	b.request.Reset()
	if _, err := b.request.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := path[len(path)-1]
	switch {
	case r.URL.Path == CountPath:
		io.WriteString(w, strconv.FormatUint(s.Documents(), 10))
	case last == "_bulk":
		s.bulk(w, path[0], b)
	case r.URL.Path == "/":
		io.WriteString(w, `{"name":"hole","cluster_name":"hole","cluster_uuid":"hole","version":{"number":"7.17.29",`+
			`"build_flavor":"default","lucene_version":"8.11.3","minimum_wire_compatibility_version":"6.8.0",`+
			`"minimum_index_compatibility_version":"6.0.0-beta1"},"tagline":"You Know, for Search"}`)
	case last == "_search" || last == "scroll":
		io.WriteString(w, `{"_scroll_id":"hole","took":0,"timed_out":false,"succeeded":true,"num_freed":0,`+
			`"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"total":{"value":0,"relation":"eq"},"max_score":null,"hits":[]}}`)
	case last == "_mget":
		missing(w, path[0], b)
	case last == "_refresh":
		io.WriteString(w, `{"_shards":{"total":1,"successful":1,"failed":0}}`)
	// An index that takes no new fields, so that none are added to it.
	case r.Method == http.MethodGet && (len(path) == 1 || last == "_settings" || last == "_mapping"):
		fmt.Fprintf(w, `{%[1]q:{"aliases":{},"mappings":{"dynamic":"false"},"settings":{"index":{"uuid":"hole-%[1]s","provided_name":%[1]q,`+
			`"number_of_shards":"1","number_of_replicas":"0","gc_deletes":"15m","creation_date":"1700000000000","version":{"created":"7172999"}}}}}`, path[0])
	case r.Method == http.MethodPut && len(path) == 1:
		fmt.Fprintf(w, `{"acknowledged":true,"shards_acknowledged":true,"index":%q}`, path[0])
	default:
		fail(w, http.StatusNotFound, "the hole does not know "+r.Method+" "+r.URL.Path)
	}
}

// fail answers as Elasticsearch does when it refuses.
func fail(w http.ResponseWriter, status int, reason string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"type":"illegal_argument_exception","reason":%q},"status":%d}`, reason, status)
}

// bulk takes the items and answers each.
func (s *Server) bulk(w http.ResponseWriter, index string, b *buffers) {
	b.answer.Reset()
	out := append(b.answer.AvailableBuffer(), `{"took":0,"errors":false,"items":[`...)
	items := uint64(0)
	for rest := b.request.Bytes(); len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		rest = after
		action, fields := parseAction(line)
		result, status := "created", "201"
		switch action {
		case "delete":
			result, status = "deleted", "200"
		case "index", "create", "update":
			_, rest, _ = bytes.Cut(rest, []byte{'\n'})
		default:
			fail(w, http.StatusBadRequest, fmt.Sprintf("line %.80q is not an action", line))
			return
		}
		if items > 0 {
			out = append(out, ',')
		}
		items++
		out = append(out, `{"`...)
		out = append(out, action...)
		out = append(out, `":{"_index":"`...)
		out = append(out, index...)
		out = append(out, `","_type":"_doc","_id":`...)
		out = append(out, fields[0].Raw...)
		out = append(out, `,"_version":`...)
		out = append(out, fields[1].Raw...)
		out = append(out, `,"result":"`...)
		out = append(out, result...)
		out = append(out, `","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":`...)
		out = strconv.AppendUint(out, items, 10)
		out = append(out, `,"_primary_term":1,"status":`...)
		out = append(out, status...)
		out = append(out, `}}`...)
	}
	out = append(out, `]}`...)
	b.answer.Write(out)
	s.documents.Add(items)
	w.Header().Set("Content-Length", strconv.Itoa(b.answer.Len()))
	w.Write(b.answer.Bytes())
}

// parseAction returns the name of the action of a line such as {"index":{"_id":"1","version":7}}, with _id and version; ""
// when it is none.
func parseAction(line []byte) (name string, fields []gjson.Result) {
	if !gjson.ValidBytes(line) {
		return "", nil
	}
	gjson.ParseBytes(line).ForEach(func(key, value gjson.Result) bool {
		name, fields = key.Str, []gjson.Result{value.Get("_id"), value.Get("version")}
		return false
	})
	if fields == nil || fields[0].Type != gjson.String || fields[1].Type != gjson.Number {
		return "", nil
	}
	return name, fields
}

// missing answers an _mget of {"ids":[...]}: none is there.
func missing(w http.ResponseWriter, index string, b *buffers) {
	var docs []string
	for _, id := range gjson.GetBytes(b.request.Bytes(), "ids").Array() {
		docs = append(docs, fmt.Sprintf(`{"_index":%q,"_type":"_doc","_id":%s,"found":false}`, index, id.Raw))
	}
	fmt.Fprintf(w, `{"docs":[%s]}`, strings.Join(docs, ","))
}
