package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"canalgo/config"
)

// FuzzParse reads any file. What is wrong with it is said with its place; what is taken can be kept and read again.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../config.example.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	f.Add(good)
	f.Add("[source]\nshop = {addr = \"h\", user = 'u', tls.mode = 3}\n[mapping.a]\nsql = '''select\n'''\n")
	f.Add("[[source.a]]\n[sink.a]\ntype = \"logger\"\n[sink.\"a b\".c]\n[mapping.a]\nsink = [1, 2.0, 2024-01-01]\nskips = [[]]\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file:") || strings.Contains(text, "/dev") || strings.Contains(text, "/proc") {
			return // it could name a file that never ends
		}
		file, err := config.Parse("c.toml", []byte(text))
		if err != nil {
			var mistakes *config.Mistakes
			if !errors.As(err, &mistakes) || len(mistakes.List) == 0 {
				t.Fatalf("%T %v", err, err)
			}
			for _, m := range mistakes.List {
				if m.Text == "" || m.Line < 0 || m.Line > 1+strings.Count(text, "\n") {
					t.Errorf("mistake %+v of a file of %d lines", m, 1+strings.Count(text, "\n"))
				}
			}
			return
		}
		if err := file.Validate(); err != nil {
			t.Errorf("taken, but %v", err)
		}
		key := []byte("cluster secret")
		replicated, err := file.ToCluster(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.FromCluster(key, replicated); err != nil {
			t.Error(err)
		}
	})
}
