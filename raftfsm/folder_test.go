package raftfsm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/raftfsm"
)

var orders = cluster.DutyID{Source: "shop", Mapping: "orders", Kind: cluster.Stream}

func setConfig() cluster.Command {
	return cluster.SetConfig{Config: cluster.Config{
		Sources:  map[string]cluster.SourceConfig{"shop": {}},
		Sinks:    map[string]cluster.SinkConfig{"es": {Type: "elasticsearch"}},
		Mappings: map[string]cluster.MappingConfig{"orders": {Source: "shop", Sink: "es"}},
	}}
}

func index(n int) cluster.Command {
	return cluster.SetIndex{Duty: orders, UUID: fmt.Sprint(n)}
}

func open(t *testing.T, dir string) *raftfsm.Node {
	t.Helper()
	node, err := raftfsm.New(raftfsm.Config{Dir: dir, NodeID: "a", SnapshotThreshold: 1 << 20, TrailingLogs: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return node
}

// lead runs a node until f returns, as its leader.
func lead(t *testing.T, node *raftfsm.Node, f func(ctx context.Context, term cluster.Term)) {
	t.Helper()
	if err := run(t, node, f); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, node *raftfsm.Node, f func(ctx context.Context, term cluster.Term)) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	called := false
	err := node.Run(ctx, func(ctx context.Context, term cluster.Term) error {
		called = true
		f(ctx, term)
		cancel()
		return nil
	})
	if !called && err == nil {
		t.Error("never led")
	}
	return err
}

func propose(t *testing.T, node *raftfsm.Node, ctx context.Context, term cluster.Term, cmd cluster.Command) {
	t.Helper()
	if err := node.Propose(ctx, term, cmd); err != nil {
		t.Errorf("propose %+v: %v", cmd, err)
	}
}

func TestStateSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	node := open(t, dir)
	id, secret := node.ClusterID(), string(node.Secret())
	if len(id) != 36 || len(secret) != 43 {
		t.Errorf("cluster id %q, secret of %d bytes", id, len(secret))
	}
	var hash string
	var term, applied uint64
	lead(t, node, func(ctx context.Context, now cluster.Term) {
		propose(t, node, ctx, now, setConfig())
		propose(t, node, ctx, now, index(1))
		v, _ := node.View()
		hash, term, applied = v.State.Hash(), uint64(v.Term), v.Applied
	})
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "secret"): 0o600, filepath.Join(dir, "raft.db"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}

	node = open(t, dir)
	if node.ClusterID() != id || string(node.Secret()) != secret {
		t.Error("another cluster id or secret after a restart")
	}
	lead(t, node, func(context.Context, cluster.Term) {
		v, _ := node.View()
		if v.State.Hash() != hash || v.Applied != applied || uint64(v.Term) <= term {
			t.Errorf("restarted with index %d, term %d, %s; before %d, %d, %s", v.Applied, v.Term, v.State.Hash(), applied, term, hash)
		}
	})
}

// What comes again from the log at a start was known before, and is not shown piece by piece.
func TestAStartShowsNothingOlder(t *testing.T) {
	dir := t.TempDir()
	node := open(t, dir)
	const last = 500
	lead(t, node, func(ctx context.Context, term cluster.Term) {
		propose(t, node, ctx, term, setConfig())
		for i := range last + 1 {
			propose(t, node, ctx, term, index(i))
		}
	})
	node = open(t, dir)
	watched := make(chan []string)
	go func() {
		var seen []string
		for {
			v, changed := node.View()
			if uuid := v.Duties[orders].Index; v.Applied > 0 && uuid != fmt.Sprint(last) {
				seen = append(seen, uuid)
			}
			if v.Leading {
				watched <- seen
				return
			}
			<-changed
		}
	}()
	lead(t, node, func(context.Context, cluster.Term) {
		if seen := <-watched; len(seen) > 0 {
			t.Errorf("showed %q before %d", seen, last)
		}
	})
}

func TestStateSurvivesASnapshot(t *testing.T) {
	dir := t.TempDir()
	node := open(t, dir)
	var hash string
	var applied uint64
	lead(t, node, func(ctx context.Context, term cluster.Term) {
		propose(t, node, ctx, term, setConfig())
		for i := range 20 {
			propose(t, node, ctx, term, index(i))
		}
		propose(t, node, ctx, term, cluster.SetAside{Entries: []cluster.Quarantined{{Duty: orders, Index: "i", Document: "1", Reason: "refused"}}})
		v, _ := node.View()
		hash, applied = v.State.Hash(), v.Applied
		if err := node.Snapshot(); err != nil {
			t.Errorf("snapshot: %v", err)
		}
	})
	node = open(t, dir)
	lead(t, node, func(ctx context.Context, term cluster.Term) {
		v, _ := node.View()
		if v.State.Hash() != hash || v.Applied != applied {
			t.Errorf("restored index %d, %s; before %d, %s", v.Applied, v.State.Hash(), applied, hash)
		}
		propose(t, node, ctx, term, index(99))
	})
}

