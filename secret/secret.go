// Package secret keeps passwords and keys out of everything that is printed, logged, encoded or shown.
//
// A Value hides its text from fmt, JSON and text encoders; only Reveal gives it away. Seal and Open turn a text into
// bytes that may be replicated and stored, and back, with a key that every node of a cluster has.
package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Mask is what stands for a text that is not shown.
const Mask = "***"

// maxFile bounds a secret's file, in bytes.
const maxFile = 64 << 10

// A Value is a text that is not to be seen. The zero Value is the empty text. Values are compared with Equal.
type Value struct {
	// A pointer, because fmt prints the content of unexported fields of other structs without asking for methods.
	text    *string
	unknown bool
}

// New returns a Value of a text that was not read from a file: no reference in it is resolved.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{text: &text}
}

// Reveal returns the text itself, "" when it is unknown.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// IsZero reports whether the text is known to be empty.
func (v Value) IsZero() bool { return v.text == nil && !v.unknown }

// IsUnknown reports whether the Value was decoded from the mask: there is a text, but it is kept elsewhere.
func (v Value) IsUnknown() bool { return v.unknown }

// Equal reports whether both are the same text. An unknown Value equals none.
func (v Value) Equal(o Value) bool {
	return !v.unknown && !o.unknown && v.Reveal() == o.Reveal()
}

// String returns the mask, or "" for the empty text.
func (v Value) String() string {
	if v.IsZero() {
		return ""
	}
	return Mask
}

// GoString returns what String returns, quoted.
func (v Value) GoString() string { return fmt.Sprintf("%q", v.String()) }

// Format prints the mask for every verb.
func (v Value) Format(s fmt.State, verb rune) {
	text := v.String()
	if verb == 'q' || verb == 'v' && s.Flag('#') {
		text = v.GoString()
	}
	_, _ = io.WriteString(s, text) // fmt has no place for the error
}

// MarshalText gives the mask, or nothing for the empty text.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// MarshalJSON gives the mask as a string, or "" for the empty text.
func (v Value) MarshalJSON() ([]byte, error) { return json.Marshal(v.String()) }

// UnmarshalJSON takes a string as it stands; the mask makes an unknown Value.
func (v *Value) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errors.New("a secret is a string") // the decoder's message could quote it
	}
	if text == Mask {
		*v = Value{unknown: true}
		return nil
	}
	*v = New(text)
	return nil
}

// UnmarshalText takes a text from a configuration file: "${NAME}" is the value of the environment variable NAME,
// "file:PATH" the content of the file without the newline at its end, anything else stands for itself. Errors name the variable or
// the path, never a content.
func (v *Value) UnmarshalText(data []byte) error {
	text := string(data)
	if name, ok := strings.CutPrefix(text, "${"); ok && strings.HasSuffix(name, "}") {
		name = strings.TrimSuffix(name, "}")
		value, ok := os.LookupEnv(name)
		if !ok {
			return fmt.Errorf("environment variable %s is not set", name)
		}
		*v = New(value)
		return nil
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		value, err := readFile(path)
		if err != nil {
			return err
		}
		*v = New(value)
		return nil
	}
	*v = New(text)
	return nil
}

func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	if info.IsDir() {
		return "", fmt.Errorf("secret file %s is a directory", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	if len(data) > maxFile {
		return "", fmt.Errorf("secret file %s is larger than %d bytes", path, maxFile)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}
