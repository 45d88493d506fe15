package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/elastic/go-elasticsearch/v7/esapi"
	"github.com/tidwall/gjson"

	"canalgo/event"
	"canalgo/mapping"
)

// AddFields gives an index those of the fields that it lacks, and returns their names. Of an index that nobody asked to change it adds
// only what Elasticsearch would make up from the first value: not beside "dynamic" other than true, nor beside dynamic templates; and what
// Elasticsearch refuses then is left to the documents. When it was asked, a refusal is an *event.StopError.
func (s *Sink) AddFields(ctx context.Context, index string, fields []mapping.Field, asked bool) (added []string, err error) {
	added, err = s.addFields(ctx, index, fields, asked)
	var status *statusError
	if !errors.As(err, &status) {
		return added, err
	}
	switch refused := status.status == http.StatusBadRequest || status.status == http.StatusForbidden; {
	case !refused:
		return nil, fmt.Errorf("fields of index %s: %w", index, err)
	case asked:
		return nil, &event.StopError{Reason: fmt.Sprintf("index %s does not take new fields: %s", index, status), Fix: "let it take them, or add them by PUT /" + index + "/_mapping"}
	}
	return nil, nil
}

func (s *Sink) addFields(ctx context.Context, index string, fields []mapping.Field, asked bool) ([]string, error) {
	body, err := s.do(ctx, esapi.IndicesGetMappingRequest{Index: []string{index}})
	if err != nil {
		return nil, err
	}
	var has gjson.Result
	gjson.ParseBytes(body).ForEach(func(_, v gjson.Result) bool {
		has = v.Get("mappings")
		return false
	})
	if dynamic := has.Get("dynamic"); !asked && (dynamic.Exists() && dynamic.String() != "true" || has.Get("dynamic_templates.0").Exists()) {
		return nil, nil
	}
	var missing []mapping.Field
	var names []string
	for _, f := range fields {
		if lacks(has, f.Name) {
			missing, names = append(missing, f), append(names, f.Name)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	_, err = s.do(ctx, esapi.IndicesPutMappingRequest{Index: []string{index}, Body: strings.NewReader(`{"properties":` + mapping.Properties(missing) + `}`)})
	return names, err
}

// lacks reports whether mappings have no field of a name. A field that an outer one swallows, an object that is not looked into for one, is
// there.
func lacks(mappings gjson.Result, name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		properties := mappings.Get("properties")
		if !properties.Exists() && mappings.Get("type").Exists() {
			return false
		}
		var found gjson.Result
		properties.ForEach(func(key, value gjson.Result) bool {
			if key.Str == part {
				found = value
			}
			return !found.Exists()
		})
		if !found.Exists() {
			return true
		}
		mappings = found
	}
	return false
}
