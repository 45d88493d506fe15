package sim

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// A disk keeps one node's Raft log in memory. What was written is there after a crash; a copy is what a crash leaves.
type disk struct {
	mu      sync.Mutex
	first   uint64 // index of entries[0]
	entries []raft.Log
	keys    map[string][]byte
}

func newDisk() *disk { return &disk{keys: make(map[string][]byte)} }

// copy returns what is on the disk at this moment.
func (d *disk) copy() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &disk{first: d.first, entries: slices.Clone(d.entries), keys: maps.Clone(d.keys)}
}

// FirstIndex is part of raft.LogStore.
func (d *disk) FirstIndex() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) == 0 {
		return 0, nil
	}
	return d.first, nil
}

// LastIndex is part of raft.LogStore.
func (d *disk) LastIndex() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) == 0 {
		return 0, nil
	}
	return d.first + uint64(len(d.entries)) - 1, nil
}

// GetLog is part of raft.LogStore.
func (d *disk) GetLog(index uint64, entry *raft.Log) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if index < d.first || index >= d.first+uint64(len(d.entries)) {
		return raft.ErrLogNotFound
	}
	*entry = d.entries[index-d.first]
	return nil
}

// StoreLog is part of raft.LogStore.
func (d *disk) StoreLog(entry *raft.Log) error { return d.StoreLogs([]*raft.Log{entry}) }

// StoreLogs is part of raft.LogStore.
func (d *disk) StoreLogs(entries []*raft.Log) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range entries {
		if len(d.entries) == 0 {
			d.first = e.Index
		}
		at := e.Index - d.first
		if e.Index < d.first || at > uint64(len(d.entries)) {
			return errors.New("a gap in the log")
		}
		d.entries = append(d.entries[:at], *e)
	}
	return nil
}

// DeleteRange is part of raft.LogStore.
func (d *disk) DeleteRange(from, to uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.first + uint64(len(d.entries)) - 1
	switch {
	case len(d.entries) == 0 || to < d.first || from > last:
	case from <= d.first:
		n := min(to, last) - d.first + 1
		d.entries, d.first = slices.Clone(d.entries[n:]), d.first+n
	case to >= last:
		d.entries = d.entries[:from-d.first]
	default:
		return errors.New("a hole in the log")
	}
	return nil
}

// errNoKey has the text that Raft looks for.
var errNoKey = errors.New("not found")

// Set is part of raft.StableStore.
func (d *disk) Set(key, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[string(key)] = slices.Clone(value)
	return nil
}

// Get is part of raft.StableStore.
func (d *disk) Get(key []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	value, ok := d.keys[string(key)]
	if !ok {
		return nil, errNoKey
	}
	return value, nil
}

// SetUint64 is part of raft.StableStore.
func (d *disk) SetUint64(key []byte, value uint64) error {
	return d.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 is part of raft.StableStore.
func (d *disk) GetUint64(key []byte) (uint64, error) {
	value, err := d.Get(key)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}

// Close is part of raftfsm.Disk.
func (d *disk) Close() error { return nil }
