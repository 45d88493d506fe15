package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"canalgo/cluster"
	"canalgo/folder"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

const (
	databaseName = "raft.db"
	// snapshotsKept is how many snapshots stay on disk.
	snapshotsKept = 2
	// logsCached is how many entries stay in memory: bolt need not be asked for what was written a moment ago.
	logsCached = 256
)

// keyTerm is where Raft keeps its term in the stable store.
var keyTerm = []byte("CurrentTerm")

// A Disk keeps Raft's log, term and vote. What it has returned nil for is there after a crash. A key that it does not have is an
// error with the text "not found".
type Disk interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// A store keeps Raft's log, term and vote on a disk: one bolt file. Each entry carries a checksum in its Extensions, because
// bolt's pages have none.
type store struct {
	Disk
	fail func(error) // told when the disk refuses
}

// IsMonotonic is part of raft.MonotonicLogStore. Behind a snapshot that it was sent, Raft would else leave old entries and a gap, which at
// the next start looks like damage.
func (s *store) IsMonotonic() bool { return true }

func openStore(path string) (*store, error) {
	db, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{
		Timeout:      time.Second,
		FreelistType: bbolt.FreelistMapType,
	}})
	if err != nil {
		return nil, err
	}
	return &store{Disk: db}, nil
}

// checkPages reads every page of the bolt file at path. Bolt trusts its file, and would panic, or write over what it
// needs, when a page is not what it was.
func checkPages(path string) error {
	return guard(func() (err error) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return db.View(func(tx *bbolt.Tx) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if info.Size() < tx.Size() {
				return fmt.Errorf("it has %d bytes, should have %d", info.Size(), tx.Size())
			}
			// First here, where a fault can be caught: Check reads in a goroutine of its own.
			if err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
				return b.ForEach(func(_, _ []byte) error { return nil })
			}); err != nil {
				return err
			}
			var first error
			for err := range tx.Check() { // to its end, or its goroutine stays
				if first == nil {
					first = err
				}
			}
			return first
		})
	})
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers what Raft decides by.
func checksum(entry *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64(nil, entry.Index)
	head = binary.BigEndian.AppendUint64(head, entry.Term)
	head = append(head, byte(entry.Type))
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, entry.Data)
	return binary.BigEndian.AppendUint32(nil, sum)
}

