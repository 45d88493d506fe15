package binlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// The fields that head a compressed transaction, each type | length | value as packed integers, and their values.
const (
	payloadEnd         = 0 // the compressed bytes follow
	payloadCompression = 2

	compressionZstd = 0
	compressionNone = 255

	// maxWindow is the largest that zstd level 22 makes, which is as far as binlog_transaction_compression_level_zstd goes.
	maxWindow = 128 << 20
)

// payload takes the events inside a compressed transaction one by one. The size that it claims for itself is not believed.
func (t *tracker) payload(ctx context.Context, body []byte) error {
	compression, packed, err := payloadHead(body)
	if err != nil {
		return t.stop("a compressed transaction: "+err.Error(), "")
	}
	return t.unpack(ctx, compression, bytes.NewReader(packed))
}

// largePayload takes a compressed transaction that is too large to be held: head begins its body, rest is the rest.
func (t *tracker) largePayload(ctx context.Context, h header, head []byte, rest io.Reader) error {
	t.events++
	t.bytes += uint64(h.size)
	t.offset = extend(t.offset, h.end)
	if t.offset <= t.passTo {
		return nil
	}
	compression, packed, err := payloadHead(head)
	if err != nil {
		return t.stop("a compressed transaction: "+err.Error(), "")
	}
	return t.unpack(ctx, compression, io.MultiReader(bytes.NewReader(packed), rest))
}

func (t *tracker) unpack(ctx context.Context, compression uint64, r io.Reader) error {
	switch compression {
	case compressionNone:
	case compressionZstd:
		if t.zstd == nil {
			var err error
			t.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return fmt.Errorf("compressed transaction: %w", err)
			}
		}
		if err := t.zstd.Reset(r); err != nil {
			return t.stop("a compressed transaction: "+err.Error(), "")
		}
		r = t.zstd
	default:
		return t.stop(fmt.Sprintf("a transaction with the unknown compression %d", compression), "upgrade canalgo")
	}
	for {
		more, err := t.inner(ctx, r)
		if err != nil || !more {
			return err
		}
	}
}

// inner takes the next event inside a compressed transaction. It is framed as a plain one.
func (t *tracker) inner(ctx context.Context, r io.Reader) (more bool, err error) {
	var head [headerSize]byte
	switch _, err := io.ReadFull(r, head[:]); {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil:
		return false, t.stop("a compressed transaction: "+err.Error(), "")
	}
	h := readHeader(head[:])
	if h.size < headerSize {
		return false, t.stop(fmt.Sprintf("a compressed transaction has an event of %d bytes", h.size), "")
	}
	keep := h.size
	if keep > maxEvent {
		keep = min(keep, oversizedHead)
	}
	raw := make([]byte, keep)
	copy(raw, head[:])
	if _, err := io.ReadFull(r, raw[headerSize:]); err != nil {
		return false, t.stop("a compressed transaction: "+err.Error(), "")
	}
	if keep < h.size {
		if _, err := io.CopyN(io.Discard, r, int64(h.size-keep)); err != nil {
			return false, t.stop("a compressed transaction: "+err.Error(), "")
		}
		return true, t.oversized(ctx, raw)
	}
	t.events++
	_, err = t.take(ctx, h, raw)
	return true, err
}

func payloadHead(b []byte) (compression uint64, packed []byte, err error) {
	compression = compressionNone
	for {
		field, n := packedInt(b)
		if n == 0 {
			return 0, nil, errors.New("its head is malformed")
		}
		b = b[n:]
		if field == payloadEnd {
			return compression, b, nil
		}
		size, n := packedInt(b)
		if n == 0 || uint64(len(b)-n) < size {
			return 0, nil, errors.New("its head is malformed")
		}
		value := b[n : n+int(size)]
		b = b[n+int(size):]
		if field == payloadCompression {
			if compression, n = packedInt(value); n == 0 {
				return 0, nil, errors.New("its head is malformed")
			}
		}
	}
}
