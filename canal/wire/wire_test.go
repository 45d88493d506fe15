package wire_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"canalgo/canal/wire"
)

func TestFrames(t *testing.T) {
	for name, test := range map[string]struct {
		data string
		want string
		err  error
	}{
		"two frames":      {"\x00\x00\x00\x03abc\x00\x00\x00\x00", "abc", nil},
		"at the limit":    {"\x00\x00\x00\x0512345", "12345", nil},
		"above it":        {"\x00\x00\x00\x06123456", "", wire.ErrFrame},
		"negative":        {"\xff\xff\xff\xff", "", wire.ErrFrame},
		"the end":         {"", "", io.EOF},
		"half a length":   {"\x00\x00", "", io.ErrUnexpectedEOF},
		"half a frame":    {"\x00\x00\x00\x05123", "", io.ErrUnexpectedEOF},
		"only its length": {"\x00\x00\x00\x05", "", io.ErrUnexpectedEOF},
	} {
		got, err := wire.ReadFrame(bytes.NewReader([]byte(test.data)), 5)
		if !errors.Is(err, test.err) || string(got) != test.want {
			t.Errorf("%s: %q, %v, want %q, %v", name, got, err, test.want, test.err)
		}
	}
}

// message writes fields: numbers as varints, texts with their length.
func message(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		number := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
		}
	}
	return b
}

func TestRequests(t *testing.T) {
	client := wire.Client{Destination: "shop", ID: "1001"}
	filtered := client
	filtered.Filter = "a.b"
	for _, test := range []struct {
		kind wire.Type
		body []byte
		want wire.Request
	}{
		{wire.Subscription, message(1, "shop", 2, "1001", 7, "a.b"), wire.Request{Client: filtered}},
		{wire.Get, message(1, "shop", 2, "1001", 3, 500, 4, -1, 5, 2, 6, 0), wire.Request{Client: client, FetchSize: 500, Timeout: -1, Unit: 2}},
		{wire.Get, message(1, "shop", 2, "1001"), wire.Request{Client: client}},
		{wire.ClientAck, message(1, "shop", 2, "1001", 3, 77), wire.Request{Client: client, BatchID: 77}},
		{wire.ClientRollback, message(2, "1001", 1, "shop", 3, 0), wire.Request{Client: client}},
		{wire.ClientRollback, message(1, "shop", 2, "1001", 3, -1, 99, "new", 98, 5), wire.Request{Client: client, BatchID: -1}},
	} {
		packet, err := wire.ParsePacket(wire.Frame(wire.Packet{Type: test.kind, Body: test.body})[4:])
		if err != nil || packet.Type != test.kind {
			t.Errorf("%s: %+v, %v", test.kind, packet, err)
		}
		if got, err := wire.ParseRequest(packet.Type, packet.Body); err != nil || got != test.want {
			t.Errorf("%s %x: %+v, %v, want %+v", test.kind, test.body, got, err, test.want)
		}
	}
	auth, err := wire.ParseAuth(message(1, "canal", 2, "00ff", 3, 1000, 4, 2000, 5, "shop", 6, "1001", 7, "a.b"))
	if want := (wire.Auth{User: "canal", Password: []byte("00ff"), ReadTimeout: 1000, WriteTimeout: 2000, Client: filtered}); err != nil || !reflect.DeepEqual(auth, want) {
		t.Errorf("%+v, %v, want %+v", auth, err, want)
	}
}

