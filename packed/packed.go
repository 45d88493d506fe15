// Package packed reads and writes numbers that the program carries in a file: varints of encoding/binary, compressed by zlib.
package packed

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// A Reader reads numbers one behind the other.
type Reader struct{ data []byte }

// NewReader unpacks what WriteFile has written. What it reads is part of the program, so that an error is the program's, and it panics with the
// file's name.
func NewReader(name string, file []byte) *Reader {
	z, err := zlib.NewReader(bytes.NewReader(file))
	var data []byte
	if err == nil {
		data, err = io.ReadAll(z)
	}
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	return &Reader{data}
}

// Uvarint reads a number that was appended by binary.AppendUvarint.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	r.data = r.data[n:]
	return v
}

// Varint reads a number that was appended by binary.AppendVarint.
func (r *Reader) Varint() int64 {
	v, n := binary.Varint(r.data)
	r.data = r.data[n:]
	return v
}

// WriteFile writes a file of numbers for NewReader.
func WriteFile(name string, data []byte) error {
	var out bytes.Buffer
	z, err := zlib.NewWriterLevel(&out, zlib.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, out.Bytes(), 0o644)
}
