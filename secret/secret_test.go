package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"canalgo/secret"
)

const canary = "c4n4ry-hunter2"

func TestNeverPrinted(t *testing.T) {
	type inner struct {
		hidden secret.Value
		Shown  secret.Value
	}
	v := secret.New(canary)
	holder := inner{hidden: v, Shown: v}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%T"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", &v)
		fmt.Fprintf(&out, verb+"\n", holder)
		fmt.Fprintf(&out, verb+"\n", []secret.Value{v})
		fmt.Fprintf(&out, verb+"\n", map[string]any{"password": v})
	}
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	text, err := v.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	if s := out.String(); strings.Contains(s, canary) || strings.Contains(s, fmt.Sprintf("%x", canary)) {
		t.Errorf("the text is shown:\n%s", s)
	}
	if got := fmt.Sprintf("%v %s %q", v, v, v); got != `*** *** "***"` {
		t.Errorf("got %s", got)
	}
	if got := string(encoded); got != `{"Shown":"***"}` {
		t.Errorf("JSON: got %s", got)
	}
	if got := secret.New("").String(); got != "" {
		t.Errorf("empty text: got %q", got)
	}
	if v.Reveal() != canary {
		t.Errorf("Reveal: got %q", v.Reveal())
	}
}

func TestUnmarshalText(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "password")
	if err := os.WriteFile(path, []byte(canary+"\n\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CANALGO_TEST_SECRET", canary)
	cases := []struct{ text, want, wantErr string }{
		{"plain", "plain", ""},
		{"", "", ""},
		{"${CANALGO_TEST_SECRET}", canary, ""},
		{"x${CANALGO_TEST_SECRET}", "x${CANALGO_TEST_SECRET}", ""},
		{"${CANALGO_TEST_UNSET}", "", "environment variable CANALGO_TEST_UNSET is not set"},
		{"file:" + path, canary + "\n", ""},
		{"file:" + path + ".gone", "", path + ".gone: no such file"},
		{"file:" + folder, "", folder + " is a directory"},
	}
	for _, c := range cases {
		var v secret.Value
		err := v.UnmarshalText([]byte(c.text))
		if c.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%q: got error %v, want %q", c.text, err, c.wantErr)
			}
			continue
		}
		if err != nil || v.Reveal() != c.want {
			t.Errorf("%q: got %q, %v, want %q", c.text, v.Reveal(), err, c.want)
		}
	}
}

func TestUnmarshalJSON(t *testing.T) {
	var v secret.Value
	if err := json.Unmarshal([]byte(`"***"`), &v); err != nil {
		t.Fatal(err)
	}
	if !v.IsUnknown() || v.IsZero() || v.Reveal() != "" || v.String() != "***" {
		t.Errorf("the mask: got unknown %v, zero %v, text %q", v.IsUnknown(), v.IsZero(), v.Reveal())
	}
	if v.Equal(v) {
		t.Error("two unknown texts are said to be equal")
	}
	if err := json.Unmarshal([]byte(`"plain"`), &v); err != nil || v.Reveal() != "plain" || v.IsUnknown() {
		t.Errorf("a text: got %q, unknown %v, %v", v.Reveal(), v.IsUnknown(), err)
	}
	if err := json.Unmarshal([]byte(`{"`+canary+`":1}`), &v); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("an object: got error %v", err)
	}
	if !secret.New("a").Equal(secret.New("a")) || secret.New("a").Equal(secret.New("b")) {
		t.Error("Equal does not compare the texts")
	}
}

func TestSeal(t *testing.T) {
	key := []byte("a cluster's secret")
	one, err := secret.Seal(key, canary)
	if err != nil {
		t.Fatal(err)
	}
	two, err := secret.Seal(key, canary)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(one, two) {
		t.Error("the same bytes twice")
	}
	if bytes.Contains(one, []byte(canary)) {
		t.Error("the text stands in the sealed bytes")
	}
	if got, err := secret.Open(key, one); err != nil || got != canary {
		t.Errorf("got %q, %v", got, err)
	}
	for i := range one {
		damaged := bytes.Clone(one)
		damaged[i] ^= 1
		if got, err := secret.Open(key, damaged); err == nil {
			t.Errorf("byte %d changed: got %q and no error", i, got)
		}
	}
	for _, bad := range [][]byte{nil, {}, {1}, one[:20]} {
		if _, err := secret.Open(key, bad); err == nil {
			t.Errorf("%d bytes: no error", len(bad))
		}
	}
	if _, err := secret.Open([]byte("another secret"), one); err == nil {
		t.Error("another key: no error")
	}
	if _, err := secret.Seal(nil, canary); err == nil {
		t.Error("sealed without a key")
	}
}
