package binlog

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// storedJSON is a value as MySQL stores it in the small format: its type, and what follows. Objects are map[string]any, arrays []any.
func storedJSON(v any) (kind byte, body []byte) {
	switch v := v.(type) {
	case int:
		return jsonInt16, binary.LittleEndian.AppendUint16(nil, uint16(v))
	case string:
		return jsonString, append([]byte{byte(len(v))}, v...)
	case []any:
		return jsonSmallArray, storedContainer(nil, v)
	case map[string]any:
		keys := slices.SortedFunc(maps.Keys(v), func(a, b string) int { return compareKeys([]byte(a), []byte(b)) })
		values := make([]any, len(keys))
		for i, key := range keys {
			values[i] = v[key]
		}
		return jsonSmallObject, storedContainer(keys, values)
	}
	return jsonLiteral, []byte{0}
}

func storedContainer(keys []string, values []any) []byte {
	header := 4 + 4*len(keys) + 3*len(values)
	var entries, tail []byte
	for _, key := range keys {
		entries = binary.LittleEndian.AppendUint16(entries, uint16(header+len(tail)))
		entries = binary.LittleEndian.AppendUint16(entries, uint16(len(key)))
		tail = append(tail, key...)
	}
	for _, v := range values {
		kind, body := storedJSON(v)
		entries = append(entries, kind)
		if kind == jsonInt16 || kind == jsonLiteral {
			entries = append(entries, body[0], append(body, 0)[1])
			continue
		}
		entries = binary.LittleEndian.AppendUint16(entries, uint16(header+len(tail)))
		tail = append(tail, body...)
	}
	out := binary.LittleEndian.AppendUint16(nil, uint16(len(values)))
	out = binary.LittleEndian.AppendUint16(out, uint16(header+len(tail)))
	return append(append(out, entries...), tail...)
}

func document(v any) []byte {
	kind, body := storedJSON(v)
	return append([]byte{kind}, body...)
}

// jsonChange is a change as the log has it; value nil is none.
func jsonChange(operation byte, path string, value any) []byte {
	out := append([]byte{operation, byte(len(path))}, path...)
	if operation == jsonRemove {
		return out
	}
	stored := document(value)
	return append(append(out, byte(len(stored))), stored...)
}

var partialDocument = map[string]any{"a": 1, "b": []any{1, "two", map[string]any{"x": 3}}, "key": "text", "an \"odd\" one": 5}

// Changes are made in their order; what they do not name is printed as before.
func TestChangedJSON(t *testing.T) {
	const before = `{"a": 1, "b": [1, "two", {"x": 3}], "key": "text", "an \"odd\" one": 5}`
	for _, test := range []struct {
		name    string
		changes [][]byte
		want    string
	}{
		{"none", nil, before},
		{"replaced", [][]byte{jsonChange(jsonReplace, "$.a", "longer than before")}, strings.Replace(before, `"a": 1`, `"a": "longer than before"`, 1)},
		{"in an array", [][]byte{jsonChange(jsonReplace, "$.b[1]", 7)}, strings.Replace(before, `"two"`, "7", 1)},
		{"from the end", [][]byte{jsonChange(jsonReplace, "$.b[last-1]", 7)}, strings.Replace(before, `"two"`, "7", 1)},
		{"deep", [][]byte{jsonChange(jsonInsert, "$.b[2].yy", []any{}), jsonChange(jsonInsert, "$.b[2].y", 1)}, strings.Replace(before, `{"x": 3}`, `{"x": 3, "y": 1, "yy": []}`, 1)},
		{"removed", [][]byte{jsonChange(jsonRemove, "$.b[0]", nil), jsonChange(jsonRemove, "$.a", nil)}, `{"b": ["two", {"x": 3}], "key": "text", "an \"odd\" one": 5}`},
		{"behind the end", [][]byte{jsonChange(jsonInsert, "$.b[9]", 4)}, strings.Replace(before, `{"x": 3}`, `{"x": 3}, 4`, 1)},
		{"into the middle", [][]byte{jsonChange(jsonInsert, "$.b[1]", 4)}, strings.Replace(before, `[1,`, `[1, 4,`, 1)},
		{"an odd name", [][]byte{jsonChange(jsonReplace, `$."an \"odd\" one"`, 6), jsonChange(jsonInsert, `$."b.c[1]"`, 2)}, `{"a": 1, "b": [1, "two", {"x": 3}], "key": "text", "b.c[1]": 2, "an \"odd\" one": 6}`},
		{"into what was put in", [][]byte{jsonChange(jsonReplace, "$.a", []any{}), jsonChange(jsonInsert, "$.a[0]", 8)}, strings.Replace(before, `"a": 1`, `"a": [8]`, 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := mysqlStyle.changed(document(partialDocument), slices.Concat(test.changes...))
			if err != nil || got != test.want {
				t.Errorf("got %v, %v, want %s", got, err, test.want)
			}
		})
	}
}

// A change that does not fit its document is never guessed at.
func TestChangedJSONRefuses(t *testing.T) {
	for name, changes := range map[string][]byte{
		"nothing to replace":       jsonChange(jsonReplace, "$.c", 1),
		"nothing to remove":        jsonChange(jsonRemove, "$.b[3]", nil),
		"nothing before the start": jsonChange(jsonReplace, "$.b[last-3]", 1),
		"there already":            jsonChange(jsonInsert, "$.a", 1),
		"a member of an array":     jsonChange(jsonInsert, "$.b.a", 1),
		"a cell of an object":      jsonChange(jsonInsert, "$[0]", 1),
		"below a number":           jsonChange(jsonReplace, "$.a.b", 1),
		"the whole document":       jsonChange(jsonReplace, "$", 1),
		"a wildcard":               jsonChange(jsonReplace, "$.*", 1),
		"no path":                  jsonChange(jsonReplace, "a", 1),
		"no such operation":        jsonChange(7, "$.a", 1),
		"cut":                      jsonChange(jsonReplace, "$.a", 1)[:5],
	} {
		if got, err := mysqlStyle.changed(document(partialDocument), changes); !errors.Is(err, errJSONDiff) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, err := mysqlStyle.changed(nil, jsonChange(jsonReplace, "$.a", 1)); !errors.Is(err, errJSONDiff) {
		t.Errorf("an empty document: %v", err)
	}
}

// FuzzChangedJSON makes any changes to any document: it ends in a text or an error, and does not outgrow what it was given.
func FuzzChangedJSON(f *testing.F) {
	f.Add(document(partialDocument), slices.Concat(jsonChange(jsonReplace, "$.b[last]", []any{1}), jsonChange(jsonInsert, `$."k"`, 2), jsonChange(jsonRemove, "$.a", nil)))
	f.Add(document([]any{1, []any{"a"}}), jsonChange(jsonInsert, "$[1][9]", map[string]any{"a": 1}))
	f.Fuzz(func(t *testing.T, document, changes []byte) {
		text, err := mysqlStyle.changed(document, changes)
		if limit := 2*maxJSONGrowth*(len(document)+len(changes)) + 4096; err == nil && len(text.(string)) > limit {
			t.Errorf("%d bytes of text", len(text.(string)))
		}
	})
}
