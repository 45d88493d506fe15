package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"canalgo/event"
)

// ErrNeedsLoad is joined to an *event.StopError that only a load cures.
var ErrNeedsLoad = errors.New("needs load")

// ErrNotHere says that this node does not serve the feed, or not yet: ask again, or ask the leader of now.
var ErrNotHere = errors.New("the feed is not served here")

// ErrToldToEnd is an io.EOF: a Cursor's End was called, so the duty goes on elsewhere, or here with another feed.
var ErrToldToEnd = fmt.Errorf("the feed was told to end: %w", io.EOF)

// An ending is why a feed has no more batches, as it travels.
type ending struct {
	Kind string `json:"kind"`
	Text string `json:"text,omitempty"`
	Fix  string `json:"fix,omitempty"`
}

// endings are the errors that callers decide on, the gravest first.
var endings = []struct {
	kind string
	is   func(error) bool
	make func(ending) error
}{
	{"load", like(ErrNeedsLoad), func(e ending) error {
		return errors.Join(&event.StopError{Reason: e.Text, Fix: e.Fix}, ErrNeedsLoad)
	}},
	{"stop", isStop, func(e ending) error { return &event.StopError{Reason: e.Text, Fix: e.Fix} }},
	{"behind", like(ErrBehind), func(e ending) error { return passed(e.Text, ErrBehind) }},
	{"not here", like(ErrNotHere), func(e ending) error { return passed(e.Text, ErrNotHere) }},
	{"told", like(ErrToldToEnd), func(ending) error { return ErrToldToEnd }},
	{"eof", like(io.EOF), func(ending) error { return io.EOF }},
	{"error", func(error) bool { return true }, func(e ending) error { return errors.New(e.Text) }}, // keep last
}

func like(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isStop(err error) bool {
	var stop *event.StopError
	return errors.As(err, &stop)
}

// passed returns an error that is cause and reads as text.
func passed(text string, cause error) error {
	before, ok := strings.CutSuffix(text, cause.Error())
	switch {
	case text == "" || ok && before == "":
		return cause
	case ok:
		return fmt.Errorf("%s%w", before, cause)
	}
	return fmt.Errorf("%s: %w", text, cause)
}

// maxText bounds a message on the wire, so that an ending fits into a frame even if each byte must be escaped.
const maxText = 2 << 10

func appendEnding(err error) []byte {
	e := ending{Text: err.Error()}
	var stop *event.StopError
	if errors.As(err, &stop) {
		e.Text, e.Fix = stop.Reason, stop.Fix
	}
	for _, known := range endings {
		if known.is(err) {
			e.Kind = known.kind
			break
		}
	}
	e.Text, e.Fix = e.Text[:min(len(e.Text), maxText)], e.Fix[:min(len(e.Fix), maxText)]
	data, _ := json.Marshal(e) // strings cannot fail
	return data
}

// readEnding returns the error that an ending stands for; nil, err when it is malformed. A kind that this version does
// not know is an error like any other.
func readEnding(data []byte) (ended, err error) {
	var e ending
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("end of the feed: %w", err)
	}
	for _, known := range endings {
		if known.kind == e.Kind {
			return known.make(e), nil
		}
	}
	return endings[len(endings)-1].make(e), nil
}