// StoreLog writes one entry.
func (s *store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs writes entries and returns when they are on disk.
func (s *store) StoreLogs(entries []*raft.Log) error {
	sealed := make([]*raft.Log, len(entries))
	for i, entry := range entries {
		e := *entry
		e.Extensions = checksum(entry)
		sealed[i] = &e
	}
	if err := s.Disk.StoreLogs(sealed); err != nil {
		s.failed(err)
		return err
	}
	return nil
}

// GetLog reads an entry.
func (s *store) GetLog(index uint64, entry *raft.Log) error {
	if err := s.Disk.GetLog(index, entry); err != nil {
		return err
	}
	if entry.Index != index || string(entry.Extensions) != string(checksum(entry)) {
		return fmt.Errorf("log entry %d: wrong checksum", index)
	}
	return nil
}

// Set writes a key. When the disk refuses, it ends the goroutine that asked: Raft would panic, and take the process with
// it before anybody could say why. Raft's goroutines are made to be ended by their deferred calls.
func (s *store) Set(key, value []byte) error {
	err := s.Disk.Set(key, value)
	if err != nil && s.fail != nil {
		s.failed(err)
		runtime.Goexit()
	}
	return err
}

// SetUint64 writes a number, as Set does.
func (s *store) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

func (s *store) failed(err error) {
	if s.fail != nil {
		s.fail(err)
	}
}

// verify reads the whole file and the snapshots before Raft does, which panics on what it cannot read. It returns the
// newest configuration, which is empty only in a folder that joined and has not heard of a leader yet.
func verify(f *folder.Folder, s *store, snapshots raft.SnapshotStore, joined bool) (raft.Configuration, error) {
	restored, err := newestSnapshot(f, snapshots)
	if err != nil {
		return raft.Configuration{}, err
	}
	configuration := restored.Configuration
	damaged := func(err error) error {
		return fmt.Errorf("data folder %s: %s is damaged: %w; put back a copy of the whole folder, or wipe it", f.Path, databaseName, err)
	}
	if err := guard(func() error {
		first, err := s.FirstIndex()
		if err != nil {
			return err
		}
		last, err := s.LastIndex()
		if err != nil {
			return err
		}
		if last == 0 && restored.Index == 0 {
			if joined {
				return nil
			}
			return errors.New("no entries")
		}
		if term, err := s.GetUint64(keyTerm); err != nil || term == 0 {
			return errors.Join(errors.New("no term"), err)
		}
		if last > 0 && first > restored.Index+1 {
			return fmt.Errorf("entries %d to %d are missing: the log begins at %d, the newest readable snapshot ends at %d",
				restored.Index+1, first-1, first, restored.Index)
		}
		for i := first; i <= last && last > 0; i++ {
			var entry raft.Log
			if err := s.GetLog(i, &entry); err != nil {
				return err
			}
			if entry.Type == raft.LogConfiguration && i > restored.ConfigurationIndex {
				configuration = raft.DecodeConfiguration(entry.Data)
			}
		}
		return nil
	}); err != nil {
		return raft.Configuration{}, damaged(err)
	}
	return configuration, nil
}

// newestSnapshot finds the newest snapshot that can be restored, the zero SnapshotMeta when there is none. One that a
// newer canalgo wrote is an error: an older one would be restored in its place.
func newestSnapshot(f *folder.Folder, snapshots raft.SnapshotStore) (raft.SnapshotMeta, error) {
	all, err := snapshots.List()
	if err != nil {
		return raft.SnapshotMeta{}, folder.Explain(f.Path, err)
	}
	for _, m := range all {
		err := func() error {
			_, r, err := snapshots.Open(m.ID)
			if err != nil {
				return err
			}
			defer r.Close()
			data, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			_, err = decodeSnapshot(data)
			return err
		}()
		if err == nil {
			return *m, nil
		}
		if errors.Is(err, cluster.ErrNewerVersion) {
			return raft.SnapshotMeta{}, fmt.Errorf("data folder %s: snapshots/%s: %w", f.Path, m.ID, err)
		}
	}
	if len(all) > 0 {
		return raft.SnapshotMeta{}, fmt.Errorf("data folder %s: no snapshot in snapshots/ can be read (the newest is %s); put back a copy of the whole folder, or wipe it", f.Path, all[0].ID)
	}
	return raft.SnapshotMeta{}, nil
}

// guard turns a panic into an error, also that of reading a mapped file behind its end. The caller of damaged files
// wants a name, not a stack.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return f()
}

// createLog makes a log that begins a cluster of this node alone, or an empty one to join with. The file gets its name
// when it is whole, so that one with that name never has to be begun.
func createLog(f *folder.Folder, conf *raft.Config, address raft.ServerAddress, join bool) error {
	temporary := f.File(databaseName + ".new")
	if err := os.RemoveAll(temporary); err != nil {
		return folder.Explain(f.Path, err)
	}
	s, err := openStore(temporary)
	if err != nil {
		return folder.Explain(f.Path, err)
	}
	if !join {
		err = bootstrap(s, conf, address)
	}
	if closed := s.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return folder.Explain(f.Path, err)
	}
	return f.Rename(databaseName)
}

// bootstrap begins a cluster of this node alone in an empty log.
func bootstrap(s *store, conf *raft.Config, address raft.ServerAddress) error {
	servers := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: conf.LocalID, Address: address}}}
	return raft.BootstrapCluster(conf, s, s, raft.NewDiscardSnapshotStore(), nil, servers)
}

// A quiet logger gives Raft's own story at debug: a node says itself what of it matters.
type quiet struct{ hclog.Logger }

func (q quiet) Info(msg string, args ...any)            { q.Debug(msg, args...) }
func (q quiet) Warn(msg string, args ...any)            { q.Debug(msg, args...) }
func (q quiet) With(args ...any) hclog.Logger           { return quiet{q.Logger.With(args...)} }
func (q quiet) Named(name string) hclog.Logger          { return quiet{q.Logger.Named(name)} }
func (q quiet) ResetNamed(name string) hclog.Logger     { return quiet{q.Logger.ResetNamed(name)} }
func (q quiet) Log(l hclog.Level, msg string, a ...any) { q.Logger.Log(min(l, hclog.Debug), msg, a...) }

// Error is part of hclog.Logger. What Raft cannot send to another node it says many times a second.
func (q quiet) Error(msg string, args ...any) {
	if len(args) > 0 && (args[0] == "peer" || args[0] == "target") {
		q.Debug(msg, args...)
		return
	}
	q.Logger.Warn(msg, args...)
}

// A silent logger gives all at debug.
type silent struct{ quiet }

// Error is part of hclog.Logger.
func (s silent) Error(msg string, args ...any) { s.Debug(msg, args...) }
