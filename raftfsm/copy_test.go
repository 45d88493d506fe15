package raftfsm_test

import (
	"os"
	"path/filepath"
	"testing"

	"canalgo/cluster"
)

// Copies are those of data folders, by the names of their nodes.
type copies map[string]string

func (g *group) copies(names ...string) copies {
	kept := copies{}
	for _, name := range names {
		kept[name] = filepath.Join(g.base, name+".copy")
		if err := os.CopyFS(kept[name], os.DirFS(g.dirs[name])); err != nil {
			g.t.Fatal(err)
		}
	}
	return kept
}

func (g *group) putBack(c copies, names ...string) {
	for _, name := range names {
		if err := os.RemoveAll(g.dirs[name]); err != nil {
			g.t.Fatal(err)
		}
		if err := os.CopyFS(g.dirs[name], os.DirFS(c[name])); err != nil {
			g.t.Fatal(err)
		}
	}
}

// A node whose folder is an old copy gets from the others what it lacks. When all are, the cluster goes on from what they have.
func TestOldCopiesOfFolders(t *testing.T) {
	g := newGroup(t)
	g.grow("a", "b", "c")
	g.propose(setConfig())
	for i := range 20 {
		g.propose(index(i))
	}
	g.equal()
	g.stopAll()
	old := g.copies("a", "b", "c")
	run := func() {
		for name := range old {
			g.start(name)
		}
	}

	run()
	for i := range 20 {
		g.propose(index(100 + i))
	}
	g.equal()
	g.stop("c")
	g.putBack(old, "c")
	c := g.start("c")
	until(t, c.Node, "all that it lacks", func(v cluster.View) bool { return v.Duties[orders].Index == "119" })
	g.equal()

	g.stopAll()
	g.putBack(old, "a", "b", "c")
	run()
	g.propose(setPaused())
	g.equal()
	m, _ := g.leader()
	if v, _ := m.View(); v.Duties[orders].Index != "19" || !v.Paused["source/shop"] {
		t.Errorf("after all were put back: index %s, paused %v; want 19, and that the cluster goes on", v.Duties[orders].Index, v.Paused)
	}
}

func setPaused() cluster.Command { return cluster.SetPaused{What: "source/shop", Paused: true} }
