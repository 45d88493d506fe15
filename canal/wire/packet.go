package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Type says what a packet is.
type Type int32

// The types of packets.
const (
	Handshake            Type = 1
	ClientAuthentication Type = 2
	Ack                  Type = 3
	Subscription         Type = 4
	Unsubscription       Type = 5
	Get                  Type = 6
	Messages             Type = 7
	ClientAck            Type = 8
	Shutdown             Type = 9
	Dump                 Type = 10
	Heartbeat            Type = 11
	ClientRollback       Type = 12
)

var typeNames = [...]string{"PACKAGETYPECOMPATIBLEPROTO2", "HANDSHAKE", "CLIENTAUTHENTICATION", "ACK", "SUBSCRIPTION", "UNSUBSCRIPTION", "GET",
	"MESSAGES", "CLIENTACK", "SHUTDOWN", "DUMP", "HEARTBEAT", "CLIENTROLLBACK"}

// String returns the type's name in the protocol.
func (t Type) String() string {
	if t >= 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "UNRECOGNIZED"
}

// A Packet is what a frame holds.
type Packet struct {
	Version int32 // 1 from a server; clients leave it out
	Type    Type
	Body    []byte // the message that belongs to the type
}

// version is what a server says that it speaks.
const version = 1

func (p Packet) append(b []byte) []byte {
	if p.Version != 0 {
		b = appendNumber(b, 2, int64(p.Version))
	}
	b = appendNumber(b, 3, int64(p.Type))
	return appendBytes(b, 5, p.Body)
}

// errMessage is what every message that cannot be read is.
var errMessage = errors.New("malformed message")

// ParsePacket reads what a frame holds. A packet that is compressed is refused: no client does that.
func ParsePacket(b []byte) (Packet, error) {
	var p Packet
	err := fields(b, func(f field) error {
		switch f.number {
		case 2:
			p.Version = int32(f.value)
		case 3:
			p.Type = Type(f.value)
		case 4:
			if f.value > 1 { // 0 says nothing, 1 says none
				return fmt.Errorf("%w: the packet is compressed", errMessage)
			}
		case 5:
			p.Body = f.bytes
		}
		return nil
	})
	return p, err
}

// A field is one field of a message.
type field struct {
	number protowire.Number
	value  uint64 // of a varint
	bytes  []byte // of what has a length
}

// fields calls take with each field of a message; those of other wire types are passed over.
func fields(b []byte, take func(field) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMessage, protowire.ParseError(n))
		}
		b = b[n:]
		f := field{number: number}
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
			f.number = 0
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errMessage, protowire.ParseError(n))
		}
		b = b[n:]
		if err := take(f); err != nil {
			return err
		}
	}
	return nil
}

func appendNumber(b []byte, number protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
}

func appendBytes(b []byte, number protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
}

// HandshakeFrame is what a server says first: the seed that a password is scrambled with.
func HandshakeFrame(seed []byte) []byte {
	return Frame(Packet{Version: version, Type: Handshake, Body: appendBytes(nil, 2, seed)})
}

// AckFrame answers a request that needs no more than that. Code 0 is success.
func AckFrame(code int32, message string) []byte {
	var body []byte
	if code != 0 {
		body = appendBytes(appendNumber(body, 1, int64(code)), 2, []byte(message))
	}
	return Frame(Packet{Version: version, Type: Ack, Body: body})
}

// MessagesFrame answers a GET, in pieces to be written one after the other: a batch of encoded entries, or none with the id -1.
func MessagesFrame(id int64, entries [][]byte) [][]byte {
	body := appendNumber(nil, 1, id)
	size := len(body)
	heads := make([][]byte, len(entries))
	for i, e := range entries {
		heads[i] = protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.BytesType), uint64(len(e)))
		size += len(heads[i]) + len(e)
	}
	head := appendNumber(make([]byte, frameHead, 64), 3, int64(Messages))
	head = protowire.AppendVarint(protowire.AppendTag(head, 5, protowire.BytesType), uint64(size))
	binary.BigEndian.PutUint32(head, uint32(len(head)-frameHead+size))
	pieces := append(make([][]byte, 0, 1+2*len(entries)), append(head, body...))
	for i, e := range entries {
		pieces = append(pieces, heads[i], e)
	}
	return pieces
}

// Auth is what a client says of itself.
type Auth struct {
	User         string
	Password     []byte // hexadecimal digits of the scrambled one; empty without a password
	ReadTimeout  int32  // ms, although the protocol's file says seconds
	WriteTimeout int32
	Client       Client
}

// A Client names who reads what.
type Client struct {
	Destination string
	ID          string // a number of 16 bits
	Filter      string // of tables; of a subscription
}

// ParseAuth reads the body of the first packet of a client.
func ParseAuth(b []byte) (Auth, error) {
	var a Auth
	err := fields(b, func(f field) error {
		switch f.number {
		case 1:
			a.User = string(f.bytes)
		case 2:
			a.Password = f.bytes
		case 3:
			a.ReadTimeout = int32(f.value)
		case 4:
			a.WriteTimeout = int32(f.value)
		case 5:
			a.Client.Destination = string(f.bytes)
		case 6:
			a.Client.ID = string(f.bytes)
		case 7:
			a.Client.Filter = string(f.bytes)
		}
		return nil
	})
	return a, err
}

// A Request is the body of every packet behind the first: each type of them has some of its fields.
type Request struct {
	Client    Client
	BatchID   int64 // of CLIENTACK and CLIENTROLLBACK
	FetchSize int32 // of GET, as are the next two
	Timeout   int64
	Unit      int32 // of Timeout: 0 ns, 1 µs, 2 ms, 3 s, 4 min, 5 h, 6 days
}

// ParseRequest reads the body of a packet of that type. The messages have the first two fields in common.
func ParseRequest(t Type, b []byte) (Request, error) {
	var r Request
	err := fields(b, func(f field) error {
		switch {
		case f.number == 1:
			r.Client.Destination = string(f.bytes)
		case f.number == 2:
			r.Client.ID = string(f.bytes)
		case f.number == 7 && (t == Subscription || t == Unsubscription):
			r.Client.Filter = string(f.bytes)
		case f.number == 3 && (t == ClientAck || t == ClientRollback):
			r.BatchID = int64(f.value)
		case f.number == 3 && t == Get:
			r.FetchSize = int32(f.value)
		case f.number == 4 && t == Get:
			r.Timeout = int64(f.value)
		case f.number == 5 && t == Get:
			r.Unit = int32(f.value)
		}
		return nil
	})
	return r, err
}
