package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/event"
)

// A generator makes random commands about a few names, so that many of them are about something that exists, and looks
// at the state for some of its numbers, so that many are not outdated.
type generator struct{ *rand.Rand }

func pick[T any](g generator, all ...T) T { return all[g.IntN(len(all))] }

func (g generator) duty() cluster.DutyID {
	return cluster.DutyID{Source: pick(g, "shop", "crm"), Mapping: pick(g, "orders", "users", "items"), Kind: pick(g, cluster.Stream, cluster.Stream, cluster.Load)}
}

func (g generator) client() cluster.ClientID {
	return cluster.ClientID{Source: pick(g, "shop", "crm"), Number: pick[int16](g, 1001, -2)}
}

func (g generator) near(n uint64) uint64 {
	return n + pick[uint64](g, 0, 0, 0, 1, 1, 2) - pick[uint64](g, 0, 0, 0, min(n, 1))
}

// epoch returns mostly none, or the duty's present one.
func (g generator) epoch(s cluster.State, id cluster.DutyID) cluster.Epoch {
	return pick(g, 0, 0, s.Duties[id].Assignment.Epoch, cluster.Epoch(g.near(uint64(s.Duties[id].Assignment.Epoch))))
}

func (g generator) position(s cluster.State, source string) event.Position {
	p := s.Sources[source].Start
	p.Epoch = uint32(g.near(uint64(p.Epoch)))
	p.Count = event.FirstCount + g.Uint64N(100)
	p.Offset = g.Uint64N(10000)
	p.GTIDs = pick(g, "", "g:1-5", "g:1-9", "#0")
	p.Time = time.Unix(g.Int64N(1<<32), g.Int64N(1e9)).In(time.FixedZone("", 3600))
	return p
}

func (g generator) config() cluster.Config {
	c := cluster.Config{Sources: map[string]cluster.SourceConfig{}, Sinks: map[string]cluster.SinkConfig{"es": {Type: "logger"}}, Mappings: map[string]cluster.MappingConfig{}}
	for _, source := range []string{"shop", "crm"} {
		if g.IntN(8) > 0 {
			c.Sources[source] = cluster.SourceConfig{Spec: cluster.Spec{Settings: []byte(pick(g, "null", `{"a": "<&>"}`, "[1, 2]"))}}
		}
	}
	for _, mapping := range []string{"orders", "users", "items"} {
		if g.IntN(8) > 0 {
			c.Mappings[mapping] = cluster.MappingConfig{Source: pick(g, "shop", "shop", "crm"), Sink: "es", Load: pick(g, "", "initial")}
		}
	}
	return c
}

