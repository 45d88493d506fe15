package sim

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"canalgo/event"
	"canalgo/node"
)

// gtidSource is the UUID in all GTIDs, which every server of a group has executed.
var gtidSource = uuid.MustParse("3e11fa47-71ca-11e1-9e33-c80aa9429562")

// A mysql is the server at the source's address, which can be replaced by another one with the same transactions.
type mysql struct {
	*ledger
	net    *network
	oracle *oracle

	mu       sync.Mutex
	server   int                      // which one answers
	dumps    map[string]chan struct{} // closed when another dump of that name begins, or the connection breaks
	stalled  int                      // faults that make it send nothing, although it answers
	changed  chan struct{}            // closed when stalled or server changes
	pieces   int                      // entries in a piece of a transaction
	fromNow  bool                     // what was committed before the first start is not in the log
	progress map[*host]map[string]*node.SourceProgress
}

func newMySQL(l *ledger, n *network, o *oracle) *mysql {
	return &mysql{ledger: l, net: n, oracle: o, dumps: make(map[string]chan struct{}), changed: make(chan struct{}), pieces: 8,
		progress: make(map[*host]map[string]*node.SourceProgress)}
}

// Each server numbers its files and offsets in its own way.
const (
	perFile  = 500
	txBytes  = 100
	firstTx  = 157
	serverTx = 37 // how many transactions a server has in its log that the one before did not
)

func (m *mysql) name(server int) string { return fmt.Sprintf("server-%d", server) }

// position is where a server's log stands behind its first transactions.
func (m *mysql) position(server, txs int) event.Position {
	at := txs + server*serverTx
	p := event.Position{ServerUUID: m.name(server), File: fmt.Sprintf("binlog.%06d", at/perFile+1), Offset: uint64(firstTx + at%perFile*txBytes)}
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	if txs > 0 {
		p.Time = m.txs[txs-1].committed
	}
	return p
}

// gtids is the set of the first transactions.
func gtids(txs int) string {
	if txs == 0 {
		return ""
	}
	var s event.GTIDSet
	s.Add(event.GTIDRun{First: event.GTID{UUID: gtidSource, N: 1}, Last: int64(txs)})
	return s.String()
}

// executed returns how many transactions a set has, which must be the first ones.
func executed(set string) (int, error) {
	if set == "" {
		return 0, nil
	}
	_, runs, ok := strings.Cut(set, ":")
	if runs == "1" {
		return 1, nil
	}
	txs, err := strconv.Atoi(strings.TrimPrefix(runs, "1-"))
	if !ok || err != nil || !strings.HasPrefix(runs, "1-") {
		return 0, fmt.Errorf("GTID set %q is not that of a place in the log", set)
	}
	return txs, nil
}

// place returns how many transactions lie before a position. One that is not behind a transaction is an error.
func (m *mysql) place(p event.Position) (int, error) {
	if p.File == "" {
		return executed(p.GTIDs)
	}
	server, err := strconv.Atoi(strings.TrimPrefix(p.ServerUUID, "server-"))
	if err != nil {
		return 0, fmt.Errorf("position %s is of server %q", p, p.ServerUUID)
	}
	file, err := strconv.Atoi(strings.TrimPrefix(p.File, "binlog."))
	if err != nil || p.Offset < firstTx || (p.Offset-firstTx)%txBytes != 0 {
		return 0, fmt.Errorf("position %s is not the end of a transaction", p)
	}
	txs := (file-1)*perFile + int(p.Offset-firstTx)/txBytes - server*serverTx
	if txs < 0 || txs > m.end() {
		return 0, fmt.Errorf("position %s is not in the log", p)
	}
	return txs, nil
}

// reset breaks every dump.
func (m *mysql) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, broken := range m.dumps {
		close(broken)
		delete(m.dumps, name)
	}
}

// stall has the server send nothing, or go on when as many as stalled it are over.
func (m *mysql) stall(by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stalled += by
	close(m.changed)
	m.changed = make(chan struct{})
}

// replace has another server answer.
func (m *mysql) replace() {
	m.mu.Lock()
	m.server++
	m.mu.Unlock()
	m.reset()
}
