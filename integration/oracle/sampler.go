package oracle

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"canalgo/integration/component"
	"canalgo/status"
)

// Reporter is asked what the cluster reports; *harness.Node is one, and *harness.Cluster.
type Reporter interface {
	Status(ctx context.Context) (status.Report, error)
}

// A Sampler looks again and again at some documents and at the saved positions, while Run runs, and notes what went back.
type Sampler struct {
	Elasticsearch *component.Elasticsearch
	Index         string
	IDs           []string // documents with a number in the field ver
	Node          Reporter // asked for the saved positions, of whichever node
	Ledger        *Ledger  // when given, the documents are a Workload's, and must be of changes that were committed

	mu        sync.Mutex
	documents map[string]seen
	positions map[string]reached
	backward  []string
	missing   []string          // sums that did not come out
	saves     []save            // positions, as they were seen first
	changes   map[change]string // that documents have shown, with the id of one
	torn      []string
	looks     int // at documents
	reports   int
	loading   time.Time // when a load was last seen that is not done
	written   time.Time // what was committed up to then, the streams had written
}

// loadTime is by how much the streams must have got further than the end of a load: before, a document may hold a row that is newer than
// its version. A load writes what it reads with the ordinal of a moment before, which is long before when a stream is behind, and the
// stream comes to the changes in between later. Versions go up all the same.
const loadTime = 5 * time.Second

// goesBack reports whether a document shows an older state than before.
func (s *Sampler) goesBack(now, last seen) bool {
	return now.version < last.version || now.ver < last.ver && s.written.Sub(s.loading) > loadTime
}

type seen struct{ version, ver int64 }

type reached struct {
	applied           uint64 // of the log, where this is so
	version, position string
	epoch, count      uint64
}

// Run samples until ctx ends. A server or node that does not answer is asked again; the sampler's own mistakes are errors.
func (s *Sampler) Run(ctx context.Context) error {
	s.documents, s.positions, s.changes = make(map[string]seen), make(map[string]reached), make(map[change]string)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.lookAtDocuments(ctx); err != nil {
			return err
		}
		if err := s.lookAtPositions(ctx); err != nil {
			return err
		}
	}
}

// Forget drops which documents were seen, for an Elasticsearch that has crashed: it shows writes before it has kept them.
func (s *Sampler) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.documents)
}

// Err says what went back, what was torn and what was never committed, or that too little was seen to say that nothing was. The
// workload has ended.
func (s *Sampler) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	phantoms := s.torn
	if s.Ledger != nil {
		phantoms = append(phantoms, s.Ledger.judge(s.changes)...)
	}
	switch {
	case len(phantoms) > 0:
		return fmt.Errorf("%d documents that no row ever was:\n%s", len(phantoms), strings.Join(phantoms[:min(keep, len(phantoms))], "\n"))
	case s.Ledger != nil && len(s.changes) == 0:
		return fmt.Errorf("no document told of a change")
	case len(s.missing) > 0:
		return fmt.Errorf("%d times changes were not accounted for:\n%s", len(s.missing), strings.Join(s.missing[:min(keep, len(s.missing))], "\n"))
	case len(s.backward) > 0:
		return fmt.Errorf("went back %d times:\n%s", len(s.backward), strings.Join(s.backward[:min(keep, len(s.backward))], "\n"))
	}
	return s.enough()
}

// Enough says that too little was seen so far.
func (s *Sampler) Enough() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enough()
}

// enough runs under s.mu.
func (s *Sampler) enough() error {
	if s.looks < 10 || s.reports < 10 || len(s.documents) == 0 || len(s.positions) == 0 {
		return fmt.Errorf("only %d looks at %d documents and %d reports of %d positions", s.looks, len(s.documents), s.reports, len(s.positions))
	}
	return nil
}

