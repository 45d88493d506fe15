package proxy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
)

// An Answer says what becomes of the answer to a bulk request that Elasticsearch has done.
type Answer int

// Only Whole says what is true.
const (
	Whole     Answer = iota
	Lost             // the connection is reset instead
	Truncated        // half of it comes, then the connection ends
	Garbage          // it is 200, and no JSON
	Fewer            // the last item is missing
	Swapped          // the items are in the opposite order
	Denied           // an item has failed, but "errors" is false
	answers
)

// Answers are those that are not Whole.
func Answers() []Answer {
	var all []Answer
	for a := Lost; a < answers; a++ {
		all = append(all, a)
	}
	return all
}

// write sends it in place of the true answer.
func (a Answer) write(w http.ResponseWriter, data []byte) error {
	switch a {
	case Lost:
		reset(w)
		return nil
	case Truncated:
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		data = data[:len(data)/2]
	case Garbage:
		data = []byte("\x1f\x8b\x00 this was an answer")
	default:
		var answer struct {
			Took   int               `json:"took"`
			Errors bool              `json:"errors"`
			Items  []json.RawMessage `json:"items"`
		}
		if err := json.Unmarshal(data, &answer); err != nil {
			return fmt.Errorf("spoil the answer to a bulk request: %w", err)
		}
		switch a {
		case Fewer:
			answer.Items = answer.Items[:max(0, len(answer.Items)-1)]
		case Swapped:
			slices.Reverse(answer.Items)
		case Denied:
			answer.Errors = false
		}
		var err error
		if data, err = json.Marshal(answer); err != nil {
			return fmt.Errorf("spoil the answer to a bulk request: %w", err)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.Write(data) // the sender may be gone
	return nil
}

// reset ends the connection of a request without an answer.
func reset(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := h.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
