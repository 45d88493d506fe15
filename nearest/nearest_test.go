package nearest_test

import (
	"testing"

	"canalgo/nearest"
)

func TestName(t *testing.T) {
	for _, c := range []struct {
		name       string
		candidates []string
		want       string
	}{
		{"usr", []string{"addr", "user", "password"}, "user"},
		{"USER", []string{"addr", "user"}, "user"},
		{"pasword", []string{"addr", "user", "password"}, "password"},
		{"sahrds", []string{"shards", "replicas"}, "shards"}, // two letters swapped
		{"größe", []string{"grosse", "größen"}, "größen"},
		{"x", []string{"password"}, ""},
		{"anything", nil, ""},
		{"ab", []string{"ac", "ab"}, "ab"},
	} {
		if got := nearest.Name(c.name, c.candidates); got != c.want {
			t.Errorf("Name(%q, %q) = %q, want %q", c.name, c.candidates, got, c.want)
		}
	}
}
