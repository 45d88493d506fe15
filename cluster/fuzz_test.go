package cluster_test

import (
	"bytes"
	"errors"
	"testing"

	"canalgo/cluster"
	"canalgo/event"
)

// betweenCommands stands between the commands of a fuzzed history; JSON never has it.
const betweenCommands = "\xff"

// FuzzCommands applies any history twice, the second time to a state that has been through a snapshot before each command. Both
// must come to the same, and what is refused must leave no trace.
func FuzzCommands(f *testing.F) {
	history := []cluster.Command{
		cluster.SetConfig{Config: shop("orders")},
		cluster.OpenEpoch{Source: "shop", ServerUUID: "s1", Start: event.Position{File: "f", Offset: 4}},
		assign(orders, "a", 1), save(orders, 1, at(1, 2, 3)), cluster.SetPaused{What: "sink/es", Paused: true},
		cluster.StartLoad{Source: "shop", Mapping: "orders"},
		cluster.StartLoad{Source: "shop", Mapping: "orders", Where: "n > 1"},
		cluster.SaveLoad{Duty: ordersLoad, Load: cluster.LoadState{Phase: cluster.LoadDone, Runs: 1}},
		cluster.SetIndex{Duty: orders, UUID: "u"}, cluster.SetAside{Entries: []cluster.Quarantined{{Duty: orders}}},
		cluster.Release{IDs: []uint64{1}}, setNode("n1", "n1@1", "h:1"), cluster.RemoveNode{Name: "n1", ServerID: "n1@1"},
		cluster.PutFanout{Duty: orders, Epoch: 1, Fan: cluster.Fan{Element: "c", Columns: []string{"id"}, Links: [][]string{{"7"}}}, Version: 9},
		cluster.SaveFanout{Duty: orders, Epoch: 1, ID: 1, At: 9, Key: []string{"5"}, Done: 4, End: true},
		cluster.NoteColumns{Duty: orders, Epoch: 1, Columns: cluster.Columns{"s.t": {"a"}}},
		cluster.NoteTables{Source: "shop", Epoch: 1, Definitions: []event.Definition{{From: event.NewVersion(1, 2), Table: event.Table{Name: event.TableName{Schema: "s", Name: "t"}}}}},
		cluster.SetClient{ID: reader, Filter: "shop.*"}, cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{reader: at(1, 2, 3)}}, cluster.RemoveClient{ID: reader},
	}
	var all [][]byte
	for _, cmd := range history {
		data, err := cluster.Encode(cmd)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, data[:len(data)-4]) // without the checksum
		f.Add(all[len(all)-1])
	}
	f.Add(bytes.Join(all, []byte(betweenCommands)))
	f.Fuzz(func(t *testing.T, bodies []byte) {
		var one, other cluster.State
		for i, body := range bytes.SplitN(bodies, []byte(betweenCommands), 20) {
			cmd, err := cluster.Decode(sealed(string(body)))
			if err != nil {
				if !errors.Is(err, cluster.ErrMalformed) && !errors.Is(err, cluster.ErrNewerVersion) {
					t.Errorf("refused by %v", err)
				}
				continue
			}
			before := one.Hash()
			next, err := one.Apply(cmd)
			nextOther, errOther := throughSnapshot(t, other).Apply(cmd)
			switch {
			case (err == nil) != (errOther == nil) || err != nil && err.Error() != errOther.Error():
				t.Fatalf("command %d, %+v: %v, and after a snapshot %v", i, cmd, err, errOther)
			case err != nil && !errors.Is(err, cluster.ErrRefused):
				t.Fatalf("command %d, %+v: %v", i, cmd, err)
			case err != nil && next.Hash() != before, one.Hash() != before:
				t.Fatalf("command %d, %+v: %v, and the state it was applied to is another", i, cmd, err)
			case next.Hash() != nextOther.Hash():
				t.Fatalf("command %d, %+v: two states", i, cmd)
			}
			if err := neverBack(one, next); err != nil {
				t.Fatalf("command %d, %+v: %v", i, cmd, err)
			}
			one, other = next, nextOther
		}
	})
}

// FuzzSnapshot restores anything, and applies a command to what it gave.
func FuzzSnapshot(f *testing.F) {
	state, err := cluster.State{}.Apply(cluster.SetConfig{Config: shop("orders")})
	if err != nil {
		f.Fatal(err)
	}
	for _, cmd := range []cluster.Command{assign(orders, "a", 1), save(orders, 1, at(0, 2, 3)), setNode("n1", "n1@1", "h:1")} {
		if next, err := state.Apply(cmd); err == nil {
			state = next
		}
	}
	data, err := cluster.EncodeSnapshot(state)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:len(data)-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := cluster.DecodeSnapshot(sealed(string(body)))
		if err != nil {
			if !errors.Is(err, cluster.ErrMalformed) && !errors.Is(err, cluster.ErrNewerVersion) {
				t.Errorf("refused by %v", err)
			}
			return
		}
		throughSnapshot(t, s)
		for _, cmd := range []cluster.Command{
			cluster.SetConfig{Base: s.Config.Version, Config: shop("orders")}, assign(orders, "b", s.Duties[orders].Assignment.Epoch+1),
			cluster.SetAside{Entries: []cluster.Quarantined{{Duty: orders}}}, setNode("n1", "n1@2", "h:2"), cluster.RemoveNode{Name: "n1", ServerID: "n1@1"},
		} {
			next, err := s.Apply(cmd)
			if err != nil && !errors.Is(err, cluster.ErrRefused) {
				t.Errorf("apply %+v: %v", cmd, err)
			}
			throughSnapshot(t, next)
		}
	})
}
