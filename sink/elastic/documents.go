package elastic

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/elastic/go-elasticsearch/v7/esapi"
	"github.com/tidwall/gjson"

	"canalgo/event"
	"canalgo/mapping"
)

// getSize is how many documents a request of Documents asks for.
const getSize = 500

// Documents calls each for the document of every change, in order, as it is now; source is nil when there is none.
func (s *Sink) Documents(ctx context.Context, index string, of []mapping.Change, each func(i int, version event.Version, source []byte) error) error {
	i := 0
	for part := range slices.Chunk(of, getSize) {
		body := []byte(`{"docs":[`)
		for k := range part {
			if k > 0 {
				body = append(body, ',')
			}
			body = appendPlace(body, &part[k])
		}
		body = append(body, `]}`...)
		answer, err := s.do(ctx, esapi.MgetRequest{Index: index, Body: bytes.NewReader(body)})
		if err != nil {
			return err
		}
		docs := gjson.GetBytes(answer, "docs").Array()
		if len(docs) != len(part) {
			return fmt.Errorf("asked for %d documents of %s, got %d", len(part), index, len(docs))
		}
		for _, d := range docs {
			var source []byte
			if d.Get("found").Bool() && d.Get("_routing").String() == of[i].Routing {
				source = []byte(d.Get("_source").Raw)
			}
			if failure := d.Get("error"); failure.Exists() {
				return fmt.Errorf("document %s: %s", d.Get("_id").String(), reason(failure))
			}
			if err := each(i, event.Version(d.Get("_version").Uint()), source); err != nil {
				return err
			}
			i++
		}
	}
	return nil
}

// Count refreshes the index and returns how many documents a mapping has in it.
func (s *Sink) Count(ctx context.Context, own mapping.Own) (int, error) {
	if err := s.refresh(ctx, own.Index); err != nil {
		return 0, err
	}
	answer, err := s.search(ctx, esapi.CountRequest{Index: []string{own.Index}, Body: query(own)})
	if err != nil {
		return 0, err
	}
	return int(gjson.GetBytes(answer, "count").Int()), nil
}

// List refreshes the index and calls page with all documents that a mapping has in it, a page at a time; ID, Routing and Version are what
// counts.
func (s *Sink) List(ctx context.Context, own mapping.Own, page func([]mapping.Change) error) error {
	_, err := s.list(ctx, own, page, math.MaxInt64)
	return err
}
