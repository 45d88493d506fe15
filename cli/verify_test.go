package cli_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"canalgo/api"
	"canalgo/cli"
	"canalgo/event"
	"canalgo/verify"
)

func TestVerify(t *testing.T) {
	version := event.NewVersion(3, event.FirstCount+7)
	different := verify.Result{Rows: 5, Documents: 5, Missing: 1, Extra: 1, Different: 1, Refused: 1, Differences: []verify.Difference{
		{Kind: verify.Missing, Document: "1", Key: "id=1"},
		{Kind: verify.Different, Document: "2", Key: "id=2", Version: version, Field: "name", Row: `"a"`, Doc: "\"b\x1b\""},
		{Kind: verify.Refused, Document: "3", Key: "id=3"},
		{Kind: verify.Extra, Document: "4", Version: version},
	}}
	moved := different
	moved.Moved = true
	summary := "shop/orders: of 5 rows and 5 documents: 1 missing, 1 extra, 1 different, 1 of which no document can be made\n"
	for _, c := range []struct {
		name   string
		result verify.Result
		err    error
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		{"equal", verify.Result{Rows: 7, Documents: 7, Moved: true}, nil, []string{"shop/orders"}, 0, []string{"shop/orders: 7 rows equal 7 documents\n"}, ""},
		{"different", different, nil, []string{"shop/orders"}, 1, []string{
			"missing    document 1: of row id=1\n", "different  document 2 (version 3.4294967303): field name, of row id=2\n",
			"refused    document 3: none can be made of row id=3; see canalgo quarantine ls\n", "extra      document 4 (version 3.4294967303): belongs to no row\n", summary}, ""},
		{"values", different, nil, []string{"shop/orders", "-values"}, 1, []string{`field name, of row id=2: has "b ", should have "a"` + "\n"}, ""},
		{"moved", moved, nil, []string{"shop/orders"}, 3, []string{summary}, "written to meanwhile"},
		{"failed", verify.Result{}, errors.New("the source is away"), []string{"shop/orders"}, 3, nil, "verify shop/orders: the source is away"},
		{"nothing", verify.Result{}, fmt.Errorf("mapping x: %w", api.ErrNotFound), []string{"shop/x"}, 3, nil, "mapping x: not found"},
		{"what", verify.Result{}, nil, []string{"orders"}, 2, nil, "write canalgo verify SOURCE/MAPPING"},
		{"wrong", verify.Result{}, nil, []string{"a#/"}, 2, nil, "want SOURCE/MAPPING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &node{verified: c.result, err: c.err}
			t.Setenv("CANALGO_HTTP", serve(t, n))
			code, stdout, stderr := call(t, cli.Program{}, append([]string{"verify"}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
				t.Errorf("code %d, stderr %q, want %d, %q", code, stderr, c.code, c.stderr)
			}
			for _, want := range c.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("stdout\n%s\nwant\n%s", stdout, want)
				}
			}
			if c.name == "different" && strings.Contains(stdout, `"a"`) {
				t.Errorf("values that nobody asked for: %s", stdout)
			}
		})
	}
}
