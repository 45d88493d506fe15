package event_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"canalgo/event"
)

func randomText(r *rand.Rand, most int) string {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	return string(b)
}

func randomTable(r *rand.Rand) event.TableName {
	return []event.TableName{{}, {Schema: "shop", Name: "user"}, {Schema: "shop"}, {Schema: randomText(r, 200), Name: "größe"}}[r.IntN(4)]
}

func randomBatch(r *rand.Rand) event.Batch {
	b := event.Batch{Seq: r.Uint64(), Bytes: r.IntN(1 << 20)}
	if r.IntN(2) == 0 {
		b.GTID = event.GTID{UUID: uuid.UUID([]byte(strings.Repeat("u", 16))), Tag: randomText(r, 32), N: r.Int64N(math.MaxInt64) + 1}
	}
	if r.IntN(5) > 0 {
		b.End = event.Position{ServerUUID: randomText(r, 36), Epoch: r.Uint32(), Count: r.Uint64(), File: randomText(r, 20), Offset: r.Uint64(),
			GTIDs: randomText(r, 3), Time: time.Unix(r.Int64N(1<<40)-1<<39, r.Int64N(1e9)).UTC()}
	}
	for range r.IntN(20) {
		e := event.Event{Kind: event.Kind(1 + r.UintN(5)), Table: randomTable(r)}
		if r.IntN(2) == 0 {
			e.Version = event.Version(r.Uint64())
		}
		if r.IntN(4) > 0 {
			e.Raw = []byte("raw" + randomText(r, 2000))
		}
		if r.IntN(4) == 0 {
			e.Statement = &event.Stmt{Action: event.Action(r.UintN(7)), Text: randomText(r, 300)}
			for range r.IntN(4) {
				e.Statement.Tables = append(e.Statement.Tables, randomTable(r))
			}
		}
		b.Events = append(b.Events, e)
	}
	return b
}

func TestBatchesPassTheWireUnchanged(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		want := randomBatch(r)
		data := event.AppendBatch([]byte("before"), &want)[len("before"):]
		got, err := event.DecodeBatch(data)
		if err != nil {
			t.Fatalf("%v\n%+v", err, want)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got\n%+v, want\n%+v", got, want)
		}
	}
}

func TestDamagedBatchIsRefused(t *testing.T) {
	b := randomBatch(rand.New(rand.NewPCG(3, 4)))
	b.Events = append(b.Events, event.Event{Kind: event.Rows, Raw: []byte("row")}, event.Event{Kind: event.Statement,
		Statement: &event.Stmt{Action: event.Drop, Tables: []event.TableName{{Schema: "shop"}}, Text: "DROP DATABASE shop"}})
	data := event.AppendBatch(nil, &b)
	for n := range data {
		if _, err := event.DecodeBatch(data[:n]); err == nil {
			t.Fatalf("the first %d bytes of %d were taken", n, len(data))
		}
	}
	for _, c := range []struct {
		name, want string
		damage     func(event.Batch) []byte
	}{
		{"newer version", "upgrade this node", func(event.Batch) []byte { return append([]byte{9}, data[1:]...) }},
		{"byte behind it", "too many", func(event.Batch) []byte { return append(bytes.Clone(data), 0) }},
		{"kind", "not known", func(b event.Batch) []byte {
			b.Events = []event.Event{{Kind: 7}}
			return event.AppendBatch(nil, &b)
		}},
		{"action", "not known", func(b event.Batch) []byte {
			b.Events = []event.Event{{Kind: event.Statement, Statement: &event.Stmt{Action: 7}}}
			return event.AppendBatch(nil, &b)
		}},
	} {
		if got, err := event.DecodeBatch(c.damage(b)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v; want an error with %q", c.name, got, err, c.want)
		}
	}
}

func TestDecodingABatchAllocatesLittle(t *testing.T) {
	user := event.TableName{Schema: "shop", Name: "user"}
	b := event.Batch{Seq: 1, End: event.Position{ServerUUID: "s", Epoch: 1, File: "binlog.000001"}}
	for range 100 {
		b.Events = append(b.Events, event.Event{Kind: event.Rows, Table: user, Version: 7, Raw: make([]byte, 100)})
	}
	data := event.AppendBatch(nil, &b)
	if got := testing.AllocsPerRun(100, func() { _, _ = event.DecodeBatch(data) }); got > 2 {
		t.Errorf("%v allocations, want 2: the events and their strings", got)
	}
	if got := testing.AllocsPerRun(100, func() { _ = event.AppendBatch(data[:0], &b) }); got > 0 {
		t.Errorf("encoding into a buffer allocates %v times", got)
	}
}

func FuzzBatch(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		b := randomBatch(r)
		f.Add(event.AppendBatch(nil, &b))
	}
	// Many events of which the head has room for few.
	f.Add([]byte{1, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := event.DecodeBatch(data)
		if err != nil {
			return
		}
		again, err := event.DecodeBatch(event.AppendBatch(nil, &b))
		if err != nil || !reflect.DeepEqual(again, b) {
			t.Errorf("%+v became %+v, %v", b, again, err)
		}
	})
}
