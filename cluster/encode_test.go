package cluster_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"

	"canalgo/cluster"
)

// sealed appends the right checksum.
func sealed(parts ...string) []byte {
	data := []byte(strings.Join(parts, ""))
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

// next is the first byte of what a newer canalgo writes.
const next = string(rune(cluster.MaxCommandVersion + 1))

func TestDutyIDText(t *testing.T) {
	for text, want := range map[string]cluster.DutyID{"shop/orders": orders, "shop/orders#load": ordersLoad} {
		got, err := cluster.ParseDutyID(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %+v (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "shop", "shop/", "/orders", "shop/orders/x", "shop/orders#loa", "Shop/orders", "shop/orders#load#load"} {
		if got, err := cluster.ParseDutyID(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
	data, err := json.Marshal(map[cluster.DutyID]int{orders: 1, ordersLoad: 2})
	if want := `{"shop/orders":1,"shop/orders#load":2}`; err != nil || string(data) != want {
		t.Errorf("as keys %s, %v, want %s", data, err, want)
	}
	var back map[cluster.DutyID]int
	if err := json.Unmarshal(data, &back); err != nil || back[orders] != 1 || back[ordersLoad] != 2 {
		t.Errorf("from keys %v, %v", back, err)
	}
	if _, err := json.Marshal(cluster.DutyID{}); err == nil {
		t.Error("a duty without names has a text")
	}
	if orders.Compare(ordersLoad) >= 0 || ordersLoad.Compare(users) >= 0 || users.Compare(users) != 0 {
		t.Error("not ordered by text")
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := cluster.Encode(cluster.Release{IDs: []uint64{1}})
	if err != nil {
		t.Fatal(err)
	}
	if want := sealed("\x01\x0a", `{"IDs":[1]}`); !bytes.Equal(good, want) {
		t.Errorf("encoded %q, want %q", good, want)
	}
	flipped := bytes.Clone(good)
	flipped[5] ^= 1
	for _, test := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, cluster.ErrMalformed},
		{"too short", good[:5], cluster.ErrMalformed},
		{"cut", good[:len(good)-1], cluster.ErrMalformed},
		{"flipped bit", flipped, cluster.ErrMalformed},
		{"newer", sealed(next, "\x0a{}"), cluster.ErrNewerVersion},
		{"newer of another layout", []byte{9}, cluster.ErrNewerVersion},
		{"version 0", sealed("\x00\x0a{}"), cluster.ErrMalformed},
		{"no such type", sealed("\x01\x63{}"), cluster.ErrMalformed},
		{"unknown key", sealed("\x01\x0a", `{"Ids":[1],"X":2}`), cluster.ErrMalformed},
		{"wrong type", sealed("\x01\x0a", `{"IDs":"1"}`), cluster.ErrMalformed},
		{"null", sealed("\x01\x0a", `null`), cluster.ErrMalformed},
		{"two values", sealed("\x01\x0a", `{"IDs":[1]}{}`), cluster.ErrMalformed},
		{"no such GTID set", sealed("\x01\x03", `{"GTIDs":["a"],"Saves":{"a/b":{"Epoch":1,"Position":{"gtids":"#1"}}}}`), cluster.ErrMalformed},
		{"no such duty", sealed("\x01\x03", `{"Saves":{"a":{"Epoch":1}}}`), cluster.ErrMalformed},
		{"too long", sealed("\x01\x0a{", strings.Repeat(" ", cluster.MaxCommand), "}"), cluster.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			if cmd, err := cluster.Decode(test.data); !errors.Is(err, test.want) {
				t.Errorf("got %+v, %v, want %v", cmd, err, test.want)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, cmd := range map[string]cluster.Command{
		"nothing":         nil,
		"a bad duty":      cluster.SetIndex{Duty: cluster.DutyID{Source: "a b"}},
		"a large one":     cluster.SetIndex{Duty: orders, UUID: strings.Repeat("x", cluster.MaxCommand)},
		"bad settings":    cluster.SetConfig{Config: cluster.Config{Sources: map[string]cluster.SourceConfig{"a": {Spec: cluster.Spec{Settings: []byte("{")}}}}},
		"bad quarantined": cluster.SetAside{Entries: []cluster.Quarantined{{}}},
	} {
		if _, err := cluster.Encode(cmd); !errors.Is(err, cluster.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Many duties that stand at one GTID set name it once.
func TestGTIDSetsAreStoredOnce(t *testing.T) {
	set := strings.Repeat("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,", 500)
	p := at(100, 1, 10)
	p.GTIDs = set
	saves := cluster.SavePositions{Saves: map[cluster.DutyID]cluster.Save{orders: {Epoch: 1, Position: p}, users: {Epoch: 1, Position: p}}}
	data, err := cluster.Encode(saves)
	if err != nil || len(data) > len(set)+1000 {
		t.Errorf("command of %d bytes for a set of %d, %v", len(data), len(set), err)
	}
	if got := throughBytes(t, saves); !reflect.DeepEqual(got, saves) {
		t.Errorf("decoded %+v", got)
	}
	s := after(t, running(t), saves)
	data, err = cluster.EncodeSnapshot(s)
	if err != nil || len(data) > len(set)+3000 {
		t.Errorf("snapshot of %d bytes for a set of %d, %v", len(data), len(set), err)
	}
	if got := throughSnapshot(t, s).Duties[users].Position.GTIDs; got != set {
		t.Errorf("restored a set of %d bytes, want %d", len(got), len(set))
	}
}

func TestDecodeSnapshotRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, cluster.ErrMalformed},
		{"newer", sealed(next, "{}"), cluster.ErrNewerVersion},
		{"version 0", sealed("\x00{}"), cluster.ErrMalformed},
		{"checksum", []byte("\x01{}abcd"), cluster.ErrMalformed},
		{"unknown key", sealed("\x01", `{"state":{"new":1}}`), cluster.ErrMalformed},
		{"no such GTID set", sealed("\x01", `{"state":{"config":{"version":1},"duties":{"a/b":{"assignment":{},"position":{"gtids":"#0"}}}}}`), cluster.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := cluster.DecodeSnapshot(test.data); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// What earlier versions wrote is read: these bytes are theirs.
func TestWhatEarlierVersionsWrote(t *testing.T) {
	for text, want := range map[string]cluster.Command{
		"\x01\x08" + `{"Duty":"shop/orders","UUID":"u"}`:                                      cluster.SetIndex{Duty: orders, UUID: "u"},
		"\x01\x09" + `{"Entries":null}`:                                                       cluster.SetAside{},
		"\x01\x0b" + `{"Name":"n1","Node":{"server_id":"n1@1","address":"h:1","commands":1}}`: setNode("n1", "n1@1", "h:1"),
		"\x01\x0c" + `{"Name":"n1","ServerID":"n1@1"}`:                                        cluster.RemoveNode{Name: "n1", ServerID: "n1@1"},
		"\x01\x08" + `{"Duty":"shop/orders","Epoch":3,"UUID":"u"}`:                            cluster.SetIndex{Duty: orders, Epoch: 3, UUID: "u"},
	} {
		if got, err := cluster.Decode(sealed(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v, want %+v", text, got, err, want)
		}
		if got, err := cluster.Encode(want); err != nil || !bytes.Equal(got, sealed(text)) {
			t.Errorf("%+v is written as %q, %v, want %q", want, got, err, text)
		}
	}
	s, err := cluster.DecodeSnapshot(sealed("\x01", `{"state":{"config":{"version":7}}}`))
	if err != nil || s.Config.Version != 7 || s.Nodes != nil {
		t.Errorf("snapshot without nodes: %+v, %v", s, err)
	}
}

// Everything is written in the highest version that all nodes read.
func TestWriteVersion(t *testing.T) {
	reads := func(versions ...uint8) cluster.State {
		var s cluster.State
		for i, v := range versions {
			name := string(rune('a' + i))
			s = after(t, s, cluster.SetNode{Name: name, Node: cluster.Node{ServerID: name, Address: name, Commands: v}})
		}
		return s
	}
	for _, test := range []struct {
		state  cluster.State
		needed uint8
		want   uint8  // 0 for refused
		node   string // that is to be upgraded
	}{
		{cluster.State{}, 1, 1, ""},
		{cluster.State{}, 2, 0, ""},
		{reads(0), 1, 1, ""},
		{reads(0, 9, 1), 2, 0, `"a"`},
		{reads(9, 9), 1, cluster.MaxCommandVersion, ""},
		{reads(9, 9), cluster.MaxCommandVersion, cluster.MaxCommandVersion, ""},
		{reads(9, 9), cluster.MaxCommandVersion + 1, 0, ""},
	} {
		got, err := test.state.WriteVersion(test.needed)
		if got != test.want || (test.want == 0) != errors.Is(err, cluster.ErrTooNew) || !strings.Contains(fmt.Sprint(err), test.node) {
			t.Errorf("%+v: needed %d: got %d, %v, want %d, node %s", test.state.Nodes, test.needed, got, err, test.want, test.node)
		}
		data, err := cluster.EncodeSnapshot(test.state)
		if lowest, _ := test.state.WriteVersion(1); err != nil || data[0] != lowest {
			t.Errorf("%+v: snapshot of version %d, %v, want %d", test.state.Nodes, data[0], err, lowest)
		}
	}
	for version := range uint8(4) {
		data, err := cluster.EncodeVersion(cluster.Release{}, version)
		if ok := version >= 1 && version <= cluster.MaxCommandVersion; ok != (err == nil) || ok && data[0] != version {
			t.Errorf("encoded in version %d: %q, %v", version, data, err)
		}
		if err == nil {
			if _, err := cluster.Decode(data); err != nil {
				t.Errorf("version %d: %v", version, err)
			}
		}
	}
}

// A node that could not read what was written when all the others were newer is not taken in.
func TestAnOlderNodeIsRefused(t *testing.T) {
	node := func(version uint8) cluster.Node {
		return cluster.Node{ServerID: "x@1", Address: "x:1", Commands: version}
	}
	mixed := after(t, cluster.State{}, cluster.SetNode{Name: "a", Node: node(1)}, cluster.SetNode{Name: "b", Node: node(2)}, cluster.SetNode{Name: "c", Node: node(0)})
	newer := after(t, mixed, cluster.SetNode{Name: "a", Node: node(2)}, cluster.SetNode{Name: "c", Node: node(2)})
	for _, name := range []string{"a", "d"} {
		for version := range uint8(4) {
			after(t, mixed, cluster.SetNode{Name: name, Node: node(version)})
			_, err := newer.Apply(cluster.SetNode{Name: name, Node: node(version)})
			if refused := errors.Is(err, cluster.ErrInvalid); refused != (version < 2) || refused && !strings.Contains(err.Error(), "upgrade the node") {
				t.Errorf("%s reads up to %d: %v", name, version, err)
			}
		}
	}
}

// A node is known when the version in which commands are written has no more to say of it.
func TestKnows(t *testing.T) {
	self := cluster.Node{ServerID: "x@1", Address: "x:1"}.ThisBuild()
	old := cluster.SetNode{Name: "old", Node: cluster.Node{ServerID: "old@1", Address: "old:1", Commands: 1}}
	written := func(s cluster.State, cmd cluster.Command) cluster.State {
		version, err := s.WriteVersion(cluster.CommandVersion(cmd))
		if err != nil {
			t.Fatal(err)
		}
		data, err := cluster.EncodeVersion(cmd, version)
		if err != nil {
			t.Fatal(err)
		}
		if data[0] == 1 && bytes.Contains(data, []byte("next")) {
			t.Errorf("in version 1: %s", data)
		}
		read, err := cluster.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		return after(t, s, read)
	}
	s := written(written(cluster.State{}, old), cluster.SetNode{Name: "x", Node: self})
	other := self
	other.Address = "x:2"
	if !s.Knows("x", self) || s.Knows("x", other) || s.Knows("y", self) {
		t.Errorf("beside an older node: %+v", s.Nodes)
	}
	s = written(s, cluster.RemoveNode{Name: "old", ServerID: "old@1"})
	if known := s.Knows("x", self); known != (cluster.MaxCommandVersion == 3) {
		t.Errorf("without the older node, before it has said more: %v, %+v", known, s.Nodes)
	}
	if s = written(s, cluster.SetNode{Name: "x", Node: self}); s.Nodes["x"] != self {
		t.Errorf("without the older node: %+v, want %+v", s.Nodes["x"], self)
	}
}

func TestBoard(t *testing.T) {
	var b cluster.Board
	v, changed := b.View()
	if v.Applied != 0 {
		t.Errorf("a new board shows %+v", v)
	}
	b.Update(func(v *cluster.View) { v.Applied = 5 })
	select {
	case <-changed:
	default:
		t.Error("the channel is open after a change")
	}
	v, changed = b.View()
	select {
	case <-changed:
		t.Error("the channel is closed before a change")
	default:
	}
	if v.Applied != 5 {
		t.Errorf("shows %d, want 5", v.Applied)
	}
}
