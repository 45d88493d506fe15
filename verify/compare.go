package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/tidwall/gjson"
)

// compare returns the first field, in the row's order, in which a document is not what the row renders, "" when there is none.
func compare(row, document []byte) (field, want, got string, err error) {
	if bytes.Equal(row, document) {
		return "", "", "", nil
	}
	if !gjson.ValidBytes(document) || !gjson.ParseBytes(document).IsObject() {
		return "", "", "", fmt.Errorf("its source is not a JSON object")
	}
	fields := make(map[string]string)
	gjson.ParseBytes(document).ForEach(func(name, value gjson.Result) bool {
		fields[name.Str] = value.Raw
		return true
	})
	gjson.ParseBytes(row).ForEach(func(name, value gjson.Result) bool {
		got = fields[name.Str]
		delete(fields, name.Str)
		if same(value.Raw, got) {
			return true
		}
		field, want = name.Str, value.Raw
		return false
	})
	if field != "" {
		return field, want, got, nil
	}
	for name, value := range fields {
		if field == "" || name < field {
			field, got = name, value
		}
	}
	if field == "" {
		return "", "", "", nil // written in another way
	}
	return field, "", got, nil
}

// same compares two JSON texts.
func same(a, b string) bool {
	if a == b {
		return true
	}
	if a == "" || b == "" {
		return false
	}
	x, err1 := decode(a)
	y, err2 := decode(b)
	return err1 == nil && err2 == nil && sameValue(x, y)
}

func decode(text string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func sameValue(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		return ok && sameNumber(x, y)
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !sameValue(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for name, value := range x {
			other, there := y[name]
			if !there || !sameValue(value, other) {
				return false
			}
		}
		return true
	}
	return a == b
}

func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	if strings.ContainsAny(string(a)+string(b), "eE") { // as a fraction it could be of any size
		x, err1 := a.Float64()
		y, err2 := b.Float64()
		return err1 == nil && err2 == nil && x == y
	}
	x, ok1 := new(big.Rat).SetString(string(a))
	y, ok2 := new(big.Rat).SetString(string(b))
	return ok1 && ok2 && x.Cmp(y) == 0
}
