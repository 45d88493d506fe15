package node_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/event"
	"canalgo/node"
	"canalgo/relay"
)

var reader = cluster.ClientID{Source: "shop", Number: 1001}

// subscribe makes a client, as the server of canal's protocol does.
func subscribe(t *testing.T, n *node.Node) *node.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.Subscribe(ctx, reader, "shop.*"); err != nil {
		t.Fatal(err)
	}
	c, err := n.Client(reader)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// documents takes batches until so many rows came, and returns their texts and the end of the last batch.
func documents(t *testing.T, c *node.Client, from event.Position, rows int) (out []string, end event.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	open := func() (feed *node.ClientFeed, err error) {
		for {
			if feed, err = c.Open(from); !errors.Is(err, relay.ErrNotHere) || ctx.Err() != nil {
				return feed, err
			}
			time.Sleep(10 * time.Millisecond) // virtual; it says to ask again
		}
	}
	feed, err := open()
	for err == nil && len(out) < rows {
		var b event.Batch
		if b, err = feed.Take(ctx); errors.Is(err, relay.ErrNotHere) {
			feed, err = open()
			continue
		}
		for _, e := range b.Events {
			out = append(out, string(e.Raw))
		}
		from, end = b.End, b.End
	}
	if err != nil {
		t.Fatalf("after %q: %v", out, err)
	}
	feed.Close()
	return out, end
}

func TestClientReadsFromWhereItSubscribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, members := newWorld(), memory.New("n1")
		w.commit("before")
		n, stop := start(t, w, members, "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("a")
		eventually(t, "a", has(w, "a"))
		c := subscribe(t, n)
		w.commit("b", "c", "d")
		got, end := documents(t, c, c.Position(), 2)
		if len(got) != 2 || got[0] != "b" || got[1] != "c" {
			t.Errorf("got %q, want b and c", got)
		}
		c.Reached(end)
		c.Note(node.ClientProgress{Address: "1.2.3.4:5", Batches: 2, Bytes: 77})
		r := n.Report(t.Context())
		if len(r.Clients) != 1 || r.Clients[0].ID != "shop/1001" || r.Clients[0].Address != "1.2.3.4:5" || r.Clients[0].Batches != 2 || r.Clients[0].Position != end.String() {
			t.Errorf("status has %+v", r.Clients)
		}
		stop()
		v, _ := members.Member(0).View()
		if got := v.Clients[reader]; got.Position.Offset != end.Offset || got.Filter != "shop.*" {
			t.Errorf("kept %+v, want the position %s", got, end)
		}
		n, _ = start(t, w, members, "") // it goes on there
		var again *node.Client
		eventually(t, "the client is there", func() bool { var err error; again, err = n.Client(reader); return err == nil })
		if got, _ := documents(t, again, again.Position(), 1); got[0] != "d" {
			t.Errorf("after a restart comes %q, want d", got)
		}
		select {
		case <-c.Done():
		default:
			t.Error("the client of the term before is not done")
		}
	})
}

// A source that has clients alone is followed, and no longer when the last one has gone.
func TestClientAloneHasItsSourceFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := seed("")
		clear(c.Mappings)
		n, _ := startWith(t, w, memory.New("n1"), c)
		eventually(t, "the source is idle", func() bool { r := n.Report(t.Context()); return len(r.Sources) == 1 && r.Sources[0].State == "idle" })
		if _, err := n.Client(reader); !errors.Is(err, cluster.ErrUnknown) {
			t.Errorf("a client that has not subscribed: %v", err)
		}
		client := subscribe(t, n)
		w.commit("a")
		if got, _ := documents(t, client, client.Position(), 1); got[0] != "a" {
			t.Errorf("got %q, want a", got)
		}
		if err := n.Unsubscribe(t.Context(), reader); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the source is idle again", func() bool { r := n.Report(t.Context()); return r.Sources[0].State == "idle" && len(r.Clients) == 0 })
		if err := n.Subscribe(t.Context(), cluster.ClientID{Source: "nobody", Number: 1}, ""); !errors.Is(err, node.ErrNotFound) {
			t.Errorf("a source that is not there: %v", err)
		}
	})
}

// Whoever subscribes and unsubscribes again and again, or changes its filter, has no stream begun anew.
func TestClientsThatComeAndGoDisturbNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		subscribe(t, n)
		begun := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) }
		time.Sleep(time.Second)
		before := begun()
		for range 5 {
			if err := n.Unsubscribe(t.Context(), reader); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			subscribe(t, n)
			if err := n.Subscribe(t.Context(), reader, "other.*"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if got := begun(); got != before {
			t.Errorf("the stream began %d times more", got-before)
		}
	})
}