func TestASingleVoterLeadsAtOnce(t *testing.T) {
	dir := t.TempDir()
	best := time.Hour
	for range 5 {
		begin := time.Now()
		lead(t, open(t, dir), func(context.Context, cluster.Term) { best = min(best, time.Since(begin)) })
	}
	// The best of five: the machine may be busy, the timers are not.
	t.Logf("led after %v", best)
	if best > 100*time.Millisecond {
		t.Errorf("led after %v", best)
	}
}

// A proposer that believes in a term that is over is refused where the entry is applied, whatever it knew.
func TestEntriesOfAnotherTermAreRefused(t *testing.T) {
	node := open(t, t.TempDir())
	lead(t, node, func(ctx context.Context, term cluster.Term) {
		propose(t, node, ctx, term, setConfig())
		data, err := raftfsm.EncodeEntry(term-1, index(1))
		if err != nil {
			t.Error(err)
		}
		if err := node.ApplyRaw(data); !errors.Is(err, cluster.ErrNotLeader) {
			t.Errorf("an entry of the former term: %v", err)
		}
		if v, _ := node.View(); v.Duties[orders].Index != "" {
			t.Errorf("it was applied: index %q", v.Duties[orders].Index)
		}
		if err := node.ApplyRaw([]byte("abc")); !errors.Is(err, cluster.ErrMalformed) {
			t.Errorf("a malformed entry: %v", err)
		}
	})
}

func TestAnEntryOfANewerVersionStopsTheNode(t *testing.T) {
	dir := t.TempDir()
	node := open(t, dir)
	newer := func(term cluster.Term) []byte {
		data, err := raftfsm.EncodeEntry(term, index(1))
		if err != nil {
			t.Error(err)
		}
		data[8] = cluster.MaxCommandVersion + 1
		return data
	}
	err := run(t, node, func(ctx context.Context, term cluster.Term) {
		propose(t, node, ctx, term, setConfig())
		if err := node.ApplyRaw(newer(term)); !errors.Is(err, cluster.ErrNewerVersion) {
			t.Errorf("applied: %v", err)
		}
		if err := node.Snapshot(); err == nil {
			t.Error("a snapshot was taken that lacks an entry")
		}
		<-ctx.Done()
	})
	if !errors.Is(err, cluster.ErrNewerVersion) {
		t.Errorf("run: %v", err)
	}
	node = open(t, dir)
	if err := run(t, node, func(ctx context.Context, _ cluster.Term) { <-ctx.Done() }); !errors.Is(err, cluster.ErrNewerVersion) {
		t.Errorf("run after a restart: %v", err)
	}
}

// What the disk refuses ends Run by name, and not the process.
func TestADiskThatRefusesStopsTheNode(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, node *raftfsm.Node, term cluster.Term){
		"an entry": func(ctx context.Context, node *raftfsm.Node, term cluster.Term) {
			if err := node.Propose(ctx, term, index(1)); err == nil {
				t.Error("acknowledged what was not written")
			}
		},
		"a term": func(_ context.Context, node *raftfsm.Node, _ cluster.Term) {
			if err := node.EndTerm(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			node := open(t, t.TempDir())
			err := run(t, node, func(ctx context.Context, term cluster.Term) {
				propose(t, node, ctx, term, setConfig())
				if err := node.BreakDisk(); err != nil {
					t.Error(err)
				}
				write(ctx, node, term)
				<-ctx.Done()
			})
			if err == nil || !strings.Contains(err.Error(), "data folder") {
				t.Errorf("run: %v", err)
			}
		})
	}
}

func refused(t *testing.T, dir string, want ...string) {
	t.Helper()
	node, err := raftfsm.New(raftfsm.Config{Dir: dir, NodeID: "a"})
	if err == nil {
		t.Errorf("%s was taken, want an error with %q", dir, want)
		if err := node.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	for _, part := range append(want, dir) {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want it to say %q", err, part)
		}
	}
}

// entry is a command whose loss no later one hides.
func entry(n int) cluster.Command {
	return cluster.SetAside{Entries: []cluster.Quarantined{{Duty: orders, Index: "i", Document: fmt.Sprint(n)}}}
}

