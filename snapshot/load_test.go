package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/snapshot"
)

var table = &event.Table{Name: event.TableName{Schema: "shop", Name: "user"}, Key: []int{0},
	Columns: []event.Column{{Name: "id", Type: event.BigInt}, {Name: "name", Type: event.Char}}}

var (
	behind = regexp.MustCompile("WHERE \\(\\(`id` > (\\d+)\\)\\)")
	upTo   = regexp.MustCompile("NOT \\(\\(`id` > (\\d+)\\)\\)")
	limit  = regexp.MustCompile(`LIMIT (\d+)`)
	exact  = regexp.MustCompile("`id` = (\\d+)")
)

// server holds rows by id and answers the queries that a Reader makes.
type server struct {
	mu      sync.Mutex
	rows    map[int64]string
	queries []string
	waited  []string
}

func number(re *regexp.Regexp, query string, otherwise int64) int64 {
	m := re.FindStringSubmatch(query)
	if m == nil {
		return otherwise
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (s *server) Select(_ context.Context, at event.Position, query string, columns []event.Column, row func([]any) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, query)
	s.waited = append(s.waited, at.GTIDs)
	var ids []int64
	low, high := number(behind, query, 0), number(upTo, query, 1<<62)
	only := number(exact, query, 0)
	for id := range s.rows {
		if only == 0 && id > low && id <= high || only != 0 && id == only {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for i, id := range ids {
		if int64(i) == number(limit, query, 1<<62) {
			break
		}
		if err := row([]any{id, s.rows[id]}); err != nil {
			return err
		}
	}
	return nil
}

type mapper struct{}

func (mapper) Map(rows []event.Row) ([]mapping.Change, error) {
	var out []mapping.Change
	for i := range rows {
		out = append(out, mapping.Change{Op: mapping.Write, Index: "i", ID: fmt.Sprint(rows[i].After[0]), Version: rows[i].Version,
			Body: []byte(rows[i].After[1].(string)), Row: &rows[i]})
	}
	return out, nil
}

func (mapper) Index() string { return "i" }

// destination keeps documents with versions, as Elasticsearch does.
type destination struct {
	mu      sync.Mutex
	docs    map[string]string
	version map[string]event.Version
	fail    func() error
	cleared event.Version
}

func (d *destination) Write(_ context.Context, changes []mapping.Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if err := d.fail(); err != nil {
			return err
		}
	}
	var partial sink.PartialError
	for _, c := range changes {
		if has := d.version[c.ID]; has > c.Version {
			partial.Conflicts = append(partial.Conflicts, sink.Conflict{Change: c, Has: has})
			continue
		}
		d.version[c.ID] = c.Version
		if c.Op == mapping.Delete {
			delete(d.docs, c.ID)
		} else {
			d.docs[c.ID] = string(c.Body)
		}
	}
	if len(partial.Conflicts) > 0 {
		return &partial
	}
	return nil
}

func (d *destination) Clear(_ context.Context, _ mapping.Own, before event.Version) (sink.Cleared, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cleared = before
	var out sink.Cleared
	for id := range d.docs {
		if d.version[id] < before {
			delete(d.docs, id)
			out.Deleted++
		} else {
			out.Highest = max(out.Highest, d.version[id])
		}
	}
	return out, nil
}

func (d *destination) Close() error { return nil }

type keeper struct{ refusals []sink.Refusal }

func (k *keeper) SetAside(_ context.Context, r []sink.Refusal) error {
	k.refusals = append(k.refusals, r...)
	return nil
}

const epoch = 3

func version(n uint64) event.Version { return event.NewVersion(epoch, event.FirstCount+n) }

type bench struct {
	server *server
	dest   *destination
	keeper *keeper
	newest uint64
	reader *snapshot.Reader
}

func newBench(rows int) *bench {
	b := &bench{server: &server{rows: map[int64]string{}}, dest: &destination{docs: map[string]string{}, version: map[string]event.Version{}}, keeper: &keeper{}, newest: 10}
	for id := range rows {
		b.server.rows[int64(id+1)] = "row"
	}
	b.reader = &snapshot.Reader{Selector: b.server, Table: table, Columns: []int{0, 1}, Mapper: mapper{}, Sink: b.dest,
		Begin: func() error { return nil },
		Boundary: func() (event.Position, error) {
			return event.Position{Epoch: epoch, Count: event.FirstCount + b.newest, GTIDs: "set"}, nil
		},
		Newest: func() (event.Version, bool) { return version(b.newest), true },
		Keeper: b.keeper, Gate: sink.NewGate(), Limits: sink.Limits{BulkBytes: 1 << 20, BulkDocs: 1000, InFlight: 3}, Log: hclog.NewNullLogger()}
	return b
}

func keep(*testing.T) func(context.Context, snapshot.Progress) error {
	return func(context.Context, snapshot.Progress) error { return nil }
}

func TestLoadWritesEveryRowOnceAndSweeps(t *testing.T) {
	const rows = 2*snapshot.ChunkRows + 7
	b := newBench(rows)
	b.dest.docs["orphan"], b.dest.version["orphan"] = "old", 5
	var last snapshot.Progress
	err := b.reader.Load(t.Context(), snapshot.Progress{}, func(_ context.Context, p snapshot.Progress) error {
		last = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.dest.docs) != rows || b.dest.docs["orphan"] != "" {
		t.Errorf("%d documents, want %d and no orphan", len(b.dest.docs), rows)
	}
	if last.Rows != rows || last.Swept != 1 || last.First != version(10) || b.dest.cleared != version(10) {
		t.Errorf("progress %+v, swept below %s", last, b.dest.cleared)
	}
	for _, w := range b.server.waited {
		if w != "set" {
			t.Error("a SELECT did not wait for the transactions that its ordinal covers")
		}
	}
}

// TestLoadReadsNothingBelowItsFirstOrdinal: a stream that begins again at an earlier place while the load is under way has a lower newest
// ordinal for a while. What was written at it would be swept with the documents of no row.
func TestLoadReadsNothingBelowItsFirstOrdinal(t *testing.T) {
	const rows = snapshot.ChunkRows + 7
	for _, c := range []struct {
		name string
		from snapshot.Progress
		ends []uint64 // that the stream has reached, one after the other
	}{
		{"in one run", snapshot.Progress{}, []uint64{10, 7, 9, 10}},
		{"in a run that goes on", snapshot.Progress{First: version(10), LastKey: []string{"500"}}, []uint64{8, 9, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(rows)
				for id := range 500 * len(c.from.LastKey) {
					b.dest.docs[fmt.Sprint(id+1)], b.dest.version[fmt.Sprint(id+1)] = "row", version(10)
				}
				b.dest.docs["orphan"], b.dest.version["orphan"] = "old", version(9)
				asked := 0
				b.reader.Boundary = func() (event.Position, error) {
					n := c.ends[min(asked, len(c.ends)-1)]
					asked++
					return event.Position{Epoch: epoch, Count: event.FirstCount + n, GTIDs: "set"}, nil
				}
				if err := b.reader.Load(t.Context(), c.from, keep(t)); err != nil {
					t.Fatal(err)
				}
				if asked < len(c.ends) || len(b.dest.docs) != rows || b.dest.docs["orphan"] != "" {
					t.Errorf("%d documents, asked %d times; want %d, no orphan, and %d at least", len(b.dest.docs), asked, rows, len(c.ends))
				}
			})
		})
	}
}

// TestLoadOfAPartSweepsNothing: a document of a row that the part leaves out looks as one of no row does.
func TestLoadOfAPartSweepsNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		floor uint64 // the count below which the stream has deleted all documents meanwhile
		want  []string
	}{
		{"as it is", 0, []string{"1", "2", "other", "orphan"}},
		{"the table was emptied", 7, []string{"1", "2", "other"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(2)
			b.dest.docs["orphan"], b.dest.version["orphan"] = "old", 5
			b.dest.docs["other"], b.dest.version["other"] = "old", version(8)
			b.reader.Part = snapshot.Part{Where: "`u`.`n` > 1", Called: "u"}
			if c.floor > 0 {
				b.reader.Floor = func() event.Version { return version(c.floor) }
			}
			var last snapshot.Progress
			err := b.reader.Load(t.Context(), snapshot.Progress{}, func(_ context.Context, p snapshot.Progress) error {
				last = p
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(b.dest.docs)); !slices.Equal(got, slices.Sorted(slices.Values(c.want))) {
				t.Errorf("documents %q, want %q", got, c.want)
			}
			if last.Rows != 2 || !last.Sweeping {
				t.Errorf("progress %+v", last)
			}
			if query := b.server.queries[0]; !strings.Contains(query, "FROM `shop`.`user` AS `u` WHERE (`u`.`n` > 1) ORDER BY") {
				t.Errorf("asked %s", query)
			}
		})
	}
}

