package cluster_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"canalgo/cluster"
	"canalgo/event"
)

var (
	orders     = cluster.DutyID{Source: "shop", Mapping: "orders", Kind: cluster.Stream}
	ordersLoad = cluster.DutyID{Source: "shop", Mapping: "orders", Kind: cluster.Load}
	users      = cluster.DutyID{Source: "shop", Mapping: "users", Kind: cluster.Stream}
)

func shop(mappings ...string) cluster.Config {
	c := cluster.Config{
		Sources:  map[string]cluster.SourceConfig{"shop": {Spec: cluster.Spec{Settings: json.RawMessage(`{"host": "db<1>"}`)}}},
		Sinks:    map[string]cluster.SinkConfig{"es": {Type: "elasticsearch", Spec: cluster.Spec{Secrets: map[string][]byte{"password": {1, 2}}}}},
		Mappings: map[string]cluster.MappingConfig{},
	}
	for _, m := range mappings {
		c.Mappings[m] = cluster.MappingConfig{Source: "shop", Sink: "es"}
	}
	return c
}

// after applies commands that must not be refused.
func after(t *testing.T, s cluster.State, cmds ...cluster.Command) cluster.State {
	t.Helper()
	for _, cmd := range cmds {
		var err error
		if s, err = s.Apply(cmd); err != nil {
			t.Fatalf("%+v: %v", cmd, err)
		}
	}
	return s
}

func at(epoch uint32, count, offset uint64) event.Position {
	return event.Position{ServerUUID: "s1", Epoch: epoch, Count: event.FirstCount + count, File: "binlog.000001", Offset: offset}
}

func save(id cluster.DutyID, epoch cluster.Epoch, p event.Position) cluster.Command {
	return cluster.SavePositions{Saves: map[cluster.DutyID]cluster.Save{id: {Epoch: epoch, Position: p}}}
}

func assign(id cluster.DutyID, node string, epoch cluster.Epoch) cluster.Command {
	return cluster.Assign{Assignments: map[cluster.DutyID]cluster.Assignment{id: {Node: node, Epoch: epoch, ConfigVersion: 1}}}
}

// running is a shop with two mappings, whose epoch 100 began at offset 4 and whose streams are assigned.
func running(t *testing.T) cluster.State {
	return after(t, cluster.State{},
		cluster.SetConfig{Config: shop("orders", "users")},
		cluster.OpenEpoch{Source: "shop", AtLeast: 100, ServerUUID: "s1", Start: event.Position{File: "binlog.000001", Offset: 4}},
		assign(orders, "a", 1), assign(users, "a", 1))
}

func TestSetConfig(t *testing.T) {
	s := after(t, running(t),
		save(orders, 1, at(100, 5, 500)),
		cluster.StartLoad{Source: "shop", Mapping: "orders"},
		cluster.SetPaused{What: "mapping/orders", Paused: true},
		cluster.SetPaused{What: "sink/es", Paused: true},
		cluster.SetAside{Entries: []cluster.Quarantined{{Duty: orders, Index: "i", Document: "1"}, {Duty: users, Index: "i", Document: "2"}}},
		assign(orders, "b", 2))

	gone := after(t, s, cluster.SetConfig{Base: 1, Config: shop("users", "items")})
	if got, want := gone.Config.Version, uint64(2); got != want {
		t.Errorf("version %d, want %d", got, want)
	}
	if len(gone.Duties) != 2 || gone.Duties[users].Assignment.Node != "a" {
		t.Errorf("duties %+v, want users as before and items", gone.Duties)
	}
	if len(gone.Quarantine) != 1 || gone.Quarantine[2].Duty != users {
		t.Errorf("quarantine %+v, want that of users", gone.Quarantine)
	}
	if len(gone.Paused) != 1 || !gone.Paused["sink/es"] {
		t.Errorf("paused %v, want the sink alone", gone.Paused)
	}

	back := after(t, gone, cluster.SetConfig{Base: 2, Config: shop("orders")})
	if d := back.Duties[orders]; !d.Position.IsZero() || d.Assignment.Node != "" || d.Assignment.Epoch != 2 {
		t.Errorf("a mapping that came back has %+v, want a new duty above epoch 2", d)
	}

	kept := after(t, s, cluster.SetConfig{Base: 1, Config: shop("orders", "users", "items")})
	if !reflect.DeepEqual(kept.Duties[orders], s.Duties[orders]) || !reflect.DeepEqual(kept.Duties[ordersLoad], s.Duties[ordersLoad]) {
		t.Errorf("duties %+v of a mapping that stayed, before %+v", kept.Duties, s.Duties)
	}

	empty := after(t, s, cluster.SetConfig{Base: 1})
	if got, want := empty.Sources["shop"], (cluster.Source{Epoch: 100}); !reflect.DeepEqual(got, want) {
		t.Errorf("a source that is gone has %+v, want its epoch alone", got)
	}
}

