package zkmode_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"canalgo/folder"
	"canalgo/raftfsm"
	"canalgo/zkmode"
)

const token = "0123456789abcdef"

func config(dir string) zkmode.Config {
	return zkmode.Config{Servers: []string{"127.0.0.1:1"}, Dir: dir, NodeID: "a", Address: "a:1", Secret: []byte(token), ClusterID: "c"}
}

// TestFolderIsKept opens a folder again, without what its first start was given.
func TestFolderIsKept(t *testing.T) {
	c := config(filepath.Join(t.TempDir(), "data"))
	first, err := zkmode.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zkmode.New(c); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c.Secret, c.ClusterID = nil, ""
	second, err := zkmode.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.ClusterID() != "c" || second.ServerID() != first.ServerID() || string(second.Secret()) != token {
		t.Errorf("%s of cluster %s, before %s", second.ServerID(), second.ClusterID(), first.ServerID())
	}
	if found, err := folder.Look(c.Dir); err != nil || string(found.Secret) != token || found.ServerID != first.ServerID() {
		t.Errorf("found %s, %v", found.ServerID, err)
	}
}

func TestFoldersThatAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*zkmode.Config)
		want   string
	}{
		"another node":    {func(c *zkmode.Config) { c.NodeID = "b" }, `belongs to node "a", this is "b"`},
		"another cluster": {func(c *zkmode.Config) { c.ClusterID = "d" }, "belongs to cluster c, not to d"},
		"another token":   {func(c *zkmode.Config) { c.Secret = []byte(token + "x") }, "was made with another token"},
	} {
		c := config(filepath.Join(t.TempDir(), "data"))
		n, err := zkmode.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		test.change(&c)
		if _, err := zkmode.New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := config(filepath.Join(t.TempDir(), "data"))
	c.ClusterID = ""
	if _, err := zkmode.New(c); err == nil {
		t.Error("a new folder of no cluster")
	}
}

// TestFoldersOfTheOtherMode gives each mode a folder of the other one.
func TestFoldersOfTheOtherMode(t *testing.T) {
	c := config(filepath.Join(t.TempDir(), "zookeeper"))
	n, err := zkmode.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := raftfsm.New(raftfsm.Config{Dir: c.Dir, NodeID: "a"}); err == nil || !strings.Contains(err.Error(), "ZooKeeper mode") {
		t.Errorf("by Raft: %v", err)
	}
	c.Dir = filepath.Join(t.TempDir(), "raft")
	r, err := raftfsm.New(raftfsm.Config{Dir: c.Dir, NodeID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := zkmode.New(c); err == nil || !strings.Contains(err.Error(), "by Raft") {
		t.Errorf("by ZooKeeper: %v", err)
	}
}

func TestCandidates(t *testing.T) {
	id, number, ok := zkmode.ParseCandidate("node-1@0a1b2c3d-0000000042")
	if id != "node-1@0a1b2c3d" || number != 42 || !ok {
		t.Errorf("%q, %d, %v", id, number, ok)
	}
	for _, name := range []string{"", "a", "-0000000042", "a@1-000000004x", "a@10000000042"} {
		if id, number, ok := zkmode.ParseCandidate(name); ok {
			t.Errorf("%q is %q, %d", name, id, number)
		}
	}
}

// FuzzEntry wants what is read of an entry to be all of it.
func FuzzEntry(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 'c'})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, data []byte) {
		again, err := zkmode.DecodeEntry(data)
		if err == nil && !bytes.Equal(again, data) {
			t.Errorf("%x became %x", data, again)
		}
	})
}
