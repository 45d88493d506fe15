package proxy

import (
	"math/rand/v2"
	"time"
)

// A Direction is one way through a TCP proxy.
type Direction int

// The two directions, as seen by who connects.
const (
	ToTarget Direction = iota
	FromTarget
)

// A Spoil is what happens to the bytes that go in one direction. The zero value lets them pass.
type Spoil struct {
	Delay  time.Duration // each piece is held back for so long,
	Jitter time.Duration // and, at random, for up to so much longer
	Rate   int64         // bytes a second that pass; 0: as many as come
	Stall  bool          // nothing passes; what is sent waits
	Drop   bool          // what is sent is lost, and nobody is told: a link of which one half is gone
	Flip   int64         // one bit in each so many bytes of a connection is another one; 0: none
	Budget int64         // so many bytes of a connection pass, then it ends, in the middle of whatever it is; 0: no end
	Reset  bool          // that end is a reset
}

// hold draws how long a piece is held back.
func (s Spoil) hold(size int) time.Duration {
	d := s.Delay
	if s.Jitter > 0 {
		d += rand.N(s.Jitter)
	}
	if s.Rate > 0 {
		d += time.Duration(int64(size) * int64(time.Second) / s.Rate)
	}
	return d
}

// clip returns what the budget leaves of data, of a connection of which some bytes have passed, and whether that is the last.
func (s Spoil) clip(data []byte, passed int64) (rest []byte, last bool) {
	if s.Budget == 0 || passed+int64(len(data)) < s.Budget {
		return data, false
	}
	return data[:max(0, s.Budget-passed)], true
}

// flip changes one bit, at random, for each border of Flip bytes that data reaches.
func (s Spoil) flip(data []byte, passed int64) {
	if s.Flip == 0 {
		return
	}
	for range (passed+int64(len(data)))/s.Flip - passed/s.Flip {
		data[rand.IntN(len(data))] ^= 1 << rand.IntN(8)
	}
}
