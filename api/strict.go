package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// decodeStrict reads exactly one JSON object without unknown keys and without one that stands there twice. The error says where it is
// wrong.
func decodeStrict(data []byte, body any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch err := decoder.Decode(body); {
	case errors.Is(err, io.EOF):
		return errors.New("the body is empty; want a JSON object")
	case errors.As(err, &syntax):
		return fmt.Errorf("byte %d: %s", syntax.Offset, syntax)
	case errors.As(err, &kind):
		return fmt.Errorf("byte %d: %s: want %s, got %s", kind.Offset, kind.Field, kind.Type, kind.Value)
	case err != nil:
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, end := decoder.Token(); end != io.EOF {
		return fmt.Errorf("byte %d: something follows the JSON object", decoder.InputOffset())
	}
	return unique(json.NewDecoder(bytes.NewReader(data)))
}

// unique reads one value, which is sound, and refuses an object with a key that stands there twice: which of them counts is a matter of
// taste.
func unique(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') && token != json.Delim('[') {
		return nil
	}
	seen := make(map[string]bool)
	for d.More() {
		if token == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if name := key.(string); seen[name] {
				return fmt.Errorf("byte %d: the key %q stands there twice", d.InputOffset(), name)
			} else {
				seen[name] = true
			}
		}
		if err := unique(d); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}