// Only a duty one of whose sections has other bytes was changed by a configuration.
func TestConfigOfADuty(t *testing.T) {
	versions := func(s cluster.State) map[cluster.DutyID]uint64 {
		out := map[cluster.DutyID]uint64{}
		for id, d := range s.Duties {
			out[id] = d.Config
		}
		return out
	}
	for name, c := range map[string]struct {
		change func(*cluster.Config)
		want   map[cluster.DutyID]uint64
	}{
		"nothing": {func(*cluster.Config) {}, map[cluster.DutyID]uint64{orders: 1, users: 1}},
		"its mapping": {func(c *cluster.Config) {
			c.Mappings["orders"] = cluster.MappingConfig{Source: "shop", Sink: "es", Spec: cluster.Spec{Settings: json.RawMessage(`{"sql":"x"}`)}}
		}, map[cluster.DutyID]uint64{orders: 2, users: 1}},
		"that it is loaded": {func(c *cluster.Config) {
			c.Mappings["orders"] = cluster.MappingConfig{Source: "shop", Sink: "es", Load: "initial"}
		}, map[cluster.DutyID]uint64{orders: 1, users: 1}},
		"its sink":      {func(c *cluster.Config) { c.Sinks["es"] = cluster.SinkConfig{Type: "logger"} }, map[cluster.DutyID]uint64{orders: 2, users: 2}},
		"its source":    {func(c *cluster.Config) { c.Sources["shop"] = cluster.SourceConfig{} }, map[cluster.DutyID]uint64{orders: 2, users: 2}},
		"a new mapping": {func(c *cluster.Config) { c.Mappings["new"] = c.Mappings["users"] }, map[cluster.DutyID]uint64{orders: 1, users: 1, {Source: "shop", Mapping: "new", Kind: cluster.Stream}: 2}},
	} {
		next := shop("orders", "users")
		c.change(&next)
		if got := versions(after(t, running(t), cluster.SetConfig{Base: 1, Config: next})); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestConfigIsRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *cluster.Config)
		want   string
	}{
		{"capital", func(c *cluster.Config) { c.Sources["Shop"] = cluster.SourceConfig{} }, "source.Shop: a name may have"},
		{"empty name", func(c *cluster.Config) { c.Sinks[""] = cluster.SinkConfig{Type: "logger"} }, "sink.: a name may have"},
		{"slash", func(c *cluster.Config) { c.Mappings["a/b"] = c.Mappings["orders"] }, "mapping.a/b: a name may have"},
		{"no type", func(c *cluster.Config) { c.Sinks["x"] = cluster.SinkConfig{} }, "sink.x.type: missing"},
		{"no source", func(c *cluster.Config) { c.Mappings["x"] = cluster.MappingConfig{Source: "y", Sink: "es"} }, `mapping.x.source: there is no source "y"`},
		{"no sink", func(c *cluster.Config) { c.Mappings["x"] = cluster.MappingConfig{Source: "shop", Sink: "y"} }, `mapping.x.sink: there is no sink "y"`},
		{"load", func(c *cluster.Config) {
			c.Mappings["x"] = cluster.MappingConfig{Source: "shop", Sink: "es", Load: "always"}
		}, `mapping.x.load: must be "initial"`},
		{"settings", func(c *cluster.Config) {
			c.Sources["x"] = cluster.SourceConfig{Spec: cluster.Spec{Settings: []byte("{")}}
		}, "source.x: settings are not JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := shop("orders")
			test.change(&c)
			_, err := cluster.State{}.Apply(cluster.SetConfig{Config: c})
			if !errors.Is(err, cluster.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestOpenEpochAtAStart(t *testing.T) {
	s := after(t, running(t), save(orders, 1, at(100, 5, 500)),
		cluster.StartLoad{Source: "shop", Mapping: "orders"},
		cluster.OpenEpoch{Source: "shop", Was: 100, ServerUUID: "s2", Start: event.Position{GTIDs: "g:1-5"}})
	want := event.Position{ServerUUID: "s2", Epoch: 101, Count: event.FirstCount, GTIDs: "g:1-5"}
	for _, id := range []cluster.DutyID{orders, users} {
		if got := s.Duties[id].Position; got != want {
			t.Errorf("%s continues at %+v, want %+v", id, got, want)
		}
	}
	if got := s.Sources["shop"]; !reflect.DeepEqual(got, cluster.Source{Epoch: 101, ServerUUID: "s2", Start: want}) {
		t.Errorf("source %+v", got)
	}
	if got := *s.Duties[ordersLoad].Load; got.Runs != 2 || got.Phase != cluster.LoadCopying {
		t.Errorf("load %+v, want a second run", got)
	}
}

func TestOpenEpochKeepsPlaces(t *testing.T) {
	s := after(t, running(t), save(orders, 1, at(100, 5, 500)), save(users, 1, at(100, 9, 900)),
		cluster.StartLoad{Source: "shop", Mapping: "orders"},
		cluster.SaveLoad{Duty: ordersLoad, Load: cluster.LoadState{Phase: cluster.LoadDone, Runs: 1, Rows: 7}},
		cluster.OpenEpoch{Source: "shop", Was: 100, AtLeast: 300, ServerUUID: "s1"})
	if got, want := s.Duties[orders].Position, at(300, 0, 500); got != want {
		t.Errorf("orders at %+v, want %+v", got, want)
	}
	if got, want := s.Duties[users].Position, at(300, 4, 900); got != want {
		t.Errorf("users at %+v, want %+v", got, want)
	}
	if got, want := s.Sources["shop"].Start, at(300, 0, 500); got != want {
		t.Errorf("the epoch starts at %+v, want %+v", got, want)
	}
	if got := s.Duties[ordersLoad].Load; got.Runs != 1 || got.Rows != 7 {
		t.Errorf("load %+v, want the one that is done", got)
	}
}

// Positions that are not later than the saved one, or not of this assignment or epoch, leave it.
func TestSavePositions(t *testing.T) {
	s := after(t, running(t), save(orders, 1, at(100, 5, 500)))
	for _, test := range []struct {
		name  string
		cmd   cluster.Command
		saved bool
	}{
		{"later", save(orders, 1, at(100, 6, 600)), true},
		{"same count, further", save(orders, 1, at(100, 5, 501)), true},
		{"earlier", save(orders, 1, at(100, 4, 600)), false},
		{"same count, before", save(orders, 1, at(100, 5, 499)), false},
		{"earlier assignment", save(orders, 0, at(100, 6, 600)), false},
		{"later assignment", save(orders, 2, at(100, 6, 600)), false},
		{"earlier epoch", save(orders, 1, at(99, 6, 600)), false},
		{"later epoch", save(orders, 1, at(101, 6, 600)), false},
		{"count too large", save(orders, 1, event.Position{Epoch: 100, Count: event.MaxCount + 1}), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			next := after(t, s, test.cmd)
			if saved := next.Duties[orders].Position != s.Duties[orders].Position; saved != test.saved {
				t.Errorf("saved: %v, want %v", saved, test.saved)
			}
		})
	}
	both := after(t, s, cluster.SavePositions{Saves: map[cluster.DutyID]cluster.Save{
		orders: {Epoch: 1, Position: at(100, 1, 1)}, users: {Epoch: 1, Position: at(100, 8, 800)}}})
	if both.Duties[users].Position != at(100, 8, 800) || both.Duties[orders].Position != at(100, 5, 500) {
		t.Errorf("saved %+v, want users alone", both.Duties)
	}
}

func TestRefusals(t *testing.T) {
	s := after(t, running(t), cluster.StartLoad{Source: "shop", Mapping: "orders"})
	start := event.Position{File: "f", Offset: 4}
	for _, test := range []struct {
		name string
		cmd  cluster.Command
		want error
	}{
		{"nothing", nil, cluster.ErrInvalid},
		{"configuration of an older version", cluster.SetConfig{Base: 0}, cluster.ErrStale},
		{"configuration of a later version", cluster.SetConfig{Base: 2}, cluster.ErrStale},
		{"epoch of no source", cluster.OpenEpoch{Source: "x", ServerUUID: "s1", Start: start}, cluster.ErrUnknown},
		{"epoch after another", cluster.OpenEpoch{Source: "shop", Was: 99, ServerUUID: "s1", Start: start}, cluster.ErrStale},
		{"epoch without server", cluster.OpenEpoch{Source: "shop", Was: 100, Start: start}, cluster.ErrInvalid},
		{"epoch of another server without start", cluster.OpenEpoch{Source: "shop", Was: 100, ServerUUID: "s2"}, cluster.ErrStale},
		{"epoch at another server's file", cluster.OpenEpoch{Source: "shop", Was: 100, ServerUUID: "s2", Start: at(1, 0, 9)}, cluster.ErrInvalid},
		{"epoch too high", cluster.OpenEpoch{Source: "shop", Was: 100, AtLeast: event.MaxEpoch + 1, ServerUUID: "s1", Start: start}, cluster.ErrInvalid},
		{"pause of nothing", cluster.SetPaused{What: "source/x", Paused: true}, cluster.ErrUnknown},
		{"pause without kind", cluster.SetPaused{What: "shop", Paused: true}, cluster.ErrUnknown},
		{"load of no mapping", cluster.StartLoad{Source: "shop", Mapping: "x"}, cluster.ErrUnknown},
		{"load from another source", cluster.StartLoad{Source: "x", Mapping: "orders"}, cluster.ErrUnknown},
		{"progress of no load", cluster.SaveLoad{Duty: orders, Epoch: 1, Load: cluster.LoadState{Phase: cluster.LoadCopying}}, cluster.ErrUnknown},
		{"progress of another assignment", cluster.SaveLoad{Duty: ordersLoad, Epoch: 1, Load: cluster.LoadState{Phase: cluster.LoadCopying, Runs: 1}}, cluster.ErrStale},
		{"progress of another run", cluster.SaveLoad{Duty: ordersLoad, Load: cluster.LoadState{Phase: cluster.LoadCopying, Runs: 2}}, cluster.ErrStale},
		{"progress in no phase", cluster.SaveLoad{Duty: ordersLoad, Load: cluster.LoadState{Runs: 1}}, cluster.ErrInvalid},
		{"index of a load", cluster.SetIndex{Duty: ordersLoad, UUID: "u"}, cluster.ErrUnknown},
		{"index in another epoch", cluster.SetIndex{Duty: orders, Epoch: 2, UUID: "u"}, cluster.ErrStale},
		{"quarantine in another epoch", cluster.SetAside{Epoch: 2, Entries: []cluster.Quarantined{{Duty: orders}}}, cluster.ErrStale},
		{"node without a name", setNode("", "n1@1", "h:1"), cluster.ErrInvalid},
		{"node with a bad name", setNode("n 1", "n1@1", "h:1"), cluster.ErrInvalid},
		{"node with an @", setNode("n@1", "n1@1", "h:1"), cluster.ErrInvalid},
		{"node with a long name", setNode(strings.Repeat("n", 65), "n1@1", "h:1"), cluster.ErrInvalid},
		{"node without an id", setNode("n1", "", "h:1"), cluster.ErrInvalid},
		{"node without an address", setNode("n1", "n1@1", ""), cluster.ErrInvalid},
		{"removal of no node", cluster.RemoveNode{Name: "n1", ServerID: "n1@1"}, cluster.ErrUnknown},
		{"quarantine of a load", cluster.SetAside{Entries: []cluster.Quarantined{{Duty: orders}, {Duty: ordersLoad}}}, cluster.ErrUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			next, err := s.Apply(test.cmd)
			if !errors.Is(err, test.want) || !errors.Is(err, cluster.ErrRefused) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if next.Hash() != s.Hash() {
				t.Error("the state changed")
			}
		})
	}
}

func setNode(name, id, address string) cluster.Command {
	return cluster.SetNode{Name: name, Node: cluster.Node{ServerID: id, Address: address, Commands: 1}}
}

func TestNodes(t *testing.T) {
	long := strings.Repeat("N", 64)
	s := after(t, running(t), setNode("n1", "n1@1", "h:1"), setNode("A-b_c.9", "x@1", "h:2"), setNode(long, "y@1", "h:3"))
	if len(s.Nodes) != 3 || s.Nodes["n1"].Address != "h:1" {
		t.Errorf("nodes %+v", s.Nodes)
	}
	s = after(t, s, setNode("n1", "n1@2", "h:4"))
	if got := s.Nodes["n1"]; len(s.Nodes) != 3 || got.ServerID != "n1@2" || got.Address != "h:4" {
		t.Errorf("replaced by %+v", got)
	}
	next, err := s.Apply(cluster.RemoveNode{Name: "n1", ServerID: "n1@1"})
	if !errors.Is(err, cluster.ErrStale) || len(next.Nodes) != 3 {
		t.Errorf("removal of the former one: %v, nodes %+v", err, next.Nodes)
	}
	removed := after(t, s, cluster.RemoveNode{Name: "n1", ServerID: "n1@2"})
	if _, ok := removed.Nodes["n1"]; ok || len(removed.Nodes) != 2 || len(s.Nodes) != 3 {
		t.Errorf("nodes %+v, before %+v", removed.Nodes, s.Nodes)
	}
	if got := throughSnapshot(t, s).Nodes; !reflect.DeepEqual(got, s.Nodes) {
		t.Errorf("restored %+v, want %+v", got, s.Nodes)
	}
}

// What names its epoch is taken in that one.
func TestWorkersEpochs(t *testing.T) {
	s := after(t, running(t), assign(orders, "b", 2), cluster.SetIndex{Duty: orders, Epoch: 2, UUID: "u"},
		cluster.SetAside{Epoch: 2, Entries: []cluster.Quarantined{{Duty: orders, Index: "i", Document: "1"}}})
	if s.Duties[orders].Index != "u" || len(s.Quarantine) != 1 {
		t.Errorf("index %q, quarantine %+v", s.Duties[orders].Index, s.Quarantine)
	}
	// One entry of another duty's epoch refuses all.
	next, err := s.Apply(cluster.SetAside{Epoch: 2, Entries: []cluster.Quarantined{{Duty: orders, Index: "i", Document: "2"}, {Duty: users, Index: "i", Document: "3"}}})
	if !errors.Is(err, cluster.ErrStale) || len(next.Quarantine) != 1 {
		t.Errorf("got %v, quarantine %+v", err, next.Quarantine)
	}
}

func TestAssign(t *testing.T) {
	s := after(t, running(t), assign(orders, "b", 3), assign(orders, "b", 1))
	if got := s.Duties[orders].Assignment; got.Node != "a" || got.Epoch != 1 {
		t.Errorf("an epoch that does not follow was taken: %+v", got)
	}
	s = after(t, s, assign(orders, "b", 2))
	if got, want := s.Duties[orders].Assignment, (cluster.Assignment{Node: "b", Epoch: 2, ConfigVersion: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPauseAndLoad(t *testing.T) {
	s := after(t, running(t), cluster.SetPaused{What: "source/shop", Paused: true})
	if !s.Paused["source/shop"] {
		t.Error("not paused")
	}
	if s = after(t, s, cluster.SetPaused{What: "source/shop"}); len(s.Paused) != 0 {
		t.Errorf("paused %v after resume", s.Paused)
	}
	start := cluster.StartLoad{Source: "shop", Mapping: "orders"}
	s = after(t, s, start, assign(ordersLoad, "a", 1),
		cluster.SaveLoad{Duty: ordersLoad, Epoch: 1, Load: cluster.LoadState{Phase: cluster.LoadSweeping, Runs: 1, Rows: 9}})
	if got := s.Duties[ordersLoad].Load.Rows; got != 9 {
		t.Errorf("%d rows, want 9", got)
	}
	s = after(t, s, start)
	d := s.Duties[ordersLoad]
	if !reflect.DeepEqual(*d.Load, cluster.LoadState{Phase: cluster.LoadCopying, Runs: 2}) || d.Assignment.Node != "a" {
		t.Errorf("started again: %+v, %+v", *d.Load, d.Assignment)
	}
	start.Where = "n > 1"
	s = after(t, s, start, cluster.SaveLoad{Duty: ordersLoad, Epoch: 1, Load: cluster.LoadState{Phase: cluster.LoadCopying, Runs: 3, Rows: 4}})
	if got := *s.Duties[ordersLoad].Load; got.Where != "n > 1" || got.Rows != 4 {
		t.Errorf("a part: %+v", got)
	}
	s = after(t, s, cluster.OpenEpoch{Source: "shop", Was: 100, AtLeast: 200, ServerUUID: "s1", Start: event.Position{File: "f", Offset: 4}})
	if got := *s.Duties[ordersLoad].Load; !reflect.DeepEqual(got, cluster.LoadState{Phase: cluster.LoadCopying, Where: "n > 1", Runs: 4}) {
		t.Errorf("a part in a new epoch: %+v", got)
	}
	if one, all := cluster.CommandVersion(start), cluster.CommandVersion(cluster.StartLoad{}); one != 2 || all != 1 {
		t.Errorf("versions %d of a part and %d of all, want 2 and 1", one, all)
	}
	if s = after(t, s, cluster.SetIndex{Duty: orders, UUID: "u"}); s.Duties[orders].Index != "u" {
		t.Errorf("index %q, want u", s.Duties[orders].Index)
	}
}

func TestQuarantine(t *testing.T) {
	entry := func(document, reason string) cluster.Quarantined {
		return cluster.Quarantined{ID: 77, Duty: orders, Index: "i", Document: document, Reason: reason}
	}
	s := after(t, running(t),
		cluster.SetAside{Entries: []cluster.Quarantined{entry("a", "1"), entry("b", "1"), entry("a", "2")}},
		cluster.SetAside{Entries: []cluster.Quarantined{entry("b", "3"), entry("c", "1")}})
	reasons := func() string {
		var all []string
		for id := uint64(0); id < 9; id++ {
			if q, ok := s.Quarantine[id]; ok {
				all = append(all, q.Document+q.Reason)
				if q.ID != id {
					t.Errorf("entry %d says that it is %d", id, q.ID)
				}
			}
		}
		return strings.Join(all, " ")
	}
	if got, want := reasons(), "a2 b3 c1"; got != want {
		t.Errorf("quarantine %s, want %s", got, want)
	}
	s = after(t, s, cluster.Release{IDs: []uint64{1, 3, 99}}, cluster.SetAside{Entries: []cluster.Quarantined{entry("a", "4")}})
	if got, want := reasons(), "b3 a4"; got != want {
		t.Errorf("quarantine %s, want %s", got, want)
	}
	if _, ok := s.Quarantine[4]; !ok {
		t.Errorf("an id was used again: %+v", s.Quarantine)
	}
}
