package elastic

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/elastic/go-elasticsearch/v7/esapi"
	"github.com/tidwall/gjson"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

// Write sends the changes as one _bulk request, as several when Elasticsearch finds it too large.
func (s *Sink) Write(ctx context.Context, changes []mapping.Change) error {
	todo, err := s.actions(ctx, changes)
	if err != nil {
		return err
	}
	answer, err := s.bulk(ctx, changes, todo)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusRequestEntityTooLarge {
		return s.writeHalves(ctx, changes, status)
	}
	if err != nil {
		return fmt.Errorf("bulk of %d into %s: %w", len(changes), changes[0].Index, err)
	}
	partial, err := judge(changes, todo, answer)
	if err != nil {
		return fmt.Errorf("bulk of %d into %s: %w", len(changes), changes[0].Index, err)
	}
	if partial == nil {
		return nil
	}
	if len(partial.Rejected) > 0 {
		if err := s.compareRejected(ctx, partial); err != nil {
			return err
		}
	}
	return partial
}

// writeHalves answers 413: each half for itself; a single change that is too large is refused for good.
func (s *Sink) writeHalves(ctx context.Context, changes []mapping.Change, tooLarge *statusError) error {
	if len(changes) == 1 {
		return &sink.PartialError{Rejected: []sink.Rejection{{Change: changes[0], Reason: fmt.Sprintf("document of %d bytes: %s", len(changes[0].Body), tooLarge)}}}
	}
	var both sink.PartialError
	for _, half := range [][]mapping.Change{changes[:len(changes)/2], changes[len(changes)/2:]} {
		err := s.Write(ctx, half)
		var partial *sink.PartialError
		switch {
		case errors.As(err, &partial):
			both.Rejected = append(both.Rejected, partial.Rejected...)
			both.Conflicts = append(both.Conflicts, partial.Conflicts...)
			both.Retry = append(both.Retry, partial.Retry...)
			both.Cause = errors.Join(both.Cause, partial.Cause)
		case err != nil:
			both.Retry = append(both.Retry, half...)
			both.Cause = errors.Join(both.Cause, err)
		}
	}
	if len(both.Rejected)+len(both.Conflicts)+len(both.Retry) == 0 {
		return nil
	}
	return &both
}

// An action is one item of a _bulk request: a change, or the delete of its document where that was before.
type action struct {
	change  int // which
	op      mapping.Op
	routing string
}

// actions returns what the changes are for Elasticsearch. What a document leaves is deleted where it is another document to Elasticsearch,
// which it is on another shard; on the same shard the write is in its place.
func (s *Sink) actions(ctx context.Context, changes []mapping.Change) ([]action, error) {
	todo := make([]action, 0, len(changes))
	var of *shards
	for i := range changes {
		c := &changes[i]
		for _, left := range c.Left {
			if of == nil {
				found, err := s.shardsOf(ctx, c.Index)
				if err != nil {
					return nil, err
				}
				of = &found
			}
			if of.of(left) != of.of(cmp.Or(c.Routing, c.ID)) {
				todo = append(todo, action{i, mapping.Delete, left})
			}
		}
		todo = append(todo, action{i, c.Op, c.Routing})
	}
	return todo, nil
}

// requests holds buffers for request bodies.
var requests = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *Sink) bulk(ctx context.Context, changes []mapping.Change, todo []action) ([]byte, error) {
	buf := requests.Get().(*bytes.Buffer)
	defer requests.Put(buf)
	buf.Reset()
	b := buf.AvailableBuffer()
	for _, a := range todo {
		b = appendAction(b, &changes[a.change], a)
	}
	buf.Write(b)
	return s.do(ctx, esapi.BulkRequest{Index: changes[0].Index, Body: bytes.NewReader(buf.Bytes())})
}

// appendAction appends the lines of the _bulk body for an action of a change.
func appendAction(b []byte, c *mapping.Change, a action) []byte {
	if a.op == mapping.Delete {
		b = append(b, `{"delete":{"_id":`...)
	} else {
		b = append(b, `{"index":{"_id":`...)
	}
	b = appendJSONString(b, c.ID)
	if a.routing != "" {
		b = append(b, `,"routing":`...)
		b = appendJSONString(b, a.routing)
	}
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, uint64(c.Version), 10)
	b = append(b, `,"version_type":"external_gte"}}`+"\n"...)
	if a.op != mapping.Delete {
		b = append(b, c.Body...)
		b = append(b, '\n')
	}
	return b
}

// appendJSONString appends valid UTF-8 text as a JSON string.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, `\u00`...)
			b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// judge looks at every item of a _bulk answer. nil means that all were written. An answer that does not match the request
