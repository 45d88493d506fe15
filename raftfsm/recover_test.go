package raftfsm_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/folder"
	"canalgo/raftfsm"
)

// position is a place in the log of the source's first epoch.
func position(epoch uint32, offset uint64) event.Position {
	return event.Position{ServerUUID: "u", File: "binlog.000007", Offset: offset, Epoch: epoch, Count: event.FirstCount + offset}
}

// A majority of the folders is gone: the one that is left goes on alone, where it was, above what it wrote before.
func TestRecoverFromALostQuorum(t *testing.T) {
	for name, snapshots := range map[string]bool{"from the log": false, "from a snapshot": true} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			g.grow("b", "a", "c") // b begins the cluster, a is what will be left
			g.propose(setConfig())
			g.propose(cluster.OpenEpoch{Source: "shop", AtLeast: 700, ServerUUID: "u", Start: position(0, 4)})
			g.propose(cluster.SavePositions{Saves: map[cluster.DutyID]cluster.Save{orders: {Position: position(700, 120)}}})
			g.propose(cluster.SetAside{Entries: []cluster.Quarantined{{Duty: orders, Index: "i", Document: "d", Reason: "r"}}})
			g.equal()
			if snapshots {
				if err := g.members()["a"].Snapshot(); err != nil {
					t.Fatal(err)
				}
			}
			g.stopAll()

			const epoch = 1000
			before, err := raftfsm.Recover(g.dirs["a"], epoch, false)
			if err != nil {
				t.Fatal(err)
			}
			if before.NodeID != "a" || len(before.Servers) != 3 || before.Index == 0 || before.Term == 0 || len(before.State.Quarantine) != 1 {
				t.Errorf("looked at %s of %v, entry %d of term %d, %d set aside", before.NodeID, before.Servers, before.Index, before.Term, len(before.State.Quarantine))
			}
			again, err := raftfsm.Recover(g.dirs["a"], epoch, true)
			if err != nil {
				t.Fatal(err)
			}
			if again.State.Hash() != before.State.Hash() || again.Index != before.Index {
				t.Error("to look at a folder changed it")
			}

			a := g.start("a")
			v := until(t, a.Node, "leads alone", func(v cluster.View) bool { return v.Leading })
			want := position(epoch, 120)
			want.Count = event.FirstCount
			if got := v.Duties[orders].Position; got != want {
				t.Errorf("position %+v, want %+v", got, want)
			}
			if v.Sources["shop"].Epoch != epoch || len(v.Nodes) > 1 || len(v.Quarantine) != 1 || g.voters() != "a" {
				t.Errorf("epoch %d, nodes %v, %d set aside, voters %s", v.Sources["shop"].Epoch, v.Nodes, len(v.Quarantine), g.voters())
			}

			// One of the lost comes back with its old folder. It does not know, and disturbs nobody.
			old := g.start("c")
			for began := time.Now(); time.Since(began) < 1200*time.Millisecond; { // it stands for election twice
				g.propose(index(1), "c")
			}
			if v, _ := old.View(); v.Leading || v.Duties[orders].Index != "" {
				t.Errorf("a former member takes part: %+v", v)
			}
			g.stop("c")
			if now, _ := a.View(); !now.Leading || now.Term != v.Term {
				t.Errorf("led in term %d, now %d (%v)", v.Term, now.Term, now.Leading)
			}

			for _, dir := range []string{g.dirs["b"], g.dirs["c"]} {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			g.grow("b", "c")
			g.propose(index(2))
			g.equal()
			if got := g.voters(); got != "abc" {
				t.Errorf("voters %s, want abc", got)
			}
		})
	}
}

// Root recovers the folder of a service that runs as somebody else.
func TestRecoverLeavesTheFolderToItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give files away; there is nothing to see as another user")
		return
	}
	const somebody = 12345
	g := newGroup(t)
	g.grow("a", "b")
	g.stopAll()
	dir := g.dirs["a"]
	if err := os.Chown(dir, somebody, somebody); err != nil {
		t.Fatal(err)
	}
	if _, err := raftfsm.Recover(dir, 1, true); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != somebody {
			t.Errorf("%s belongs to %d", path, info.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestRecoverRefuses(t *testing.T) {
	alone := t.TempDir()
	if err := open(t, alone).Close(); err != nil {
		t.Fatal(err)
	}
	g := newGroup(t)
	g.start("a")
	stranger := g.start("x")
	id := stranger.ServerID()
	g.stop("x")
	for _, c := range []struct{ what, dir, want string }{
		{"nothing there", t.TempDir(), "there is none"},
		{"alone", alone, "needs nobody else"},
		{"a process runs", g.dirs["a"], "in use by"},
		{"never taken in", g.dirs["x"], "no leader has taken this node in"},
	} {
		if r, err := raftfsm.Recover(c.dir, 1, true); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.dir) {
			t.Errorf("%s: %+v, %v, want the folder and %q", c.what, r, err, c.want)
		}
	}
	if found, err := folder.Look(g.dirs["x"]); err != nil || found.ServerID != id {
		t.Errorf("a refused folder was changed: %+v, %v", found, err)
	}
}