func (g generator) command(s cluster.State) cluster.Command {
	switch g.IntN(25) {
	case 18, 19:
		id := g.client()
		return cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{id: g.position(s, id.Source)}}
	case 20:
		if id := g.client(); g.IntN(4) > 0 {
			return cluster.SetClient{ID: id, Filter: pick(g, "", "a.b", "c.*")}
		}
		return cluster.RemoveClient{ID: g.client()}
	case 0:
		return cluster.SetConfig{Base: g.near(s.Config.Version), Config: g.config()}
	case 1, 2:
		source := pick(g, "shop", "crm")
		c := cluster.OpenEpoch{Source: source, Was: uint32(g.near(uint64(s.Sources[source].Epoch))), AtLeast: g.Uint32N(200), ServerUUID: pick(g, "s1", "s1", "s2"), Why: "test"}
		if g.IntN(2) == 0 {
			c.Start = event.Position{File: "binlog.000001", Offset: g.Uint64N(10000), GTIDs: pick(g, "", "g:1-5")}
		}
		return c
	case 3, 4:
		c := cluster.Assign{Assignments: map[cluster.DutyID]cluster.Assignment{}}
		for range g.IntN(4) {
			id := g.duty()
			c.Assignments[id] = cluster.Assignment{Node: pick(g, "a", "b", ""), Epoch: cluster.Epoch(g.near(uint64(s.Duties[id].Assignment.Epoch) + 1)), ConfigVersion: s.Config.Version}
		}
		return c
	case 5:
		return cluster.SetPaused{What: pick(g, "source/shop", "sink/es", "mapping/users", "mapping/nobody", ""), Paused: g.IntN(2) == 0}
	case 6:
		return cluster.StartLoad{Source: pick(g, "shop", "crm"), Mapping: pick(g, "orders", "users")}
	case 7, 8, 16:
		id := g.duty()
		id.Kind = cluster.Load
		c := cluster.SaveLoad{Duty: id, Epoch: cluster.Epoch(g.near(uint64(s.Duties[id].Assignment.Epoch)))}
		c.Load = cluster.LoadState{First: event.Version(g.Uint64()), LastKey: []string{"1", "'x\x00'"}, Rows: g.Uint64N(9), Phase: pick(g, cluster.LoadCopying, cluster.LoadSweeping, cluster.LoadDone, "")}
		if load := s.Duties[id].Load; load != nil {
			c.Load.Runs = g.near(load.Runs)
		}
		return c
	case 9:
		id := g.duty()
		return cluster.SetIndex{Duty: id, Epoch: g.epoch(s, id), UUID: pick(g, "", "u1", "u2")}
	case 10, 11:
		var c cluster.SetAside
		for range g.IntN(4) {
			id := g.duty()
			c.Epoch = g.epoch(s, id)
			c.Entries = append(c.Entries, cluster.Quarantined{Duty: id, Index: "i", Document: pick(g, "1", "2", "3"), Version: event.Version(g.Uint64()), Reason: fmt.Sprint(g.Uint32()), Position: g.position(s, id.Source)})
		}
		return c
	case 12:
		if g.IntN(2) == 0 {
			id := g.duty()
			return cluster.NoteColumns{Duty: id, Epoch: g.epoch(s, id), Columns: pick(g, nil, cluster.Columns{"s.t": {"a"}}, cluster.Columns{"s.t": {"a", "b"}, "s.u": {"c"}})}
		}
		return cluster.Release{IDs: []uint64{g.Uint64N(s.NextQuarantine + 1), g.Uint64()}}
	case 13, 14, 15:
		return g.fanout(s)
	}
	if g.IntN(6) == 0 {
		source := pick(g, "shop", "crm")
		c := cluster.NoteTables{Source: source, Epoch: s.Sources[source].Epoch}
		for range g.IntN(3) {
			d := event.Definition{From: event.NewVersion(c.Epoch, event.FirstCount+g.Uint64N(100)), Unknown: pick(g, "", "why")}
			d.Table.Name = event.TableName{Schema: "s", Name: pick(g, "t", "u", "")}
			c.Definitions = append(c.Definitions, d)
		}
		if g.IntN(4) == 0 {
			c.Forget = []event.TableName{{Schema: "s", Name: "t"}}
		}
		return c
	}
	if kind := g.IntN(5); kind < 2 {
		name := pick(g, "n1", "n2", "n3", "n1", "", "n 1")
		id := pick(g, name+"@1", name+"@2", "")
		if kind == 1 {
			return cluster.RemoveNode{Name: name, ServerID: pick(g, s.Nodes[name].ServerID, id)}
		}
		return cluster.SetNode{Name: name, Node: cluster.Node{ServerID: id, Address: pick(g, "h:1", "h:2", "h:1", ""), HTTP: pick(g, "", "h:8"), Version: "v", Commands: uint8(g.IntN(3))}}
	}
	c := cluster.SavePositions{Saves: map[cluster.DutyID]cluster.Save{}}
	for range g.IntN(5) {
		id := g.duty()
		c.Saves[id] = cluster.Save{Epoch: cluster.Epoch(g.near(uint64(s.Duties[id].Assignment.Epoch))), Position: g.position(s, id.Source)}
	}
	return c
}

// fanout puts or saves a fan-out, mostly one that is there.
func (g generator) fanout(s cluster.State) cluster.Command {
	id := g.duty()
	if g.IntN(5) > 0 {
		id.Kind = cluster.Stream
	}
	d := s.Duties[id]
	epoch := pick(g, d.Assignment.Epoch, d.Assignment.Epoch, cluster.Epoch(g.near(uint64(d.Assignment.Epoch))))
	key := pick(g, nil, []string{"1"}, []string{"'x\x00'", "2"})
	if len(d.Fanouts) == 0 || g.IntN(3) == 0 {
		return cluster.PutFanout{Duty: id, Epoch: epoch, Fan: cluster.Fan{Element: pick(g, "", "c", "d"), Columns: []string{"id"}, Links: [][]string{{fmt.Sprint(g.IntN(9))}, {"2"}}[g.IntN(2):]},
			Version: event.Version(g.Uint64N(50)), Since: time.Unix(g.Int64N(1<<32), 0).UTC()}
	}
	f := d.Fanouts[g.IntN(len(d.Fanouts))]
	return cluster.SaveFanout{Duty: id, Epoch: epoch, ID: f.ID, Second: f.Second != (g.IntN(8) == 0), At: f.Version + event.Version(g.Uint64N(3)) - min(f.Version, 1),
		Key: key, End: g.IntN(3) == 0, Done: g.Uint64N(9), Total: g.Uint64N(99)}
}

