// Package binlog reads the binary log of a MySQL or MariaDB server, and the rows beside it.
//
// It has two halves. A Source follows the log on the leader: it looks at event headers, table maps, GTIDs and the ends of
// transactions, numbers and filters, and hands rows events on as the server sent them. A Decoder turns those into rows
// on the node that writes them. It needs nothing but what is in the events: names, keys, signs, charsets and labels come from
// the table map with binlog_row_metadata=FULL, else from the definition that a feed tells before it.
//
// The same bytes of the log, read again from any transaction boundary by the position that belongs to it, give the same
// versions. Whatever cannot be followed exactly ends in an *event.StopError or in a Statement event that names its tables;
// nothing is guessed and nothing is skipped.
//
// Formats are described in MySQL's source documentation, "Replication Protocol" and "Binary Log Event".
package binlog

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/event"
)

// The errors that say that a position is lost: reading on would leave a hole. Lost knows them all.
var (
	// ErrPurged: the server has deleted what follows the position.
	ErrPurged = errors.New("the server has purged the binary log that is needed")
	// ErrReset: the server's log was reset, or lacks transactions that the position has.
	ErrReset = errors.New("the server's binary log does not contain what was read already")
)

// ServerChangedError says that another server answers than the one whose log the position names.
type ServerChangedError struct{ Was, Now string }

func (e *ServerChangedError) Error() string {
	return fmt.Sprintf("another server answers: server_uuid was %s and is %s", e.Was, e.Now)
}

// ErrServerChanged is what every ServerChangedError is.
var ErrServerChanged = errors.New("another server answers")

// Is makes errors.Is(err, ErrServerChanged) true.
func (e *ServerChangedError) Is(target error) bool { return target == ErrServerChanged }

// Lost reports whether an error of Stream says that the position is lost for good on this server.
func Lost(err error) bool { return errors.Is(err, ErrPurged) || errors.Is(err, ErrReset) }

// A Source is one MySQL server. Its methods are safe for several goroutines; streams of different names may run at once.
type Source struct {
	cfg     Config
	addrs   []string    // the standbys behind the first
	tls     *tls.Config // nil when off
	cluster string
	name    string
	log     hclog.Logger
	filter  func(event.TableName) bool

	mu      sync.Mutex
	at      int       // index of the address that answered last
	missed  time.Time // since when the server that is wanted does not answer
	streams map[string]*progress
}

// New checks the configuration. It opens no connection.
func New(cfg Config, clusterID, name string, log hclog.Logger) (*Source, error) {
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("source %s: %w", name, errors.Join(errs...))
	}
	addrs, err := cfg.addresses()
	if err != nil {
		return nil, fmt.Errorf("source %s: addr: %w", name, err)
	}
	secure, err := cfg.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", name, err)
	}
	filter, err := cfg.Filter()
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", name, err)
	}
	return &Source{cfg: cfg, addrs: addrs, tls: secure, cluster: clusterID, name: name, log: log, filter: filter,
		streams: make(map[string]*progress)}, nil
}

// Address is host:port of the server that answered last, or of the first one.
func (s *Source) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs[s.at]
}
