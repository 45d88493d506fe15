// Package cursor reads and writes the JSON in which canal keeps, in ZooKeeper and in meta.dat, how far a client has come.
//
// It is written as canal 1.1.7 and later write it, and those before 1.1.6 (reader's rule: "@type" must be the first key):
//
//	{"@type":"com.alibaba.otter.canal.protocol.position.LogPosition",
//	 "identity":{"slaveId":-1,"sourceAddress":{"address":HOST,"port":PORT}},
//	 "postion":{"gtid":"","included":false,"journalName":FILE,"position":OFFSET,"serverId":ID,"timestamp":MS}}
//
// "postion" is spelt so in every version. Read are, beside that, the form of 1.1.6, which has "@type" in every object and further
// keys in sourceAddress, and that of meta.dat, which has none; keys in any order, null and unknown keys.
package cursor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// maxSize bounds what is read, in bytes; a GTID set can have many kilobytes.
const maxSize = 1 << 20

// positionType is the Java class whose JSON this is.
const positionType = "com.alibaba.otter.canal.protocol.position.LogPosition"

// A Cursor is a place in a server's binary log.
type Cursor struct {
	Host     string // of the server, as the Java servers are told it
	Port     int
	File     string
	Offset   uint64    // of an event of the transaction that was acknowledged last, or behind it
	Time     time.Time // of that event, in whole seconds; zero when it is not known
	ServerID uint32    // of that event; 0 when it is not known
	GTIDs    string    // executed set; "" without GTID mode
	Included bool      // the event at Offset was not acknowledged
}

// ErrMalformed means bytes that no version of canal writes.
var ErrMalformed = errors.New("malformed cursor")

type logPosition struct {
	Type     string    `json:"@type,omitempty"`
	Identity *identity `json:"identity"`
	Position *position `json:"postion"`
}

type identity struct {
	SlaveID int64    `json:"slaveId"`
	Source  *address `json:"sourceAddress,omitempty"`
}

type address struct {
	Host string `json:"address"`
	Port int    `json:"port"`
}

type position struct {
	GTIDs     string  `json:"gtid"`
	Included  bool    `json:"included"`
	File      string  `json:"journalName"`
	Offset    *int64  `json:"position"`
	ServerID  *uint32 `json:"serverId,omitempty"`
	Timestamp *int64  `json:"timestamp,omitempty"` // ms
}

// Parse reads a cursor. Its error is ErrMalformed. A cursor without a file has a time or a GTID set.
func Parse(data []byte) (Cursor, error) {
	if len(data) > maxSize {
		return Cursor{}, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(data), maxSize)
	}
	var p logPosition
	if err := json.Unmarshal(data, &p); err != nil {
		return Cursor{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case p.Type != "" && p.Type != positionType:
		return Cursor{}, fmt.Errorf("%w: it is a %.100q", ErrMalformed, p.Type)
	case p.Position == nil:
		return Cursor{}, fmt.Errorf("%w: it has no \"postion\"", ErrMalformed)
	}
	c := Cursor{File: p.Position.File, GTIDs: p.Position.GTIDs, Included: p.Position.Included}
	if p.Identity != nil && p.Identity.Source != nil {
		c.Host, c.Port = p.Identity.Source.Host, p.Identity.Source.Port
	}
	if p.Position.Offset != nil {
		if *p.Position.Offset < 0 {
			return Cursor{}, fmt.Errorf("%w: offset %d", ErrMalformed, *p.Position.Offset)
		}
		c.Offset = uint64(*p.Position.Offset)
	}
	if p.Position.ServerID != nil {
		c.ServerID = *p.Position.ServerID
	}
	if ms := p.Position.Timestamp; ms != nil && *ms >= 1000 {
		c.Time = time.UnixMilli(*ms).UTC()
	}
	if c.File == "" && c.GTIDs == "" && c.Time.IsZero() {
		return Cursor{}, fmt.Errorf("%w: it has neither file nor time", ErrMalformed)
	}
	return c, nil
}

// Encode writes a cursor, byte for byte as canal does.
func (c Cursor) Encode() []byte {
	offset := int64(c.Offset)
	p := logPosition{Type: positionType, Identity: &identity{SlaveID: -1, Source: &address{Host: c.Host, Port: c.Port}},
		Position: &position{GTIDs: c.GTIDs, Included: c.Included, File: c.File, Offset: &offset}}
	if c.ServerID != 0 {
		p.Position.ServerID = &c.ServerID
	}
	if !c.Time.IsZero() {
		ms := c.Time.Truncate(time.Second).UnixMilli()
		p.Position.Timestamp = &ms
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		panic(fmt.Sprintf("encode a cursor: %v", err)) // of strings and numbers
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
