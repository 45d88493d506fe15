package cluster_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"canalgo/cluster"
	"canalgo/event"
)

var customers = event.TableName{Schema: "shop", Name: "customers"}

// defined is a definition of customers with one column, whose name tells it from others; "?" is one that nobody knows.
func defined(from event.Version, column string) event.Definition {
	d := event.Definition{From: from, Table: event.Table{Name: customers}}
	if column == "?" {
		d.Unknown = "nobody knows"
		return d
	}
	d.Table.Columns = []event.Column{{Name: column, Type: event.Int}}
	return d
}

// history prints the definitions of customers as "count:column".
func history(s cluster.State) string {
	var out []string
	last := ""
	for count := uint64(event.FirstCount); count < event.FirstCount+100; count++ {
		d, ok := s.Sources["shop"].Tables.At(customers, event.NewVersion(s.Sources["shop"].Epoch, count))
		name := "?"
		if len(d.Table.Columns) > 0 {
			name = d.Table.Columns[0].Name
		}
		if line := fmt.Sprintf("%d:%s", d.From.Count()-event.FirstCount, name); ok && line != last {
			out, last = append(out, line), line
		}
	}
	return strings.Join(out, " ")
}

func behind(s cluster.State, count uint64) event.Version {
	return event.NewVersion(s.Sources["shop"].Epoch, event.FirstCount+count)
}

// note notes definitions of customers in the present epoch.
func note(t *testing.T, s cluster.State, definitions ...event.Definition) cluster.State {
	t.Helper()
	return after(t, s, cluster.NoteTables{Source: "shop", Epoch: s.Sources["shop"].Epoch, Definitions: definitions})
}

func TestHistoryOfTables(t *testing.T) {
	s := running(t)
	s = note(t, s, defined(behind(s, 10), "a"))
	s = note(t, s, defined(behind(s, 20), "?"), defined(behind(s, 5), "z"))
	for _, step := range []struct {
		note event.Definition
		want string
	}{
		{defined(behind(s, 30), "c"), "5:z 10:a 20:? 30:c"},
		{defined(behind(s, 20), "b"), "5:z 10:a 20:b 30:c"}, // now it is known
		{defined(behind(s, 20), "?"), "5:z 10:a 20:b 30:c"}, // and stays so
	} {
		s = note(t, s, step.note)
		if got := history(s); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	if _, ok := s.Sources["shop"].Tables.At(customers, behind(s, 4)); ok {
		t.Error("a definition is known before the first one")
	}
	data, err := cluster.EncodeSnapshot(s)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := cluster.DecodeSnapshot(data); err != nil || !reflect.DeepEqual(back.Sources, s.Sources) {
		t.Errorf("a snapshot gives %+v back: %v", back.Sources, err)
	}
}

func TestHistoryIsCompacted(t *testing.T) {
	s := running(t)
	s = note(t, s, defined(behind(s, 10), "a"), defined(behind(s, 20), "b"), defined(behind(s, 30), "c"))
	for id, d := range s.Duties {
		if id.Source == "shop" && id.Kind == cluster.Stream {
			p := d.Position
			p.Count = event.FirstCount + 25
			s = after(t, s, cluster.SavePositions{Saves: map[cluster.DutyID]cluster.Save{id: {Epoch: d.Assignment.Epoch, Position: p}}})
		}
	}
	s = note(t, s, defined(behind(s, 40), "d"))
	if got, want := history(s), "20:b 30:c 40:d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s = after(t, s, cluster.OpenEpoch{Source: "shop", Was: s.Sources["shop"].Epoch, ServerUUID: s.Sources["shop"].ServerUUID})
	if got, want := history(s), "0:b 5:c 15:d"; got != want {
		t.Errorf("renumbered: got %q, want %q", got, want)
	}
	s = after(t, s, cluster.NoteTables{Source: "shop", Epoch: s.Sources["shop"].Epoch, Forget: []event.TableName{customers}})
	if got := s.Sources["shop"].Tables; got != nil {
		t.Errorf("forgotten, but %v", got)
	}
}

func TestHistoryOfAnotherEpochIsRefused(t *testing.T) {
	s := running(t)
	s = note(t, s, defined(behind(s, 10), "a"))
	epoch := s.Sources["shop"].Epoch
	for name, c := range map[string]struct {
		cmd  cluster.NoteTables
		want error
	}{
		"source":     {cluster.NoteTables{Source: "other", Epoch: epoch}, cluster.ErrUnknown},
		"epoch":      {cluster.NoteTables{Source: "shop", Epoch: epoch + 1}, cluster.ErrStale},
		"definition": {cluster.NoteTables{Source: "shop", Epoch: epoch, Definitions: []event.Definition{defined(event.NewVersion(epoch-1, 9), "a")}}, cluster.ErrInvalid},
		"no table":   {cluster.NoteTables{Source: "shop", Epoch: epoch, Definitions: []event.Definition{{From: behind(s, 1)}}}, cluster.ErrInvalid},
	} {
		if next, err := s.Apply(c.cmd); !errors.Is(err, c.want) || !reflect.DeepEqual(next, s) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Another place of the log: nothing that was known holds there.
	s = after(t, s, cluster.OpenEpoch{Source: "shop", Was: epoch, ServerUUID: "other", Start: event.Position{ServerUUID: "other", File: "binlog.000001", Offset: 4}})
	if got := s.Sources["shop"].Tables; got != nil {
		t.Errorf("a new start keeps %v", got)
	}
}
