package oracle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// A writer is one connection's work.
type writer struct {
	w          *Workload
	number     int64
	random     *rand.Rand
	truncating *sync.RWMutex
	conn       *client.Conn // nil while there is none
}

func (o *writer) run(ctx context.Context) error {
	defer o.drop()
	pace := time.NewTicker(o.w.cfg.Pace)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return o.leaveNothingPrepared()
		case <-pace.C:
		}
		if o.conn == nil && o.connect() != nil {
			continue // the server is away
		}
		err := o.work()
		var refused *mysql.MyError
		switch {
		case err == nil:
		case errors.As(err, &refused) && !away[refused.Code]:
			return fmt.Errorf("workload: %w", err)
		default:
			o.drop()
		}
	}
}

// connect opens a connection and ends what an earlier one left prepared.
func (o *writer) connect() error {
	conn, err := o.w.db.Connect()
	if err != nil {
		return err
	}
	o.conn = conn
	_, err = conn.Execute("SET innodb_lock_wait_timeout = 5")
	if err == nil {
		_, err = conn.Execute("SET session_track_gtids = OWN_GTID")
		var refused *mysql.MyError
		if errors.As(err, &refused) && refused.Code == mysql.ER_UNKNOWN_SYSTEM_VARIABLE { // MariaDB tells a session no GTIDs
			err = nil
		}
	}
	if err == nil && o.w.cfg.XA {
		err = o.recover()
	}
	if err != nil {
		o.drop()
	}
	return err
}

func (o *writer) drop() {
	if o.conn != nil {
		o.conn.Close()
		o.conn = nil
	}
}

// errTakeBack asks transaction for a rollback.
var errTakeBack = errors.New("take it back")

// harmless are the errors that several writers give each other.
var harmless = map[uint16]bool{mysql.ER_LOCK_DEADLOCK: true, mysql.ER_LOCK_WAIT_TIMEOUT: true, mysql.ER_DUP_ENTRY: true}

// away are the answers of a server that takes no work for a while: it stops, or is read-only.
var away = map[uint16]bool{mysql.ER_SERVER_SHUTDOWN: true, mysql.ER_OPTION_PREVENTS_STATEMENT: true}

// work does one random transaction.
func (o *writer) work() error {
	if o.w.cfg.Truncates && o.random.IntN(400) == 0 {
		o.truncating.Lock()
		defer o.truncating.Unlock()
		_, err := o.conn.Execute("TRUNCATE TABLE " + o.w.cfg.Table)
		return err
	}
	o.truncating.RLock() // a metadata lock would make them wait for each other anyway, and time out
	defer o.truncating.RUnlock()
	work := func() (int, error) {
		rows := 0
		for budget := o.size(); budget > rows; {
			n, err := o.change(budget - rows)
			if err != nil {
				return 0, err
			}
			rows += n
		}
		if o.random.IntN(30) == 0 {
			return 0, errTakeBack
		}
		return rows, nil
	}
	if o.random.IntN(20) == 0 {
		work = o.transfer
	}
	return o.transaction(o.w.cfg.XA && o.random.IntN(3) == 0, work)
}