// throughBytes returns the command as another node gets it.
func throughBytes(t *testing.T, cmd cluster.Command) cluster.Command {
	t.Helper()
	data, err := cluster.Encode(cmd)
	if err != nil {
		t.Fatalf("encode %+v: %v", cmd, err)
	}
	decoded, err := cluster.Decode(data)
	if err != nil {
		t.Fatalf("decode %+v: %v", cmd, err)
	}
	again, err := cluster.Encode(decoded)
	if err != nil || string(again) != string(data) {
		t.Fatalf("%+v is %q, after decoding %q, %v", cmd, data, again, err)
	}
	return decoded
}

func TestHistories(t *testing.T) {
	accepted, refused := map[reflect.Type]int{}, map[reflect.Type]int{}
	for seed := range uint64(120) {
		g := generator{rand.New(rand.NewPCG(seed, 0))}
		var one, other cluster.State // the same commands, the other's through bytes
		for step := range 150 {
			cmd := g.command(one)
			hash := one.Hash()
			next, err := one.Apply(cmd)
			nextOther, errOther := other.Apply(throughBytes(t, cmd))
			if one.Hash() != hash {
				t.Fatalf("seed %d, step %d: %+v changed the state that it was applied to", seed, step, cmd)
			}
			if fmt.Sprint(err) != fmt.Sprint(errOther) {
				t.Fatalf("seed %d, step %d: %+v gives %v, after decoding %v", seed, step, cmd, err, errOther)
			}
			if err != nil && next.Hash() != hash {
				t.Fatalf("seed %d, step %d: %+v was refused and changed the state", seed, step, cmd)
			}
			if next.Hash() != nextOther.Hash() {
				t.Fatalf("seed %d, step %d: %+v gives two states", seed, step, cmd)
			}
			if err := neverBack(one, next); err != nil {
				t.Fatalf("seed %d, step %d: %+v: %v", seed, step, cmd, err)
			}
			if err == nil {
				accepted[reflect.TypeOf(cmd)]++
			} else {
				refused[reflect.TypeOf(cmd)]++
			}
			one, other = next, nextOther
			if step%50 == 49 {
				other = throughSnapshot(t, other)
			}
		}
	}
	for kind, n := range refused {
		if accepted[kind] < 20 {
			t.Errorf("%s: %d accepted, %d refused: the test says nothing about it", kind, accepted[kind], n)
		}
	}
}

// neverBack says what fell from one state to the next that must not.
func neverBack(before, after cluster.State) error {
	if after.Config.Version < before.Config.Version || after.NextQuarantine < before.NextQuarantine {
		return fmt.Errorf("configuration %d to %d, next quarantine %d to %d", before.Config.Version, after.Config.Version, before.NextQuarantine, after.NextQuarantine)
	}
	for name, b := range before.Sources {
		if a := after.Sources[name]; a.Epoch < b.Epoch {
			return fmt.Errorf("source %s: epoch %d to %d", name, b.Epoch, a.Epoch)
		}
	}
	highest := after.Retired
	for id, b := range before.Duties {
		a, ok := after.Duties[id]
		if !ok {
			if highest < b.Assignment.Epoch {
				return fmt.Errorf("duty %s: epoch %d is forgotten", id, b.Assignment.Epoch)
			}
			continue
		}
		if a.Assignment.Epoch < b.Assignment.Epoch {
			return fmt.Errorf("duty %s: epoch %d to %d", id, b.Assignment.Epoch, a.Assignment.Epoch)
		}
		if a.Position.Before(b.Position) {
			return fmt.Errorf("duty %s: position %+v to %+v", id, b.Position, a.Position)
		}
		if !a.Position.IsZero() && a.Position.Epoch != after.Sources[id.Source].Epoch {
			return fmt.Errorf("duty %s: position of epoch %d, source's is %d", id, a.Position.Epoch, after.Sources[id.Source].Epoch)
		}
		if b.Load != nil && a.Load.Runs < b.Load.Runs {
			return fmt.Errorf("duty %s: run %d to %d", id, b.Load.Runs, a.Load.Runs)
		}
	}
	for id, a := range after.Clients {
		switch b := before.Clients[id]; {
		case a.Position.Before(b.Position):
			return fmt.Errorf("client %s: position %+v to %+v", id, b.Position, a.Position)
		case !a.Position.IsZero() && a.Position.Epoch != after.Sources[id.Source].Epoch:
			return fmt.Errorf("client %s: position of epoch %d, source's is %d", id, a.Position.Epoch, after.Sources[id.Source].Epoch)
		}
	}
	return nil
}

func throughSnapshot(t *testing.T, s cluster.State) cluster.State {
	t.Helper()
	data, err := cluster.EncodeSnapshot(s)
	if err != nil {
		t.Fatal(err)
	}
	restored, err := cluster.DecodeSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := restored.Hash(), s.Hash(); got != want {
		t.Fatalf("restored %s, was %s", got, want)
	}
	return restored
}