// says nothing, and everything is to be sent again.
func judge(changes []mapping.Change, todo []action, answer []byte) (*sink.PartialError, error) {
	if !gjson.ValidBytes(answer) {
		return nil, fmt.Errorf("answer is not JSON: %s", summary(answer))
	}
	items := gjson.GetBytes(answer, "items")
	var partial sink.PartialError
	var bad error
	i := 0
	items.ForEach(func(_, item gjson.Result) bool {
		if i >= len(todo) {
			bad = fmt.Errorf("answer has more than the %d items sent", len(todo))
			return false
		}
		c := changes[todo[i].change]
		var id, status, failure gjson.Result
		item.ForEach(func(_, op gjson.Result) bool {
			op.ForEach(func(key, value gjson.Result) bool {
				switch key.Str {
				case "_id":
					id = value
				case "status":
					status = value
				case "error":
					failure = value
				}
				return true
			})
			return false
		})
		if id.Str != c.ID {
			bad = fmt.Errorf("answer's item %d is about document %q, not %q", i, id.Str, c.ID)
			return false
		}
		sort(&partial, c, todo[i].op, int(status.Num), failure)
		i++
		return true
	})
	if bad == nil && i < len(todo) {
		bad = fmt.Errorf("answer has %d items for %d", i, len(todo))
	}
	if bad != nil {
		return nil, bad
	}
	if len(partial.Rejected)+len(partial.Conflicts)+len(partial.Retry) == 0 {
		return nil, nil
	}
	if len(todo) > len(changes) {
		once(&partial)
	}
	return &partial, nil
}

// once leaves each change in one place: sent again when any of its actions is worth that, else refused when one was.
func once(p *sink.PartialError) {
	seen := make(map[string]bool)
	told := func(c mapping.Change) bool {
		again := seen[c.ID]
		seen[c.ID] = true
		return again
	}
	p.Retry = slices.DeleteFunc(p.Retry, told)
	p.Rejected = slices.DeleteFunc(p.Rejected, func(r sink.Rejection) bool { return told(r.Change) })
	p.Conflicts = slices.DeleteFunc(p.Conflicts, func(c sink.Conflict) bool { return told(c.Change) })
}

// sort puts one item's answer where it belongs.
func sort(p *sink.PartialError, c mapping.Change, op mapping.Op, status int, failure gjson.Result) {
	switch {
	case status >= 200 && status < 300 && !failure.Exists():
	case status == http.StatusNotFound && op == mapping.Delete && !failure.Exists():
		// nothing there to delete: the tombstone is set all the same
	case status == http.StatusConflict:
		if has, ok := currentVersion(failure.Get("reason").Str); ok {
			p.Conflicts = append(p.Conflicts, sink.Conflict{Change: c, Has: has})
			return
		}
		p.Rejected = append(p.Rejected, sink.Rejection{Change: c, Reason: reason(failure)})
	case failure.Get("type").Str == "index_closed_exception": // 400, but not the document's fault
		p.Retry = append(p.Retry, c)
		p.Cause = fmt.Errorf("elasticsearch answered %d: index %s is closed; POST /%[2]s/_open", status, c.Index)
	case noWriteIndex(failure): // as above
		p.Retry = append(p.Retry, c)
		p.Cause = fmt.Errorf("elasticsearch answered %d: %s is an alias of several indices without a write index, or of one with is_write_index false; let it name one index", status, c.Index)
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge:
		p.Rejected = append(p.Rejected, sink.Rejection{Change: c, Reason: reason(failure)})
	default: // 429, 503, a block on the index, an index that is gone: worth a retry, or for a person to see
		p.Retry = append(p.Retry, c)
		p.Cause = fmt.Errorf("elasticsearch answered %d for document %s: %s", status, c.ID, reason(failure))
	}
}

// noWriteIndex reports whether Elasticsearch did not know into which index of an alias a document goes. Only the text says that.
func noWriteIndex(failure gjson.Result) bool {
	return failure.Get("type").Str == "illegal_argument_exception" && strings.HasPrefix(failure.Get("reason").Str, "no write index is defined for alias")
}

// currentVersion reads the document's version from the reason of a version conflict.
func currentVersion(reason string) (event.Version, bool) {
	_, rest, found := strings.Cut(reason, "current version [")
	digits, _, closed := strings.Cut(rest, "]")
	v, err := strconv.ParseUint(digits, 10, 63)
	return event.Version(v), found && closed && err == nil
}

// appendPlace appends where a change's document is, for _mget.
func appendPlace(b []byte, c *mapping.Change) []byte {
	b = appendJSONString(append(b, `{"_id":`...), c.ID)
	if c.Routing != "" {
		b = appendJSONString(append(b, `,"routing":`...), c.Routing)
	}
	return append(b, '}')
}

// compareRejected turns refusals of what is older than the document that is there into conflicts: Elasticsearch looks
// at the content before the version, and a straggler's content does not matter.
func (s *Sink) compareRejected(ctx context.Context, p *sink.PartialError) error {
	body := []byte(`{"docs":[`)
	for i, r := range p.Rejected {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendPlace(body, &r.Change)
	}
	body = append(body, `]}`...)
	answer, err := s.do(ctx, esapi.MgetRequest{Index: p.Rejected[0].Change.Index, Body: bytes.NewReader(body), Source: []string{"false"}})
	if err != nil {
		return fmt.Errorf("versions of refused documents: %w", err)
	}
	has := make(map[string]event.Version)
	gjson.GetBytes(answer, "docs").ForEach(func(_, d gjson.Result) bool {
		if d.Get("found").Bool() {
			has[d.Get("_id").Str] = event.Version(d.Get("_version").Uint())
		}
		return true
	})
	kept := p.Rejected[:0]
	for _, r := range p.Rejected {
		if v := has[r.Change.ID]; v > r.Change.Version {
			p.Conflicts = append(p.Conflicts, sink.Conflict{Change: r.Change, Has: v})
			continue
		}
		kept = append(kept, r)
	}
	p.Rejected = kept
	return nil
}