// TestLoadOfFewRowsAtOnce: no SELECT and no request to the destination has more.
func TestLoadOfFewRowsAtOnce(t *testing.T) {
	b := newBench(25)
	b.reader.Rows = 7
	most := &counting{destination: b.dest}
	b.reader.Sink = most
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	if len(b.dest.docs) != 25 || most.most != 7 || len(b.server.queries) != 4 {
		t.Errorf("%d documents, at most %d in a request, %d SELECTs; want 25, 7 and 4", len(b.dest.docs), most.most, len(b.server.queries))
	}
	for _, query := range b.server.queries {
		if !strings.HasSuffix(query, "LIMIT 7") {
			t.Errorf("asked %s", query)
		}
	}
}

// counting is a destination that notes the size of the largest request.
type counting struct {
	*destination
	most int
}

func (d *counting) Write(ctx context.Context, changes []mapping.Change) error {
	d.mu.Lock()
	d.most = max(d.most, len(changes))
	d.mu.Unlock()
	return d.destination.Write(ctx, changes)
}

// slowStart is a destination that writes the first document only when it is released.
type slowStart struct {
	*destination
	release chan struct{}
}

func (d *slowStart) Write(ctx context.Context, changes []mapping.Change) error {
	if changes[0].ID == "1" {
		<-d.release
	}
	return d.destination.Write(ctx, changes)
}

func TestLoadSavesInOrderWhileChunksAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(3 * snapshot.ChunkRows)
		slow := &slowStart{destination: b.dest, release: make(chan struct{})}
		b.reader.Sink = slow
		var saved []uint64
		done := make(chan error, 1)
		go func() {
			done <- b.reader.Load(t.Context(), snapshot.Progress{}, func(_ context.Context, p snapshot.Progress) error {
				saved = append(saved, p.Rows)
				return nil
			})
		}()
		synctest.Wait()
		b.dest.mu.Lock()
		written := len(b.dest.docs)
		b.dest.mu.Unlock()
		if written == 0 || len(saved) > 0 {
			t.Errorf("%d documents written and %d times saved before the first chunk is; want some and none", written, len(saved))
		}
		close(slow.release)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(saved) || saved[len(saved)-1] != 3*snapshot.ChunkRows || len(b.dest.docs) != 3*snapshot.ChunkRows {
			t.Errorf("saved %v, %d documents", saved, len(b.dest.docs))
		}
	})
}

// scales is a destination that takes its time and notes how much is on its way to it at once.
type scales struct {
	*destination
	now, most int
}

func (d *scales) Write(ctx context.Context, changes []mapping.Change) error {
	size := 0
	for _, c := range changes {
		size += len(c.Body)
	}
	d.mu.Lock()
	d.now += size
	d.most = max(d.most, d.now)
	d.mu.Unlock()
	time.Sleep(time.Second) // virtual
	d.mu.Lock()
	d.now -= size
	d.mu.Unlock()
	return d.destination.Write(ctx, changes)
}

// TestHugeRowsAreWrittenFewAtATime: nobody knows how large the next rows are when a SELECT is made.
func TestHugeRowsAreWrittenFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(0)
		huge := strings.Repeat("x", 12<<20)
		const rows = 6
		for id := range int64(rows) {
			b.server.rows[id+1] = huge
		}
		dest := &scales{destination: b.dest}
		b.reader.Sink = dest
		var last snapshot.Progress
		err := b.reader.Load(t.Context(), snapshot.Progress{}, func(_ context.Context, p snapshot.Progress) error {
			last = p
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(b.dest.docs) != rows || last.Rows != rows {
			t.Errorf("%d documents, %d rows counted, want %d", len(b.dest.docs), last.Rows, rows)
		}
		if dest.most > 16<<20 {
			t.Errorf("%d MiB on their way at once", dest.most>>20)
		}
	})
}

func TestLargeRowsMakeSmallChunks(t *testing.T) {
	b := newBench(0)
	for id := range int64(1200) {
		b.server.rows[id+1] = strings.Repeat("x", 40<<10)
	}
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	for _, query := range b.server.queries[1:] {
		if rows := number(limit, query, 0); rows < 50 || rows > 110 { // 4 MiB
			t.Errorf("a chunk of %d rows of 40 KiB", rows)
		}
	}
	if len(b.dest.docs) != 1200 || len(b.server.queries) < 7 {
		t.Errorf("%d documents by %d queries", len(b.dest.docs), len(b.server.queries))
	}
}

func TestLoadGoesOnWhereItWas(t *testing.T) {
	b := newBench(20)
	p := snapshot.Progress{First: version(2), LastKey: []string{"15"}, Rows: 15}
	if err := b.reader.Load(t.Context(), p, keep(t)); err != nil {
		t.Fatal(err)
	}
	if len(b.dest.docs) != 5 || b.dest.docs["16"] == "" || b.dest.cleared != version(2) {
		t.Errorf("wrote %d documents, swept below %s; want 16 to 20 and the first run's ordinal", len(b.dest.docs), b.dest.cleared)
	}
}

func TestLoadReadsAgainWhatBecameTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(3)
		calls := 0
		b.dest.fail = func() error {
			if calls++; calls == 1 {
				time.Sleep(time.Minute) // the destination does not answer; meanwhile row 2 is deleted
				b.server.mu.Lock()
				delete(b.server.rows, 2)
				b.server.mu.Unlock()
				b.newest = 20
				return errors.New("timeout")
			}
			return nil
		}
		if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
			t.Fatal(err)
		}
		if _, there := b.dest.docs["2"]; there || len(b.dest.docs) != 2 {
			t.Errorf("documents %v: a deleted row came back", b.dest.docs)
		}
		if b.dest.version["1"] != version(20) {
			t.Errorf("written at %s, want the ordinal of the second reading", b.dest.version["1"])
		}
	})
}

// TestSweepWaitsForWhatMayStillArrive: the table is emptied after its row was sent, and the row arrives long after its sender gave up.
func TestSweepWaitsForWhatMayStillArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(1)
		old, sent := version(10), false
		b.dest.fail = func() error {
			if sent {
				return nil
			}
			sent = true
			time.AfterFunc(snapshot.StragglerTime-time.Second, func() {
				b.dest.mu.Lock()
				defer b.dest.mu.Unlock()
				b.dest.docs["1"], b.dest.version["1"] = "row", old
			})
			b.server.mu.Lock()
			defer b.server.mu.Unlock()
			clear(b.server.rows)
			b.newest = 20
			return errors.New("timeout")
		}
		b.reader.Floor = func() event.Version { return version(20) }
		if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(snapshot.StragglerTime)
		if len(b.dest.docs) > 0 {
			t.Errorf("documents %v of an empty table", b.dest.docs)
		}
	})
}

// A busy destination answers the first bulk after a minute, that it has taken nothing of it yet.
type busy struct {
	*destination
	meanwhile func()
}

func (b *busy) Write(ctx context.Context, changes []mapping.Change) error {
	if b.meanwhile == nil {
		return b.destination.Write(ctx, changes)
	}
	time.Sleep(time.Minute)
	b.meanwhile()
	b.meanwhile = nil
	return &sink.PartialError{Retry: changes, Cause: errors.New("429")}
}

// What an item that is tried again holds gets old, too.
func TestLoadReadsAgainWhatWasTriedForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(3)
		b.reader.Sink = &busy{b.dest, func() {
			b.server.mu.Lock()
			defer b.server.mu.Unlock()
			delete(b.server.rows, 2)
			b.newest = 20
		}}
		if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
			t.Fatal(err)
		}
		if _, there := b.dest.docs["2"]; there || len(b.dest.docs) != 2 {
			t.Errorf("documents %v: a deleted row came back", b.dest.docs)
		}
	})
}

// A slow server's stream goes on while it gives its rows.
type slow struct {
	*server
	goesOn func()
}

func (s slow) Select(ctx context.Context, at event.Position, query string, columns []event.Column, row func([]any) error) error {
	defer s.goesOn()
	return s.server.Select(ctx, at, query, columns, row)
}

func TestRowsHaveTheOrdinalFromBeforeTheyWereRead(t *testing.T) {
	b := newBench(1)
	b.reader.Selector = slow{b.server, func() { b.newest = 20 }}
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	if got := b.dest.version["1"]; got != version(10) {
		t.Errorf("written at %s, want %s: the row may have changed after that", got, version(10))
	}
}

func TestLoadLeavesWhatTheStreamWrote(t *testing.T) {
	b := newBench(2)
	b.newest = 30
	b.dest.docs["1"], b.dest.version["1"] = "newer", version(25)
	b.reader.Boundary = func() (event.Position, error) {
		return event.Position{Epoch: epoch, Count: event.FirstCount + 20}, nil
	}
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	if b.dest.docs["1"] != "newer" || b.dest.docs["2"] != "row" || len(b.keeper.refusals) != 0 {
		t.Errorf("documents %v, set aside %v", b.dest.docs, b.keeper.refusals)
	}
}

func TestLoadMeetsAnEarlierLife(t *testing.T) {
	b := newBench(2)
	b.dest.docs["1"], b.dest.version["1"] = "earlier", version(5000)
	err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t))
	var higher *snapshot.HigherError
	if !errors.As(err, &higher) || higher.Version != version(5000) {
		t.Errorf("got %v, want a HigherError with the version", err)
	}
}

