package node

import (
	"testing"

	"canalgo/event"
)

func TestFeedTellsDefinitions(t *testing.T) {
	a, b := event.TableName{Schema: "s", Name: "a"}, event.TableName{Schema: "s", Name: "b"}
	defined := func(from event.Version, table event.TableName, column string) event.Definition {
		return event.Definition{From: from, Table: event.Table{Name: table, Columns: []event.Column{{Name: column}}}}
	}
	history := []event.Definition{defined(1, a, "old"), defined(5, a, "new"), {From: 2, Table: event.Table{Name: b}, Unknown: "lost"}}
	at := func(table event.TableName, v event.Version) (found event.Definition, ok bool) {
		for _, d := range history {
			if d.Table.Name == table && d.From <= v {
				found, ok = d, true
			}
		}
		return found, ok
	}
	batch := func(v event.Version) []event.Event {
		return []event.Event{{Kind: event.FormatDescription}, {Kind: event.Defined, Table: b}, {Kind: event.TableMap, Table: b},
			{Kind: event.Defined, Table: a}, {Kind: event.TableMap, Table: a}, {Kind: event.Rows, Table: a, Version: v}}
	}
	feed := make(told)
	for v, want := range map[event.Version]string{3: "old", 6: "new"} {
		shared := batch(v)
		events, err := feed.fill(shared, at)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) != 5 { // of b nothing is left but its table map
			t.Fatalf("%d events", len(events))
		}
		d, err := event.DecodeDefinition(events[2].Raw)
		if err != nil || d.Table.Columns[0].Name != want {
			t.Errorf("rows of %s come with %+v, %v, want %s", v, d, err, want)
		}
		if shared[3].Raw != nil {
			t.Error("the batch that all feeds share was changed")
		}
	}
	history[1].Table.Columns = []event.Column{{Name: "better"}} // the server was asked again
	events, err := feed.fill(batch(6), at)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := event.DecodeDefinition(events[2].Raw); err != nil || d.Table.Columns[0].Name != "better" {
		t.Errorf("what became known since is %+v, %v", d, err)
	}
	history = nil
	if events, err = feed.fill(batch(6), at); err != nil {
		t.Fatal(err)
	}
	if d, err := event.DecodeDefinition(events[2].Raw); err != nil || d.Unknown == "" {
		t.Errorf("without a history: %+v, %v", d, err)
	}
	named := []event.Event{{Kind: event.TableMap, Table: a}, {Kind: event.Rows, Table: a, Version: 3}}
	if events, err = feed.fill(named, at); err != nil || &events[0] != &named[0] {
		t.Error("a batch whose rows have names was copied")
	}
}
