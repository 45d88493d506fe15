package elastic_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// AddFields adds what the index lacks, and leaves alone an index whose owner has said what becomes of other fields, unless it is asked.
func TestAddFields(t *testing.T) {
	fields := []mapping.Field{{Name: "id", Type: `{"type":"long"}`}, {Name: "owner.name", Type: `{"type":"text"}`}, {Name: "owner.city", Type: `{"type":"keyword"}`}, {Name: "tag.x", Type: `{"type":"byte"}`}}
	const has = `"properties":{"id":{"type":"keyword"},"owner":{"properties":{"city":{"type":"text"}}},"tag":{"type":"flattened"}}`
	const put = `{"properties":{"owner":{"properties":{"name":{"type":"text"}}}}}`
	const refusal = `{"error":{"type":"illegal_argument_exception","reason":"Limit of total fields [1000] has been exceeded"}}`
	for _, test := range []struct {
		name, mappings string
		asked          bool
		status         int
		put            string
		added          []string
		stops          bool
	}{
		{"missing", has, false, 200, put, []string{"owner.name"}, false},
		{"empty", "", false, 200, `{"properties":{"id":{"type":"long"},"owner":{"properties":{"city":{"type":"keyword"},"name":{"type":"text"}}},"tag":{"properties":{"x":{"type":"byte"}}}}}`, []string{"id", "owner.name", "owner.city", "tag.x"}, false},
		{"dynamic", `"dynamic":"true",` + has, false, 200, put, []string{"owner.name"}, false},
		{"strict", `"dynamic":"strict",` + has, false, 200, "", nil, false},
		{"templates", `"dynamic_templates":[{"a":{}}],` + has, false, 200, "", nil, false},
		{"strict, asked", `"dynamic":"strict",` + has, true, 200, put, []string{"owner.name"}, false},
		{"all there", strings.Replace(has, `"city"`, `"name":{"type":"text"},"city"`, 1), true, 200, "", nil, false},
		{"refused", has, false, 400, put, nil, false},
		{"refused, asked", has, true, 400, put, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got string
			s := serve(t, map[string]http.HandlerFunc{"/_mapping": func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					fmt.Fprintf(w, `{"i":{"mappings":{%s}}}`, test.mappings)
					return
				}
				body, _ := io.ReadAll(r.Body)
				got = string(body)
				w.WriteHeader(test.status)
				if test.status != 200 {
					fmt.Fprint(w, refusal)
					return
				}
				fmt.Fprint(w, `{"acknowledged":true}`)
			}})
			added, err := s.AddFields(t.Context(), "i", fields, test.asked)
			var stop *event.StopError
			if errors.As(err, &stop) != test.stops || err != nil && !test.stops {
				t.Errorf("error %v", err)
			}
			if test.stops && !strings.Contains(stop.Reason, "Limit of total fields") {
				t.Errorf("stops by %q", stop.Reason)
			}
			if got != test.put || !slices.Equal(added, test.added) {
				t.Errorf("sent %s, added %v, want %s, %v", got, added, test.put, test.added)
			}
		})
	}
}