func (s *Sampler) lookAtDocuments(ctx context.Context) error {
	data, err := s.Elasticsearch.Request(ctx, http.MethodPost, "/"+s.Index+"/_mget", map[string]any{"ids": s.IDs})
	if err != nil {
		return nil // it is away, or the index is not there yet
	}
	var answer struct {
		Docs []struct {
			ID      string  `json:"_id"`
			Version int64   `json:"_version"`
			Found   bool    `json:"found"`
			Source  account `json:"_source"`
		}
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("sample %s: %w", s.Index, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	for _, d := range answer.Docs {
		if !d.Found {
			continue
		}
		now, last := seen{d.Version, d.Source.Ver}, s.documents[d.ID]
		if s.goesBack(now, last) {
			s.backward = append(s.backward, fmt.Sprintf("document %s: version %d with ver %d after version %d with ver %d", d.ID, now.version, now.ver, last.version, last.ver))
		}
		s.documents[d.ID] = now
		if s.Ledger == nil || now == last {
			continue
		}
		changes, err := d.Source.changes()
		if err != nil {
			s.torn = append(s.torn, fmt.Sprintf("document %s: version %d: %v", d.ID, d.Version, err))
		}
		for _, c := range changes {
			s.changes[c] = d.ID
		}
	}
	return nil
}

func (s *Sampler) lookAtPositions(ctx context.Context) error {
	report, err := s.Node.Status(ctx)
	if err != nil {
		return nil // it is away
	}
	applied, ok := leaderApplied(report)
	if !ok {
		return nil // nobody says whose positions they are
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports++
	behind, known := 0.0, true
	for _, d := range report.Duties {
		switch {
		case d.Kind != "stream":
		case d.LagSeconds == nil:
			known = false
		default:
			behind = max(behind, *d.LagSeconds)
		}
		if d.Load != nil && d.Load.Phase != "done" {
			s.loading = time.Now()
		}
		if d.Counters.Unaccounted() != 0 || d.Counters.Filtered > d.Counters.Read {
			s.missing = append(s.missing, fmt.Sprintf("duty %s on %s: %d of %+v", d.ID, d.Node, d.Counters.Unaccounted(), d.Counters))
		}
		if d.Kind != "stream" || d.Version == "" {
			continue
		}
		now := reached{applied: applied, version: d.Version, position: d.Position}
		if _, err := fmt.Sscanf(d.Version, "%d.%d", &now.epoch, &now.count); err != nil {
			return fmt.Errorf("sample %s: version %q: %w", d.ID, d.Version, err)
		}
		last := s.positions[d.ID]
		if now != last {
			s.saves = append(s.saves, save{duty: d.ID, seen: time.Now(), reached: now})
		}
		first, then := last, now
		if now.applied < last.applied { // from a node that is behind: what it says was so before
			first, then = now, last
		}
		if then.before(first) {
			s.backward = append(s.backward, fmt.Sprintf("duty %s: position %s (%s) at log index %d after %s (%s) at %d", d.ID,
				then.position, then.version, then.applied, first.position, first.version, first.applied))
		}
		s.positions[d.ID] = then
	}
	if known {
		s.written = time.Now().Add(-time.Duration(behind * float64(time.Second)))
	}
	return nil
}

// leaderApplied returns how much of the log the leader had applied when it said what the positions are.
func leaderApplied(report status.Report) (uint64, bool) {
	for _, n := range report.Nodes {
		if n.Name == report.Leader && n.Leads {
			return n.Applied, true
		}
	}
	return 0, false
}

func (r reached) before(last reached) bool {
	switch {
	case r.epoch != last.epoch:
		return r.epoch < last.epoch
	case r.count != last.count:
		return r.count < last.count
	}
	before, err := fileBefore(r.position, last.position)
	return err == nil && before // a position without a file has only its version
}

// fileBefore compares two positions FILE:OFFSET of one server.
func fileBefore(a, b string) (bool, error) {
	fileA, offsetA, err := cutPosition(a)
	if err != nil {
		return false, err
	}
	fileB, offsetB, err := cutPosition(b)
	if err != nil {
		return false, err
	}
	if fileA != fileB {
		return len(fileA) < len(fileB) || len(fileA) == len(fileB) && fileA < fileB, nil
	}
	return offsetA < offsetB, nil
}

func cutPosition(s string) (file string, offset uint64, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 1 {
		return "", 0, fmt.Errorf("position %q is not FILE:OFFSET", s)
	}
	offset, err = strconv.ParseUint(s[i+1:], 10, 64)
	return s[:i], offset, err
}

// Quiet waits until every stream duty's saved position has reached the end of the server's log, and every load is done. The
// caller has stopped all that writes. A transaction on a table that no mapping names comes first: behind it, the end of
// the log is the end of a transaction in every case.
func Quiet(ctx context.Context, db *component.MySQL, node Reporter) error {
	if err := db.Exec("CREATE DATABASE IF NOT EXISTS oracle", "CREATE TABLE IF NOT EXISTS oracle.marker (n INT AUTO_INCREMENT PRIMARY KEY)",
		"INSERT INTO oracle.marker VALUES (NULL)"); err != nil {
		return fmt.Errorf("mark the end: %w", err)
	}
	end, err := db.LogEnd()
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		report, err := node.Status(ctx)
		if err == nil {
			err = settled(report, end)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is written: %w: %w", end, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// settled says which duty has not come to the end.
func settled(report status.Report, end string) error {
	streams := 0
	for _, d := range report.Duties {
		if d.Kind != "stream" {
			if d.Load != nil && d.Load.Phase != "done" {
				return fmt.Errorf("%s is %s after %d rows (%s %s)", d.ID, d.Load.Phase, d.Load.Rows, d.Stage, d.LastError)
			}
			continue
		}
		streams++
		before, err := fileBefore(d.Position, end)
		if err != nil {
			return fmt.Errorf("%s: %w", d.ID, err)
		}
		if before {
			return fmt.Errorf("%s has come to %s (%s, waiting for %q, last error %q)", d.ID, d.Position, d.Stage, d.WaitingFor, d.LastError)
		}
	}
	if streams == 0 {
		return fmt.Errorf("there is no stream duty")
	}
	return nil
}