// used returns a folder with some entries and, if asked for, a snapshot of all but the last.
func used(t *testing.T, snapshot bool) string {
	t.Helper()
	dir := t.TempDir()
	node := open(t, dir)
	lead(t, node, func(ctx context.Context, term cluster.Term) {
		propose(t, node, ctx, term, setConfig())
		for i := range 200 {
			propose(t, node, ctx, term, entry(i))
		}
		if snapshot {
			if err := node.Snapshot(); err != nil {
				t.Errorf("snapshot: %v", err)
			}
		}
		propose(t, node, ctx, term, entry(200))
	})
	return dir
}

func TestFoldersThatAreRefused(t *testing.T) {
	template := used(t, true)
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string) error
		want   []string
	}{
		{"another version", func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"format": 7, "cluster_id": "c", "node_id": "a", "server_id": "a@1"}`), 0o600)
		}, []string{"format 7", "format 2"}},
		{"the first version", func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"format": 1, "cluster_id": "c", "node_id": "a"}`), 0o600)
		}, []string{"format 1", "format 2"}},
		{"no server id", func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"format": 2, "cluster_id": "c", "node_id": "a"}`), 0o600)
		}, []string{"server_id is missing"}},
		{"a removed node", func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"format": 2, "cluster_id": "c", "node_id": "a", "server_id": "a@1", "removed": true}`), 0o600)
		}, []string{"was removed from the cluster", "wipe"}},
		{"another node", func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"format": 2, "cluster_id": "c", "node_id": "b", "server_id": "b@1"}`), 0o600)
		}, []string{`node "b"`, `"a"`}},
		{"half a meta.json", func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"format": 2, "clu`), 0o600)
		}, []string{"meta.json is damaged"}},
		{"no meta.json", func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "meta.json")) }, []string{"meta.json is missing"}},
		{"a log alone", func(_ *testing.T, dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "meta.json")), os.RemoveAll(filepath.Join(dir, "snapshots")))
		}, []string{"meta.json is missing"}},
		{"no secret", func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "secret")) }, []string{"secret is missing"}},
		{"a short secret", func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, "secret"), 5) }, []string{"secret has 5 bytes"}},
		{"no log", func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "raft.db")) }, []string{"raft.db is missing"}},
		{"an empty log", func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, "raft.db"), 0) }, []string{"raft.db is damaged"}},
		{"half a log", func(_ *testing.T, dir string) error {
			info, err := os.Stat(filepath.Join(dir, "raft.db"))
			return errors.Join(err, os.Truncate(filepath.Join(dir, "raft.db"), info.Size()/2))
		}, []string{"raft.db is damaged"}},
		{"a damaged snapshot", func(t *testing.T, dir string) error {
			return flip(t, filepath.Join(dir, "snapshots", "*", "state.bin"), 40)
		}, []string{"snapshot"}},
		{"no snapshot", func(_ *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, "snapshots")) }, []string{"entries 1 to", "missing"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
				t.Fatal(err)
			}
			if err := test.change(t, dir); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, test.want...)
			refused(t, dir, test.want...) // and nothing was kept locked
		})
	}
}

func flip(t *testing.T, pattern string, offset int) error {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[offset] ^= 0x10
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// A flipped bit anywhere in the log is refused by name, or it changes nothing.
func TestFlippedBits(t *testing.T) {
	template := used(t, false)
	var want string
	intact := filepath.Join(t.TempDir(), "intact")
	if err := os.CopyFS(intact, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	node := open(t, intact)
	lead(t, node, func(context.Context, cluster.Term) { v, _ := node.View(); want = v.State.Hash() })

	log, err := os.ReadFile(filepath.Join(template, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	var written []int // offsets; most of the file is empty
	for offset, b := range log {
		if b != 0 {
			written = append(written, offset)
		}
	}
	const samples = 60
	found := 0
	for i := range samples {
		offset := written[i*len(written)/samples]
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
			t.Fatal(err)
		}
		if err := flip(t, filepath.Join(dir, "raft.db"), offset); err != nil {
			t.Fatal(err)
		}
		node, err := raftfsm.New(raftfsm.Config{Dir: dir, NodeID: "a"})
		if err != nil {
			found++
			if !strings.Contains(err.Error(), "raft.db is damaged") {
				t.Errorf("offset %d: %v", offset, err)
			}
			continue
		}
		lead(t, node, func(context.Context, cluster.Term) {
			if v, _ := node.View(); v.State.Hash() != want {
				t.Errorf("offset %d: another state was served", offset)
			}
		})
	}
	if found < samples/4 {
		t.Errorf("%d of %d flipped bits were found: the test says little", found, samples)
	}
}

func TestPathsThatAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, file, "is a file", "name a folder")
	refused(t, filepath.Join(file, "below"), "not a directory", "a part of the path is a file")
	refused(t, "/proc/canalgo", "data folder")
}
