//go:build integration

package zookeeper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"canalgo/canal/cursor"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/integration/harness"
)

// patience is how long anything may take.
const patience = 20 * time.Second

// A keeper is one node that leads, and keeps the source "shop" among canal's servers.
type keeper struct {
	*group
	term cluster.Term
	stop func()

	mu   sync.Mutex
	told []cluster.Custody // by Keep
}

// newKeeper starts a node that keeps the source when it leads. Its duty stands at mysql-bin.000003:500.
func newKeeper(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{group: newGroup(t, 1)}
	k.start()
	k.propose(cluster.SetNode{Name: "node-0", Node: cluster.Node{ServerID: k.nodes[0].ServerID(), Address: "host-0:1", Commands: cluster.MaxCommandVersion}})
	k.propose(cluster.SetConfig{Config: cluster.Config{
		Sources:  map[string]cluster.SourceConfig{"shop": {}},
		Sinks:    map[string]cluster.SinkConfig{"es": {Type: "elasticsearch"}},
		Mappings: map[string]cluster.MappingConfig{"orders": {Source: "shop", Sink: "es"}},
	}})
	k.move("mysql-bin.000003", 500)
	return k
}

// start runs the node, and waits until it leads.
func (k *keeper) start() {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended, terms := make(chan error, 1), make(chan cluster.Term, 1)
	node := k.nodes[0]
	go func() {
		ended <- node.Run(ctx, func(ctx context.Context, term cluster.Term) error {
			select {
			case terms <- term:
			default:
			}
			for ctx.Err() == nil {
				server := func() (string, uint32) { return "mysql-a:3306", 7 }
				if err := node.Keep(ctx, term, "shop", server, k.tell); err != nil && ctx.Err() == nil {
					k.t.Logf("keep: %v", err)
				}
			}
			return ctx.Err()
		})
	}()
	k.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			k.t.Errorf("run: %v", err)
		}
	})
	k.t.Cleanup(k.stop)
	select {
	case k.term = <-terms:
	case <-time.After(patience):
		k.t.Fatal("nobody leads")
	}
}

func (k *keeper) tell(c cluster.Custody) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.told); n == 0 || k.told[n-1] != c {
		k.told = append(k.told, c)
	}
}

func (k *keeper) custody() cluster.Custody {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.told) == 0 {
		return cluster.Custody{}
	}
	return k.told[len(k.told)-1]
}

func (k *keeper) propose(cmd cluster.Command) {
	k.t.Helper()
	if err := k.nodes[0].Propose(k.t.Context(), k.term, cmd); err != nil {
		k.t.Fatal(err)
	}
}

// move opens a new epoch of the source at a place.
func (k *keeper) move(file string, offset uint64) {
	k.t.Helper()
	v, _ := k.nodes[0].View()
	k.propose(cluster.OpenEpoch{Source: "shop", Was: v.Sources["shop"].Epoch, ServerUUID: "u",
		Start: event.Position{File: file, Offset: offset, Time: time.Unix(1665038153, 0).UTC()}})
}

func (k *keeper) await(what string, is func() error) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := harness.Poll(ctx, is); err != nil {
		k.t.Fatalf("wait for %s: %v; told %+v", what, err, k.told)
	}
}

