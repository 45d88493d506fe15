package elastic

import (
	"context"
	"fmt"
	"strings"

	"github.com/elastic/go-elasticsearch/v7/esapi"
	"github.com/tidwall/gjson"

	"canalgo/event"
)

// Mappings returns the mappings of an index that exists, {"properties": {...}}. A closed one is an *event.StopError.
func (s *Sink) Mappings(ctx context.Context, index string) ([]byte, error) {
	body, err := s.do(ctx, esapi.CatIndicesRequest{Index: []string{index}, H: []string{"status"}, ExpandWildcards: "all"})
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", index, err)
	}
	if strings.TrimSpace(string(body)) == "close" {
		return nil, &event.StopError{Reason: fmt.Sprintf("index %s is closed", index), Fix: fmt.Sprintf("POST /%s/_open", index)}
	}
	if body, err = s.do(ctx, esapi.IndicesGetMappingRequest{Index: []string{index}}); err != nil {
		return nil, fmt.Errorf("index %s: %w", index, err)
	}
	var mappings string
	gjson.ParseBytes(body).ForEach(func(_, v gjson.Result) bool {
		mappings = v.Get("mappings").Raw
		return false
	})
	return []byte(mappings), nil
}
