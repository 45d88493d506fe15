package oracle

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"canalgo/integration/component"
	"canalgo/status"
)

func TestCompareRow(t *testing.T) {
	want := row{"id": "7", "bal": "3/2", "name": `"a\x00"`, "note": "null"}
	order := []string{"id", "bal", "name", "note"}
	for doc, field := range map[string]string{
		`{"id":7,"bal":1.50,"name":"a\u0000","note":null}`:          "",
		`{"id":8,"bal":1.5,"name":"a\u0000","note":null}`:           "id",
		`{"id":7,"bal":1.500000001,"name":"a\u0000","note":null}`:   "bal",
		`{"id":7,"bal":1.5,"name":"a","note":""}`:                   "name",
		`{"id":7,"bal":1.5,"name":"a\u0000","note":""}`:             "note",
		`{"id":7,"bal":1.5,"name":"a\u0000"}`:                       "note",
		`{"id":"7","bal":1.5,"name":"a\u0000","note":null}`:         "id",
		`{"id":7,"bal":1.5,"name":"a\u0000","note":null,"more":[]}`: "more",
	} {
		d, err := want.compare(component.Document{ID: "7", Source: json.RawMessage(doc)}, order)
		switch {
		case err != nil:
			t.Errorf("%s: %v", doc, err)
		case d == nil && field != "", d != nil && d.Field != field:
			t.Errorf("%s: %v, want the field %q", doc, d, field)
		}
	}
}

// reports answers one report after the other. The epoch of each is the log index at which the leader says so.
type reports []status.Duty

func (r *reports) Status(context.Context) (status.Report, error) {
	d := (*r)[0]
	*r = (*r)[1:]
	d.ID, d.Kind = "shop/acc", "stream"
	return status.Report{Leader: "n1", Nodes: []status.Node{{Name: "n1", Leads: true, Applied: d.Epoch}}, Duties: []status.Duty{d}}, nil
}

func TestSamplerSeesPositionsGoBack(t *testing.T) {
	for name, c := range map[string]struct {
		duties reports
		want   string
	}{
		"forward":                     {reports{{Version: "5.10", Position: "binlog.000009:900"}, {Version: "5.10", Position: "binlog.000010:4"}, {Version: "5.11", Position: "binlog.000010:50"}, {Version: "6.1", Position: "binlog.000001:4"}}, ""},
		"count":                       {reports{{Version: "5.10", Position: "binlog.000009:900"}, {Version: "5.9", Position: "binlog.000009:800"}}, "position binlog.000009:800 (5.9) at log index 0 after binlog.000009:900 (5.10) at 0"},
		"offset":                      {reports{{Version: "5.10", Position: "binlog.000009:900"}, {Version: "5.10", Position: "binlog.000009:800"}}, "800"},
		"epoch":                       {reports{{Version: "6.10", Position: "binlog.000009:900"}, {Version: "5.99", Position: "binlog.000009:999"}}, "5.99"},
		"from one that is behind":     {reports{{Version: "5.10", Position: "binlog.000009:900", Epoch: 7}, {Version: "5.9", Position: "binlog.000009:800", Epoch: 6}, {Version: "5.11", Position: "binlog.000009:950", Epoch: 8}}, ""},
		"had been further than it is": {reports{{Version: "5.10", Position: "binlog.000009:900", Epoch: 7}, {Version: "5.11", Position: "binlog.000009:950", Epoch: 6}}, "(5.10) at log index 7 after"},
		"file of 7 digits":            {reports{{Version: "5.10", Position: "binlog.1000000:4"}, {Version: "5.10", Position: "binlog.999999:900"}}, "999999"},
	} {
		s := &Sampler{Node: &c.duties, positions: map[string]reached{}}
		for range len(c.duties) {
			if err := s.lookAtPositions(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got := strings.Join(s.backward, "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSamplerSeesWhatIsNotAccountedFor(t *testing.T) {
	sums := func(a status.Account) status.Duty { return status.Duty{Counters: status.Counters{Read: 9, Account: a}} }
	s := &Sampler{Node: &reports{sums(status.Account{Changes: 9, Merged: 1, Applied: 2, Older: 1, SetAside: 2, Held: 3}), sums(status.Account{Changes: 9, Applied: 8})}}
	for want := range 2 {
		if err := s.lookAtPositions(t.Context()); err != nil || len(s.missing) != want {
			t.Errorf("%v: %q, want %d", err, s.missing, want)
		}
	}
}

func TestSettledNamesWhatIsBehind(t *testing.T) {
	load := &status.Load{Phase: "copying", Rows: 7}
	for _, c := range []struct {
		duties []status.Duty
		want   string
	}{
		{[]status.Duty{{ID: "a", Kind: "stream", Position: "b.000002:9"}}, ""},
		{[]status.Duty{{ID: "a", Kind: "stream", Position: "b.000002:8"}}, "a has come to b.000002:8"},
		{[]status.Duty{{ID: "a", Kind: "stream", Position: "b.000003:4"}, {ID: "l", Kind: "load", Load: load}}, "l is copying after 7 rows"},
		{nil, "no stream duty"},
	} {
		err := settled(status.Report{Duties: c.duties}, "b.000002:9")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.duties, err, c.want)
		}
	}
}
