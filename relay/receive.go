package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"canalgo/event"
)

// read takes the leader's frames until the connection ends.
func (f *Feed) read() {
	defer close(f.gone)
	defer f.link.Close() // a write may be waiting
	for {
		if err := f.readFrame(); err != nil {
			if err != errClosed {
				err = fmt.Errorf("feed %s: %w", f.duty, err)
			}
			f.fail(err)
			return
		}
	}
}

func (f *Feed) readFrame() error {
	kind, err := f.in.next()
	if err != nil {
		return err
	}
	switch kind {
	case frameBatch:
		return f.readBatch()
	case frameHeartbeat:
		p, err := f.in.body(newsBytes, newsBytes)
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.heard(readNews(p))
		return nil
	case frameEnd:
		end, err := f.readEnd()
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.end = end
		signal(f.ready)
		return nil
	case frameClosed:
		if _, err := f.in.body(0, 0); err != nil {
			return err
		}
		return errClosed
	}
	return fmt.Errorf("frame of type %d, which no leader sends now", kind)
}

func (f *Feed) readEnd() (end, err error) {
	data, err := f.in.body(0, maxJSON)
	if err != nil {
		return nil, err
	}
	return readEnding(data)
}

// heard notes the leader's news; the newest version never goes back. f.mu is held.
func (f *Feed) heard(newest event.Version, settled bool) {
	f.newest, f.settled = max(f.newest, newest), settled
}

// readBatch reads a batch and its parts into one buffer, which the batch keeps.
func (f *Feed) readBatch() error {
	p := f.prefix[:]
	if err := f.in.fill(p); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(p[newsBytes:]))
	cost := uint64(size) + batchCost
	f.mu.Lock()
	held, end := f.received-f.taken, f.end
	f.mu.Unlock()
	switch {
	case size > maxBatch:
		return fmt.Errorf("batch of %d bytes, more than %d", size, maxBatch)
	case held >= Window: // rule 7
		return fmt.Errorf("batch of %d bytes while %d are waiting, more than was granted", size, held)
	case end != nil:
		return errors.New("batch after the feed's end")
	}
	if err := f.readExtra(); err != nil {
		return err
	}
	data, err := f.readParts(make([]byte, size))
	if err != nil {
		return err
	}
	b, err := event.DecodeBatch(data)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard(readNews(p))
	f.received += cost
	f.arrived = append(f.arrived, received{b, cost})
	signal(f.ready)
	return nil
}

// readExtra reads what the version has that version 1 does not have.
func (f *Feed) readExtra() error {
	want := batchExtra(f.in.version)
	if len(want) == 0 {
		return nil
	}
	got := make([]byte, len(want))
	if err := f.in.fill(got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("batch with %x in its head, want %x", got, want)
	}
	return nil
}

// readParts reads what is left of the batch's frame and the parts that follow it.
func (f *Feed) readParts(data []byte) ([]byte, error) {
	for at := 0; ; {
		n := f.in.left
		if n == 0 || n > len(data)-at {
			return nil, fmt.Errorf("frame with %d bytes of a batch that lacks %d", n, len(data)-at)
		}
		if err := f.in.fill(data[at : at+n]); err != nil {
			return nil, err
		}
		if err := f.in.finish(); err != nil {
			return nil, err
		}
		if at += n; at == len(data) {
			return data, nil
		}
		kind, err := f.in.next()
		if err != nil {
			return nil, err
		}
		if kind != framePart {
			return nil, fmt.Errorf("frame of type %d inside a batch", kind)
		}
	}
}