func (k *keeper) awaitCustody(what string, is func(cluster.Custody) bool) {
	k.t.Helper()
	k.await(what, func() error {
		if c := k.custody(); !is(c) {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}

func ours(c cluster.Custody) bool { return c.Ours }

func (k *keeper) shop(name string) string { return k.chroot + "/otter/canal/destinations/shop" + name }

func (k *keeper) read(path string) (string, *zk.Stat) {
	data, stat, err := k.conn.Get(path)
	if err != nil {
		return err.Error(), nil
	}
	return string(data), stat
}

func (k *keeper) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// awaitCursor waits for a text in the cursor.
func (k *keeper) awaitCursor(part string) {
	k.t.Helper()
	k.await("the cursor", func() error {
		if text, _ := k.read(k.shop("/1001/cursor")); !strings.Contains(text, part) {
			return errors.New(text)
		}
		return nil
	})
}

// another takes the source as a Java server does: it waits for running to be gone, and makes it.
func (k *keeper) another() {
	k.t.Helper()
	k.await("a place for another server", func() error {
		_, err := k.conn.Create(k.shop("/running"), []byte(`{"active":true,"address":"10.0.0.5:11111"}`), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
		return err
	})
}

func held(c cluster.Custody) bool { return !c.Ours && c.Holder == "10.0.0.5:11111" }

// TestKeepsASource holds what canalgo writes against what Java servers and clients read.
func TestKeepsASource(t *testing.T) {
	k := newKeeper(t)
	k.awaitCustody("the source", ours)
	if c := k.custody(); c.From != nil {
		t.Errorf("somebody else is said to have read: %+v", c.From)
	}
	k.awaitCursor(`{"@type":"com.alibaba.otter.canal.protocol.position.LogPosition","identity":{"slaveId":-1,"sourceAddress":{"address":"mysql-a","port":3306}},"postion":{"gtid":"","included":false,"journalName":"mysql-bin.000003","position":500,"serverId":7,"timestamp":1665038153000}}`)
	text, stat := k.read(k.shop("/running"))
	var running struct {
		Active  bool
		Address string
	}
	if err := json.Unmarshal([]byte(text), &running); err != nil || !running.Active || running.Address != "host-0:11111" || stat.EphemeralOwner == 0 {
		t.Errorf("running is %s, %+v, %v", text, stat, err)
	}
	for _, path := range []string{k.shop("/cluster/host-0:11111"), k.chroot + "/otter/canal/cluster/host-0:11111"} {
		k.await("a server that is registered", func() error {
			text, stat := k.read(path)
			if stat == nil || stat.EphemeralOwner == 0 || text != "" {
				return fmt.Errorf("%s: %q, %+v", path, text, stat)
			}
			return nil
		})
	}
	k.move("mysql-bin.000004", 700)
	k.awaitCursor(`"journalName":"mysql-bin.000004","position":700`)
	if text, _ := k.read(k.shop("/canalgo")); !strings.Contains(text, `"shop/orders":{`) {
		t.Errorf("beside the cursor there is %s", text)
	}
	k.stop()
	if text, _ := k.read(k.shop("/running")); text != zk.ErrNoNode.Error() {
		t.Errorf("running is still there: %s", text)
	}
}

// TestAnotherServerReads has another server have the source first: canalgo says so, takes it 5 s after that one is gone, and goes on at
// its cursor; what nobody has moved is not taken for another one's.
func TestAnotherServerReads(t *testing.T) {
	k := newKeeper(t)
	k.awaitCustody("the source", ours)
	k.awaitCursor(`"position":500`)

	k.must(k.conn.Delete(k.shop("/running"), -1)) // it was there, so it makes it again at once
	began := time.Now()
	k.await("running again", func() error {
		if _, stat := k.read(k.shop("/running")); stat == nil {
			return errors.New("not there")
		}
		return nil
	})
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("its own source it took back after %s", took)
	}

	_, err := k.conn.Set(k.shop("/running"), []byte(`{"active":false,"address":"host-0:11111"}`), -1)
	k.must(err)
	k.another()
	k.awaitCustody("another's", held)
	moved := cursor.Cursor{Host: "mysql-a", Port: 3306, File: "mysql-bin.000005", Offset: 900, Time: time.Unix(1665038200, 0)}
	_, err = k.conn.Set(k.shop("/1001/cursor"), moved.Encode(), -1)
	k.must(err)
	k.must(k.conn.Delete(k.shop("/running"), -1))
	began = time.Now()
	k.awaitCustody("the source again", ours)
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("after %s it took what it had not had", took)
	}
	from := k.custody().From
	if from == nil || from.Address != "mysql-a:3306" || from.File != "mysql-bin.000005" || from.Offset != 900 {
		t.Fatalf("another one has read up to %+v", from)
	}
	if text, _ := k.read(k.shop("/1001/cursor")); text != string(moved.Encode()) {
		t.Errorf("the cursor was overwritten before it was taken over: %s", text)
	}
	k.move("mysql-bin.000005", 880) // as the source does with it
	k.awaitCursor(`"position":880`)

	_, err = k.conn.Set(k.shop("/running"), []byte(`{"active":false}`), -1)
	k.must(err)
	k.awaitCustody("a source that is released", func(c cluster.Custody) bool { return !c.Ours })
	k.awaitCustody("the source once more", ours)
	if c := k.custody(); c.From != nil {
		t.Errorf("nobody has read meanwhile: %+v", c.From)
	}
}

// TestTheCursorOfMappingsStays takes the only mapping out while the source is canalgo's: a Java server goes on at the cursor.
func TestTheCursorOfMappingsStays(t *testing.T) {
	k := newKeeper(t)
	k.awaitCustody("the source", ours)
	k.awaitCursor(`"position":500`)
	v, _ := k.nodes[0].View()
	config := v.Config
	config.Mappings = nil
	k.propose(cluster.SetConfig{Base: v.Config.Version, Config: config})
	id := cluster.ClientID{Source: "shop", Number: 1002}
	k.propose(cluster.SetClient{ID: id})
	k.propose(cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{id: {ServerUUID: "u", Epoch: v.Sources["shop"].Epoch, Count: event.FirstCount,
		File: "mysql-bin.000003", Offset: 600, Time: time.Unix(1665038154, 0)}}})
	k.await("a cursor that is written later", func() error {
		if text, _ := k.read(k.shop("/1002/cursor")); !strings.Contains(text, `"position":600`) {
			return errors.New(text)
		}
		return nil
	})
	if text, _ := k.read(k.shop("/1001/cursor")); !strings.Contains(text, `"position":500`) {
		t.Errorf("the cursor is %q", text)
	}
}

// TestClients has clients of canal's protocol: their cursors and filters are where canal looks for them, and those of another server are
// taken over; all go on at the oldest cursor.
func TestClients(t *testing.T) {
	k := newKeeper(t)
	k.awaitCustody("the source", ours)
	id := cluster.ClientID{Source: "shop", Number: 1002}
	k.propose(cluster.SetClient{ID: id, Filter: `shop\..*`})
	v, _ := k.nodes[0].View()
	k.propose(cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{id: {ServerUUID: "u", Epoch: v.Sources["shop"].Epoch, Count: event.FirstCount,
		File: "mysql-bin.000003", Offset: 600, Time: time.Unix(1665038154, 0)}}})
	k.await("the client's cursor", func() error {
		text, _ := k.read(k.shop("/1002/cursor"))
		filter, _ := k.read(k.shop("/1002/filter"))
		if !strings.Contains(text, `"position":600`) || filter != `shop\..*` {
			return fmt.Errorf("%s, %s", text, filter)
		}
		return nil
	})
	k.propose(cluster.RemoveClient{ID: id})
	k.await("the end of a client", func() error {
		if _, stat := k.read(k.shop("/1002")); stat != nil {
			return errors.New("it is still there")
		}
		return nil
	})

	_, err := k.conn.Set(k.shop("/running"), []byte(`{"active":false}`), -1)
	k.must(err)
	k.another()
	k.awaitCustody("another's", held)
	for number, offset := range map[string]uint64{"1001": 900, "1003": 700} {
		c := cursor.Cursor{Host: "mysql-a", Port: 3306, File: "mysql-bin.000005", Offset: offset, Time: time.Unix(1665038200, 0)}
		for _, node := range []struct{ path, data string }{{"", ""}, {"/cursor", string(c.Encode())}, {"/filter", "shop.a"}} {
			path := k.shop("/" + number + node.path)
			if _, err := k.conn.Create(path, []byte(node.data), 0, zk.WorldACL(zk.PermAll)); errors.Is(err, zk.ErrNodeExists) {
				_, err = k.conn.Set(path, []byte(node.data), -1)
				k.must(err)
			} else {
				k.must(err)
			}
		}
	}
	k.must(k.conn.Delete(k.shop("/running"), -1))
	k.awaitCustody("the source again", ours)
	if from := k.custody().From; from == nil || from.Offset != 700 {
		t.Errorf("it goes on at %+v", from)
	}
	v, _ = k.nodes[0].View()
	if got := v.Clients[cluster.ClientID{Source: "shop", Number: 1003}].Filter; got != "shop.a" {
		t.Errorf("the filter of the other server's client is %q", got)
	}
}

// TestBadCursor finds a cursor that nobody can read: the source is not taken, and another server may try.
func TestBadCursor(t *testing.T) {
	k := newKeeper(t)
	k.awaitCursor(`"position":500`)
	k.stop()
	_, err := k.conn.Set(k.shop("/1001/cursor"), []byte("{"), -1)
	k.must(err)
	k.nodes[0] = k.open(0)
	k.told = nil
	k.start()
	k.another()
	k.awaitCustody("another's", held)
	if text, _ := k.read(k.shop("/1001/cursor")); text != "{" {
		t.Errorf("the cursor is now %s", text)
	}
}