func TestMalformed(t *testing.T) {
	for name, body := range map[string][]byte{
		"cut short":                 {0x2a, 5, 1},
		"no tag":                    {0xff},
		"compressed":                message(3, 6, 4, 3),
		"field 0":                   {0, 0},
		"varint too long":           bytes.Repeat([]byte{0x80}, 20),
		"a group that is not ended": {0x0b},
	} {
		if p, err := wire.ParsePacket(body); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// What a server says, byte for byte.
func TestAnswers(t *testing.T) {
	batch := bytes.Join(wire.MessagesFrame(3, [][]byte{[]byte("ab"), {}}), nil)
	for name, test := range map[string]struct{ got, want []byte }{
		"handshake": {wire.HandshakeFrame([]byte("12345678")), append([]byte{0, 0, 0, 16, 0x10, 1, 0x18, 1, 0x2a, 10, 0x12, 8}, "12345678"...)},
		"success":   {wire.AckFrame(0, ""), []byte{0, 0, 0, 6, 0x10, 1, 0x18, 3, 0x2a, 0}},
		"failure":   {wire.AckFrame(400, "no"), []byte{0, 0, 0, 13, 0x10, 1, 0x18, 3, 0x2a, 7, 8, 0x90, 3, 0x12, 2, 'n', 'o'}},
		"nothing":   {bytes.Join(wire.MessagesFrame(-1, nil), nil), []byte{0, 0, 0, 15, 0x18, 7, 0x2a, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}},
		"a batch":   {batch, []byte{0, 0, 0, 12, 0x18, 7, 0x2a, 8, 8, 3, 0x12, 2, 'a', 'b', 0x12, 0}},
	} {
		if !bytes.Equal(test.got, test.want) {
			t.Errorf("%s: %x, want %x", name, test.got, test.want)
		}
	}
}

// scramble proves a password as MySQL 4.1 did.
func scramble(password string, seed []byte) []byte {
	once := sha1.Sum([]byte(password))
	twice := sha1.Sum(once[:])
	mask := sha1.Sum(append(append([]byte{}, seed...), twice[:]...))
	for i := range once {
		once[i] ^= mask[i]
	}
	return []byte(hex.EncodeToString(once[:]))
}

func TestPasswords(t *testing.T) {
	seed := []byte("12345678")
	for name, test := range map[string]struct {
		stored, given string
		want          bool
	}{
		"itself":       {"canal", "canal", true},
		"its digits":   {"E3619321C1A937C46A0D8BD1DAC39F93B27D4458", "canal", true},
		"with a star":  {"*4acfe3202a5ff5cf467898fc58aab1d615029441", "admin", true},
		"another one":  {"canal", "Canal", false},
		"the digits":   {"E3619321C1A937C46A0D8BD1DAC39F93B27D4458", "E3619321C1A937C46A0D8BD1DAC39F93B27D4458", false},
		"an empty one": {"canal", "", false},
	} {
		if got := wire.ParsePassword(test.stored).Proves(seed, scramble(test.given, seed)); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	password := wire.ParsePassword("canal")
	right := scramble("canal", seed)
	for name, token := range map[string][]byte{"none": nil, "cut": right[:38], "too long": append(bytes.Clone(right), '0', '0'), "no digits": bytes.Repeat([]byte("z"), 40)} {
		if password.Proves(seed, token) {
			t.Errorf("%s: taken", name)
		}
	}
	if password.Proves([]byte("87654321"), right) {
		t.Error("proved for another seed")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03abc"), 10)
	f.Add(wire.HandshakeFrame([]byte("12345678")), 100)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, 1)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		limit = limit & 0xffff
		body, err := wire.ReadFrame(bytes.NewReader(data), limit)
		if err == nil && (len(body) > limit || !bytes.HasPrefix(data[4:], body)) {
			t.Errorf("%x gives %x", data, body)
		}
	})
}

func FuzzPacket(f *testing.F) {
	for kind := wire.Handshake; kind <= wire.ClientRollback; kind++ {
		f.Add(wire.Frame(wire.Packet{Version: 1, Type: kind, Body: message(1, "shop", 2, "1001", 3, 5, 7, "a.b")})[4:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := wire.ParsePacket(data)
		if err != nil {
			return
		}
		again, err := wire.ParsePacket(wire.Frame(p)[4:])
		if err != nil || again.Type != p.Type || again.Version != p.Version || !bytes.Equal(again.Body, p.Body) {
			t.Errorf("%x: %+v, written and read again %+v, %v", data, p, again, err)
		}
		_, _ = wire.ParseAuth(p.Body)
		_, _ = wire.ParseRequest(p.Type, p.Body)
		wire.ParsePassword("canal").Proves([]byte("12345678"), p.Body)
	})
}