func TestSweepMeetsAnEarlierLife(t *testing.T) {
	b := newBench(2)
	b.dest.docs["orphan"], b.dest.version["orphan"] = "of a row that is gone", version(5000)
	err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t))
	var higher *snapshot.HigherError
	if !errors.As(err, &higher) || higher.Version != version(5000) {
		t.Errorf("got %v, want a HigherError with the orphan's version", err)
	}
}

func TestLoadSetsForeignVersionsAside(t *testing.T) {
	b := newBench(2)
	b.dest.docs["1"], b.dest.version["1"] = "foreign", 1<<62
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	if len(b.keeper.refusals) != 1 || b.keeper.refusals[0].Document != "1" || b.keeper.refusals[0].Foreign != 1<<62 {
		t.Errorf("set aside: %+v", b.keeper.refusals)
	}
}

func TestRenderWritesTheRowAsItIsNow(t *testing.T) {
	b := newBench(3)
	b.dest.docs["9"] = "of a row that is gone"
	if err := b.reader.Render(t.Context(), "i", "2", nil, []string{"2"}); err != nil {
		t.Fatal(err)
	}
	if err := b.reader.Render(t.Context(), "i", "9", nil, []string{"9"}); err != nil {
		t.Fatal(err)
	}
	if b.dest.docs["2"] != "row" || len(b.dest.docs) != 1 {
		t.Errorf("documents: %v", b.dest.docs)
	}
}

func TestLoadRefusesATableWithoutKey(t *testing.T) {
	b := newBench(1)
	b.reader.Table = &event.Table{Name: table.Name, Columns: table.Columns}
	var stop *event.StopError
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); !errors.As(err, &stop) || !strings.Contains(err.Error(), "primary key") {
		t.Errorf("got %v, want a StopError about the key", err)
	}
}

func TestKeyLiterals(t *testing.T) {
	for _, c := range []struct {
		column event.Column
		value  any
		want   string
	}{
		{event.Column{Type: event.BigInt, Unsigned: true}, uint64(1 << 63), "9223372036854775808"},
		{event.Column{Type: event.TinyInt}, int8(-3), "-3"},
		{event.Column{Type: event.Char}, `a'b`, "_utf8mb4 X'612762'"},
		{event.Column{Type: event.Binary}, []byte{0, 255}, "X'00ff'"},
		{event.Column{Type: event.Char, Charset: "cp932"}, "中", "_utf8mb4 X'e4b8ad'"},
		{event.Column{Type: event.Char, Charset: "gbk"}, []byte("\xa2\xab"), "_gbk X'a2ab'"},
		{event.Column{Type: event.Decimal}, "1.50", "1.50"},
		{event.Column{Type: event.Date}, "2024-02-29", "'2024-02-29'"},
		{event.Column{Type: event.Enum, Labels: []string{"a", "b"}}, "b", "2"},
		{event.Column{Type: event.Set, Labels: []string{"a", "b", "c"}}, "a,c", "5"},
	} {
		one := &event.Table{Columns: []event.Column{c.column}, Key: []int{0}}
		got, err := snapshot.Key(one, []any{c.value})
		if err != nil || got[0] != c.want {
			t.Errorf("%s %v: got %v, %v, want %s", c.column.Type, c.value, got, err, c.want)
		}
	}
}

// TestKeyOfTwoCodes: the server would look for the character's other code, in another place of the key's order.
func TestKeyOfTwoCodes(t *testing.T) {
	one := &event.Table{Columns: []event.Column{{Name: "k", Type: event.Char, Charset: "cp932"}}, Key: []int{0}}
	var stop *event.StopError
	if got, err := snapshot.Key(one, []any{"\u2252"}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "column k has a character that its character set cp932 has twice") {
		t.Errorf("got %v, %v, want a StopError", got, err)
	}
}

// TestColumnsInAnyOrder reads a table of which the mapping needs all columns but the key, which is read behind them.
func TestColumnsInAnyOrder(t *testing.T) {
	b := newBench(0)
	b.reader.Columns, b.reader.Selector = []int{1, 0}, swapped{}
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil || b.dest.docs["1"] != "row" {
		t.Errorf("got %v, %v", b.dest.docs, err)
	}
}

// swapped gives one row, its columns as they are asked for.
type swapped struct{}

func (swapped) Select(_ context.Context, _ event.Position, _ string, columns []event.Column, row func([]any) error) error {
	if columns[0].Name != "name" {
		return fmt.Errorf("asked for %v", columns)
	}
	return row([]any{"row", int64(1)})
}
