package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// A Record is one line of the report's file: a schedule that was played, or a row of kills or cuts.
type Record struct {
	What         string         `json:"what"` // one of the below
	Time         time.Time      `json:"time"`
	Build        string         `json:"build"` // of canalgo
	Seed         uint64         `json:"seed,omitempty"`
	Faults       map[string]int `json:"faults,omitempty"` // by kind
	Kills        int            `json:"kills,omitempty"`
	InFlight     int            `json:"in_flight,omitempty"` // kills with a write under way
	Transactions int64          `json:"transactions,omitempty"`
	Rows         int64          `json:"rows,omitempty"`
	Items        int            `json:"items,omitempty"`
	Repeats      int            `json:"repeats,omitempty"`
	WholeMS      int64          `json:"whole_ms,omitempty"`
	EqualMS      int64          `json:"equal_ms,omitempty"`
	TimesMS      []int64        `json:"times_ms,omitempty"` // of each kill or cut
	Late         int            `json:"late,omitempty"`     // requests begun after a lease
	Violations   []string       `json:"violations,omitempty"`
}

// What a record is about.
const (
	Schedules       = "schedule"
	WithZooKeeper   = "schedule in ZooKeeper mode"
	Kills           = "kills of the leader"
	Cuts            = "cuts of the leader"
	CutsUnversioned = "cuts of the leader without versions"
)

// Record returns the line of a schedule's outcome.
func (o Outcome) Record(m Mode, seed uint64, build string) Record {
	what := Schedules
	if m == ZooKeeper {
		what = WithZooKeeper
	}
	return Record{What: what, Time: time.Now().UTC().Truncate(time.Second), Build: build, Seed: seed, Faults: o.Faults, Kills: o.Kills, InFlight: o.InFlight,
		Transactions: o.Transactions, Rows: o.Rows, Items: o.Items, Repeats: o.Repeats,
		WholeMS: o.Whole.Milliseconds(), EqualMS: o.Equal.Milliseconds(), Violations: o.Violations}
}

// Append adds a line to the report's file.
func Append(path string, r Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// Read returns all lines of a report's file; one that is missing has none.
func Read(path string) ([]Record, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	defer f.Close()
	var records []Record
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("report: %s:%d: %w", path, len(records)+1, err)
		}
		records = append(records, r)
	}
	return records, lines.Err()
}
