// Package wire is what canal's TCP protocol looks like: frames, the packets in them, and how a password is proved. Facts are those of
// canal 1.1.x: CanalProtocol.proto, NettyUtils and SecurityUtil.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFrame is what every frame that is refused is.
var ErrFrame = errors.New("no frame of this protocol")

// frameHead is the size of what heads a frame.
const frameHead = 4

// ReadFrame reads what a frame holds, at most limit bytes:
//
//	length:i32, big-endian | that many bytes
//
// The error is io.EOF when the connection ends before a frame begins, and an ErrFrame when its length cannot be.
func ReadFrame(r io.Reader, limit int) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < 0 || int(size) > limit {
		return nil, fmt.Errorf("%w: it claims to have %d bytes, and at most %d are taken here", ErrFrame, size, limit)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}

// Frame returns a frame with a packet.
func Frame(p Packet) []byte {
	b := p.append(make([]byte, frameHead, frameHead+len(p.Body)+16))
	binary.BigEndian.PutUint32(b, uint32(len(b)-frameHead))
	return b
}
