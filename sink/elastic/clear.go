package elastic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v7/esapi"
	"github.com/tidwall/gjson"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

// pageSize is how many ids a scroll returns at once, and how many deletes a request of Clear carries.
const pageSize = 5000

// Clear implements sink.Clearer. It lists the ids, because a search can not ask for versions, and deletes one by one.
func (s *Sink) Clear(ctx context.Context, own mapping.Own, before event.Version) (sink.Cleared, error) {
	deleted := 0
	highest, err := s.list(ctx, own, func(older []mapping.Change) error {
		for i := range older {
			older[i].Op, older[i].Version = mapping.Delete, before
		}
		err := s.Write(ctx, older)
		var partial *sink.PartialError
		if errors.As(err, &partial) && len(partial.Retry) == 0 && len(partial.Rejected) == 0 {
			deleted -= len(partial.Conflicts) // written anew meanwhile
			err = nil
		}
		deleted += len(older)
		return err
	}, before)
	out := sink.Cleared{Deleted: deleted, Highest: highest}
	if err != nil {
		return out, fmt.Errorf("clear %s: %w", own.Index, err)
	}
	return out, nil
}

// CountBefore returns how many documents Clear would delete.
func (s *Sink) CountBefore(ctx context.Context, own mapping.Own, before event.Version) (int, error) {
	n := 0
	_, err := s.list(ctx, own, func(older []mapping.Change) error {
		n += len(older)
		return nil
	}, before)
	return n, err
}

// query returns a request's body that asks for a mapping's documents of an index, nil for all.
func query(own mapping.Own) io.Reader {
	if own.Field == "" {
		return nil
	}
	b := append([]byte(`{"query":{"term":{`), appendJSONString(nil, own.Field)...)
	b = append(appendJSONString(append(b, `:{"value":`...), own.Value), `}}}}`...)
	return bytes.NewReader(b)
}

// list refreshes the index and calls page with a mapping's documents in it below a version, a page at a time. It returns the highest
// version of the others.
func (s *Sink) list(ctx context.Context, own mapping.Own, page func([]mapping.Change) error, before event.Version) (highest event.Version, err error) {
	if err := s.refresh(ctx, own.Index); err != nil {
		var status *statusError
		if errors.As(err, &status) && status.status == http.StatusNotFound {
			return 0, nil // no index, no documents
		}
		return 0, err
	}
	version, size, some := true, pageSize, false
	answer, err := s.search(ctx, esapi.SearchRequest{Index: []string{own.Index}, Body: query(own), Scroll: time.Minute, Size: &size, Version: &version,
		Sort: []string{"_doc"}, Source: []string{"false"}, AllowPartialSearchResults: &some})
	for {
		if err != nil {
			return highest, fmt.Errorf("list ids: %w", err)
		}
		scroll := gjson.GetBytes(answer, "_scroll_id").Str
		hits := gjson.GetBytes(answer, "hits.hits").Array()
		if len(hits) == 0 {
			_, err := s.do(ctx, esapi.ClearScrollRequest{Body: strings.NewReader(fmt.Sprintf(`{"scroll_id":%q}`, scroll))})
			if err != nil {
				return highest, fmt.Errorf("end scroll: %w", err)
			}
			return highest, nil
		}
		var older []mapping.Change
		for _, h := range hits {
			v := event.Version(h.Get("_version").Uint())
			if v >= before {
				highest = max(highest, v)
				continue
			}
			older = append(older, mapping.Change{Index: own.Index, ID: h.Get("_id").String(), Routing: h.Get("_routing").String(), Version: v})
		}
		if len(older) > 0 {
			if err := page(older); err != nil {
				return highest, err
			}
		}
		answer, err = s.search(ctx, esapi.ScrollRequest{Body: strings.NewReader(fmt.Sprintf(`{"scroll":"1m","scroll_id":%q}`, scroll))})
	}
}

// refresh makes what was written to an index visible to searches. Elasticsearch waits a minute for a shard that is away, and does not tell
// it as failed then: it is refreshed when it comes back, and a search without it fails.
func (s *Sink) refresh(ctx context.Context, index string) error {
	answer, err := s.do(ctx, esapi.IndicesRefreshRequest{Index: []string{index}})
	if err == nil && gjson.GetBytes(answer, "_shards.failed").Int() > 0 {
		err = partial(answer)
	}
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	return nil
}

// search returns the answer of all shards. Elasticsearch answers 200 with what some of them have: the documents of the others would be taken
// for none. The numbers are compared, too, for a shard that is away need not be told as failed.
func (s *Sink) search(ctx context.Context, r esapi.Request) ([]byte, error) {
	answer, err := s.do(ctx, r)
	if err != nil {
		return nil, err
	}
	of := gjson.GetBytes(answer, "_shards")
	if of.Get("failed").Int() > 0 || of.Get("successful").Int() < of.Get("total").Int() || gjson.GetBytes(answer, "timed_out").Bool() {
		return nil, partial(answer)
	}
	return answer, nil
}

// partial is the error of an answer that is not of all shards.
func partial(answer []byte) error {
	of := gjson.GetBytes(answer, "_shards")
	text := fmt.Sprintf("elasticsearch answered for %d of %d shards", of.Get("successful").Int(), of.Get("total").Int())
	if why := of.Get("failures.0.reason"); why.IsObject() {
		text += ": " + reason(why)
	}
	if gjson.GetBytes(answer, "timed_out").Bool() {
		text += ", in part: its time was up"
	}
	return errors.New(text)
}