// transaction does work in a transaction of its own and tells the ledger what came of it. What writers do to each other, and
// errTakeBack, end in a rollback, which is no error.
func (o *writer) transaction(xa bool, work func() (int, error)) error {
	ledger := o.w.ledger
	first := ledger.begin(o.number)
	outcome, gtid := RolledBack, ""
	defer func() { ledger.end(o.number, outcome, gtid) }()
	verbs := verbs{begin: "BEGIN", commit: "COMMIT", rollback: []string{"ROLLBACK"}}
	if xa {
		verbs = o.xa(first)
	}
	if _, err := o.conn.Execute(verbs.begin); err != nil {
		return err
	}
	rows, err := work()
	var refused *mysql.MyError
	if errors.Is(err, errTakeBack) || errors.As(err, &refused) && harmless[refused.Code] {
		for _, verb := range verbs.rollback {
			_, err = o.conn.Execute(verb)
			if errors.As(err, &refused) { // XA END says that a deadlock has ended it
				err = nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	for _, verb := range verbs.prepare {
		outcome = Unknown
		if _, err := o.conn.Execute(verb); err != nil {
			return err
		}
	}
	outcome = Unknown
	result, err := o.conn.Execute(verbs.commit)
	if err != nil {
		return err
	}
	outcome, gtid = Committed, gtidOf(result)
	o.w.transactions.Add(1)
	o.w.rows.Add(int64(rows))
	return nil
}

func gtidOf(r *mysql.Result) string {
	if r.SessionTracking == nil {
		return ""
	}
	return r.SessionTracking.GTID
}

// size draws how many rows a transaction changes: mostly few, rarely thousands.
func (o *writer) size() int {
	switch d := o.random.IntN(100); {
	case d < 60:
		return 1
	case d < 90:
		return min(o.w.cfg.MaxRows, 1+o.random.IntN(20))
	case d < 98:
		return min(o.w.cfg.MaxRows, 1+o.random.IntN(500))
	}
	return 1 + o.random.IntN(o.w.cfg.MaxRows)
}

// key draws an id, hot or not.
func (o *writer) key() int64 {
	if o.random.IntN(2) == 0 {
		return 1 + o.random.Int64N(o.w.cfg.Hot)
	}
	return 1 + o.random.Int64N(o.w.cfg.Keys)
}

// own draws an id that this writer inserts, deletes and moves.
func (o *writer) own() int64 {
	n := int64(o.w.cfg.Writers)
	k := o.key()
	k -= (k - o.number) % n
	if k < 1 {
		k += n
	}
	return k
}

// change makes one change, of one or a few statements, and returns how many rows it may have changed, at least 1.
func (o *writer) change(budget int) (int, error) {
	n, writers := 1, int64(o.w.cfg.Writers)
	if budget > 20 {
		n = 20 + o.random.IntN(min(1000, budget)-19)
	}
	first := o.own()
	last := first + int64(n-1)*writers
	// The keys of one writer, in their order, so that two large changes seldom wait for each other crosswise.
	mine := fmt.Sprintf("id BETWEEN %d AND %d AND MOD(id, %d) = %d", first, last, writers, first%writers)
	switch d := o.random.IntN(100); {
	case d < 35:
		return n, o.insert(first, last, writers)
	case d < 70 && n == 1:
		return n, o.update("ver = ver + 1, "+o.values(), is(o.key()))
	case d < 70:
		return n, o.update("ver = ver + 1, "+o.values(), mine)
	case d < 80:
		return n, o.execute("DELETE FROM " + o.w.cfg.Table + " WHERE " + mine)
	case d < 85: // each is gone for no time
		if err := o.execute("DELETE FROM " + o.w.cfg.Table + " WHERE " + mine); err != nil {
			return 1, err
		}
		return n, o.insert(first, last, writers)
	case d < 92:
		return 1, o.update(fmt.Sprintf("id = %d, ver = %d, %s", o.own(), o.w.life(), o.values()), is(first))
	case d < 95:
		return 3, o.swap(first, o.own())
	}
	// What a savepoint takes back is not in the log.
	if err := o.execute("SAVEPOINT s"); err != nil {
		return 1, err
	}
	if err := o.update("ver = ver + 1", is(o.key())); err != nil {
		return 1, err
	}
	o.w.ledger.undoLast(o.number) // it never comes to be, whether this connection lives or not
	return 1, o.execute("ROLLBACK TO s")
}

// swap lets two rows change their keys, through a third one.
func (o *writer) swap(a, b int64) error {
	via := aside - o.number
	for _, move := range [][2]int64{{a, via}, {b, a}, {via, b}} {
		if err := o.update(fmt.Sprintf("id = %d, ver = %d", move[1], o.w.life()), is(move[0])); err != nil {
			return err
		}
	}
	return nil
}

// transfer moves money between two accounts of the bank, which is opened by the first who comes.
func (o *writer) transfer() (int, error) {
	from, to := 1+o.random.Int64N(accounts), 1+o.random.Int64N(accounts)
	if from == to {
		return 0, errTakeBack
	}
	amount := fmt.Sprintf("%d.%02d", o.random.IntN(1000), o.random.IntN(100))
	for _, account := range []int64{min(from, to), max(from, to)} {
		sign := "+"
		if account == from {
			sign = "-"
		}
		result, err := o.conn.Execute(o.updateSQL(fmt.Sprintf("ver = ver + 1, bal = bal %s %s", sign, amount), is(-account)))
		if err != nil {
			return 0, err
		}
		if result.AffectedRows == 0 {
			return accounts, o.open()
		}
	}
	return 2, nil
}

func (o *writer) open() error {
	var rows []string
	ver, seq := o.w.life(), o.w.ledger.change(o.number)
	for id := -accounts; id < 0; id++ {
		rows = append(rows, fmt.Sprintf("(%d,%d,%d,%d,0,'account','%d:%d')", id, ver, o.number, seq, o.number, seq))
	}
	return o.execute(fmt.Sprintf("INSERT INTO %s (id, ver, writer, seq, bal, name, txt) VALUES %s", o.w.cfg.Table, strings.Join(rows, ",")))
}

// update runs an update that names its change. A key that is taken is no error: the transaction goes on.
func (o *writer) update(set, where string) error {
	err := o.execute(o.updateSQL(set, where))
	var refused *mysql.MyError
	if errors.As(err, &refused) && refused.Code == mysql.ER_DUP_ENTRY {
		return nil
	}
	return err
}

func is(id int64) string { return fmt.Sprintf("id = %d", id) }

func (o *writer) updateSQL(set, where string) string {
	seq := o.w.ledger.change(o.number)
	return fmt.Sprintf("UPDATE %s SET %s, writer = %d, seq = %d, txt = RIGHT(CONCAT(txt, ',%d:%d'), %d) WHERE %s",
		o.w.cfg.Table, set, o.number, seq, o.number, seq, maxText, where)
}

func (o *writer) execute(statement string) error {
	_, err := o.conn.Execute(statement)
	return err
}

// insert inserts, or replaces by a new version, every step-th id from first to last.
func (o *writer) insert(first, last, step int64) error {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (id, ver, writer, seq, bal, name, note, at, txt) VALUES ", o.w.cfg.Table)
	random, ver, seq := o.random, o.w.life(), o.w.ledger.change(o.number)
	for id := first; id <= last; id += step {
		if id > first {
			b.WriteByte(',')
		}
		at := "NULL"
		if random.IntN(5) > 0 {
			at = fmt.Sprintf("'20%02d-%02d-%02d 12:34:%02d.%03d'", random.IntN(100), 1+random.IntN(12), 1+random.IntN(28), random.IntN(60), random.IntN(1000))
		}
		fmt.Fprintf(&b, "(%d,%d,%d,%d,%d.%02d,%s,%s,%s,'%d:%d')", id, ver, o.number, seq, random.IntN(1_000_000)-500_000, random.IntN(100),
			name(random), note(random), at, o.number, seq)
	}
	fmt.Fprintf(&b, " ON DUPLICATE KEY UPDATE ver = ver + 1, note = VALUES(note), writer = VALUES(writer), seq = VALUES(seq), txt = RIGHT(CONCAT(txt, ',', VALUES(txt)), %d)",
		maxText)
	return o.execute(b.String())
}

// values is what an update sets beside ver.
func (o *writer) values() string {
	return fmt.Sprintf("bal = bal + %d.%02d, name = %s, note = %s", o.random.IntN(200)-100, o.random.IntN(100), name(o.random), note(o.random))
}

var words = []string{"ä", "it's", "中文", "\"quoted\"", "back\\slash", "😀", "tab\there", "", "line\nbreak", "plain", "%_", "\x00\x01"}

func name(random *rand.Rand) string {
	return "'" + mysql.Escape(words[random.IntN(len(words))]+fmt.Sprint(random.IntN(1000))) + "'"
}

func note(random *rand.Rand) string {
	switch random.IntN(4) {
	case 0:
		return "NULL"
	case 1:
		return "''"
	}
	return "'" + mysql.Escape(strings.Repeat(words[random.IntN(len(words))], random.IntN(20))) + "'"
}
