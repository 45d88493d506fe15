package elastic

import (
	"bytes"
	"context"
	"encoding/json"
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

// Documents calls each for every id, in order, with the document as it is now; source is nil when there is none.
func (s *Sink) Documents(ctx context.Context, index string, ids []string, each func(i int, version event.Version, source []byte) error) error {
	i := 0
	for part := range slices.Chunk(ids, getSize) {
		body, err := json.Marshal(map[string]any{"ids": part})
		if err != nil {
			return err
		}
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
			if d.Get("found").Bool() {
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

// Count refreshes the index and returns how many documents it has.
func (s *Sink) Count(ctx context.Context, index string) (int, error) {
	if _, err := s.do(ctx, esapi.IndicesRefreshRequest{Index: []string{index}}); err != nil {
		return 0, fmt.Errorf("refresh: %w", err)
	}
	answer, err := s.do(ctx, esapi.CountRequest{Index: []string{index}})
	if err != nil {
		return 0, err
	}
	return int(gjson.GetBytes(answer, "count").Int()), nil
}

// List refreshes the index and calls page with all its documents, a page at a time; ID and Version are what counts.
func (s *Sink) List(ctx context.Context, index string, page func([]mapping.Change) error) error {
	_, err := s.list(ctx, index, page, math.MaxInt64)
	return err
}
