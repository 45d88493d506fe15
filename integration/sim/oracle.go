package sim

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/mapping"
)

// An oracle watches what the nodes do and holds it against the ledger. It knows nothing of how they work, but for what they promise:
// the invariants I1 to I14 of docs/reliability.md.
type oracle struct {
	*ledger
	trace *trace
	over  chan struct{} // closed at the end of the simulation

	mu         sync.Mutex
	violations []string
	source     *mysql
	numbering  map[uint32]uint64                   // by source epoch: what an entry's count has more than its number
	applied    map[string]map[string]event.Version // by mapping and document: the highest version that the destination took
	emptied    map[string]event.Version            // by mapping: below which everything was deleted
	aside      map[string]map[string]event.Version // by mapping and document: the highest version that the destination refused
	selected   map[event.Version]bool              // at which rows were read beside the stream
	flying     map[flight]bool                     // documents of writes whose sender still waits, by sender
	begun      map[string]owner                    // by mapping: whose write began last
	assigned   map[string]map[cluster.Epoch]string // by duty
	terms      map[uint64]string                   // who led
	hashes     map[uint64]string                   // of the state, by the index that it was applied to
	writes     int
	loaded     int
	repeats    int
}

// A flight is a document in a write whose sender waits for the answer.
type flight struct {
	host      *host
	index, id string
}

// An owner is a node that does a duty, by the epoch of its assignment.
type owner struct {
	epoch cluster.Epoch
	host  string
}

func newOracle(l *ledger, t *trace) *oracle {
	o := &oracle{ledger: l, trace: t, over: make(chan struct{}), numbering: map[uint32]uint64{}, applied: map[string]map[string]event.Version{},
		emptied: map[string]event.Version{}, selected: map[event.Version]bool{}, aside: map[string]map[string]event.Version{}, flying: map[flight]bool{}, begun: map[string]owner{},
		assigned: map[string]map[cluster.Epoch]string{}, terms: map[uint64]string{}, hashes: map[uint64]string{}}
	for _, r := range rules {
		o.applied[r.name], o.aside[r.name] = map[string]event.Version{}, map[string]event.Version{}
	}
	return o
}

// violate notes that an invariant does not hold. Only the first ones are kept: what follows may be their consequence.
func (o *oracle) violate(invariant, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.violateLocked(invariant, format, args...)
}

func (o *oracle) violateLocked(invariant, format string, args ...any) {
	text := invariant + " violated: " + fmt.Sprintf(format, args...)
	o.trace.add("%s", text)
	if len(o.violations) < 10 {
		o.violations = append(o.violations, text)
	}
}

// failed returns the violations.
func (o *oracle) failed() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.violations)
}

// leads checks that a term has one leader (I14).
func (o *oracle) leads(h *host, term uint64) {
	if h.led.Swap(term) == term {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if other, ok := o.terms[term]; ok && other != h.id() {
		o.violateLocked("I14", "%s and %s lead in term %d", other, h.id(), term)
	}
	o.terms[term] = h.id()
}

// numbered checks that the entries of an epoch always have the same numbers (I4).
func (o *oracle) numbered(from event.Position, entries uint64, txs int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	more := from.Count - entries
	if known, ok := o.numbering[from.Epoch]; ok && known != more {
		o.violateLocked("I4", "a stream of epoch %d begins at transaction %d with the count %d, which is %d off", from.Epoch, txs, from.Count, int64(more-known))
		return
	}
	o.numbering[from.Epoch] = more
}

// granted checks that the leader which renews a lease has been heard by a majority about when it was asked (I5).
func (o *oracle) granted(to, by *host, sent time.Time) {
	if by.dead.Load() || to.dead.Load() {
		return
	}
	if heard := by.quorum(); heard.Before(sent.Add(-quorumSlack)) {
		o.violate("I5", "%s renews the lease of %s although no majority has answered it for %s", by.id(), to.id(), sent.Sub(heard))
	}
}

const (
	leaseTime = 1500 * time.Millisecond
	// quorumSlack is how much older than the question a majority's answer may be: one that is on its way when a leader asks counts
	// for it. Nobody is elected by those who gave it within this time.
	quorumSlack = 600 * time.Millisecond
)

// begins checks that a write begins with a live lease, and that nobody has begun one for a later assignment (I5).
func (o *oracle) begins(h *host, name string) {
	now := time.Now()
	renewed := h.lastRenewal()
	if age := now.Sub(renewed); age > leaseTime {
		if heard := h.quorum(); now.Sub(heard) > leaseTime+quorumSlack {
			o.violate("I5", "%s begins a write to %s %s after its last renewal was sent; a majority answered it last %s ago", h.id(), name, age, now.Sub(heard))
		}
	}
	epoch := h.epochOf(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	last := o.begun[name]
	if epoch < last.epoch {
		o.violateLocked("I5", "%s begins a write to %s in epoch %d, after %s did in epoch %d", h.id(), name, epoch, last.host, last.epoch)
		return
	}
	o.begun[name] = owner{epoch, h.id()}
}

// touches checks that a sender has no two writes under way that touch one document (I3). The write is over when the returned function
// is called.
func (o *oracle) touches(h *host, changes []mapping.Change) (over func()) {
	var keys []flight
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range changes {
		if o.selected[c.Version] { // a load writes what the stream may be writing, and the versions tell which is newer
			continue
		}
		key := flight{h, c.Index, c.ID}
		if o.flying[key] {
			o.violateLocked("I3", "%s has two writes under way that touch %s/%s", h.id(), c.Index, c.ID)
		}
		o.flying[key] = true
		keys = append(keys, key)
	}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, key := range keys {
			delete(o.flying, key)
		}
	}
}

// written checks what the destination took (I8): what the document was at that version.
func (o *oracle) written(c mapping.Change) {
	o.check(c)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes++
	if o.selected[c.Version] {
		o.loaded++
	}
	if o.applied[c.Index][c.ID] >= c.Version {
		o.repeats++
	}
	o.applied[c.Index][c.ID] = max(o.applied[c.Index][c.ID], c.Version)
}

// refused notes what the destination refused for good.
func (o *oracle) refused(c mapping.Change) {
	o.check(c)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.aside[c.Index][c.ID] = max(o.aside[c.Index][c.ID], c.Version)
}

// selects notes that rows are read beside the stream, to be written with that version.
func (o *oracle) selects(at event.Version) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.selected[at] = true
}

// cleared notes that every document below a version is gone.
func (o *oracle) cleared(name string, before event.Version) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.emptied[name] = max(o.emptied[name], before)
}

func (o *oracle) check(c mapping.Change) {
	o.mu.Lock()
	more, ok := o.numbering[c.Version.Epoch()]
	read := o.selected[c.Version]
	o.mu.Unlock()
	if !ok || c.Version.Count() < more {
		o.violate("I8", "%s/%s has version %s, which the source has not given", c.Index, c.ID, c.Version)
		return
	}
	at := c.Version.Count() - more
	o.ledger.mu.Lock()
	defer o.ledger.mu.Unlock()
	states := o.documents[c.Index][c.ID]
	switch body := string(c.Body); {
	case slices.Contains(states, state{at, body}), read && hadSince(states, at, body):
		return
	case body == "" && bodyAt(states, at) == "": // a TRUNCATE deletes what a load has brought of a later state; that comes again
		return
	}
	o.violate("I8", "%s/%s at version %s (entry %d): %q is not what the source had; it had %s", c.Index, c.ID, c.Version, at, c.Body, around(states, at))
}

// bodyAt is what a document was behind an entry.
func bodyAt(states []state, at uint64) (body string) {
	for _, s := range states {
		if s.entry > at {
			break
		}
		body = s.body
	}
	return body
}

// hadSince reports whether a document was so at an entry, or became so later: rows are read at an entry's version from a state that is
// at least as new. Of one that is refused the sweep deletes what was there before.
func hadSince(states []state, at uint64, body string) bool {
	was := func(now string) bool { return now == body || body == "" && isPoison(now) }
	now := ""
	for _, s := range states {
		if s.entry > at && (was(now) || was(s.body)) {
			return true
		}
		now = s.body
	}
	return was(now)
}

// around prints the states of a document about an entry.
func around(states []state, at uint64) string {
	i := 0
	for i < len(states) && states[i].entry < at {
		i++
	}
	out := ""
	for _, s := range states[max(0, i-2):min(len(states), i+2)] {
		out += fmt.Sprintf(" %d:%q", s.entry, s.body)
	}
	return out
}

// saves checks positions that a leader is about to save (I4): each is the end of a transaction, with its count and GTIDs, and the
// destination has confirmed everything before it.
func (o *oracle) saves(h *host, v cluster.View, saves map[cluster.DutyID]cluster.Save) {
	for id, save := range saves {
		p, before := save.Position, v.Duties[id].Position
		txs, err := o.source.place(p)
		if err != nil {
			o.violate("I4", "%s saves for %s: %v", h.id(), id, err)
			continue
		}
		entries := o.entriesUpTo(txs)
		if p.GTIDs != gtids(txs) {
			o.violate("I4", "%s saves for %s position %s, which is transaction %d, with the GTIDs %s", h.id(), id, p, txs, p.GTIDs)
		}
		o.mu.Lock()
		more, ok := o.numbering[p.Epoch]
		o.mu.Unlock()
		if before.IsZero() || before.Epoch != p.Epoch || !ok {
			continue
		}
		if p.Count-entries != more {
			o.violate("I4", "%s saves for %s position %s with the count %d, which is %d off", h.id(), id, p, p.Count, int64(p.Count-entries-more))
			continue
		}
		if what := o.unconfirmed(id.Mapping, p.Epoch, before.Count-more, entries); what != "" {
			o.violate("I4", "%s saves for %s position %s (entry %d), but the destination has not confirmed %s", h.id(), id, p, entries, what)
		}
	}
}

// unconfirmed returns a document that the destination does not have at the version of an entry in (from, to], "" if there is none.
func (o *oracle) unconfirmed(name string, epoch uint32, from, to uint64) string {
	r := ruleOf(name)
	o.ledger.mu.Lock()
	defer o.ledger.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for at := from + 1; at <= to; at++ {
		e := o.entries[at-1]
		if e.table != r.table {
			continue
		}
		v := event.NewVersion(epoch, at+o.numbering[epoch])
		if o.emptied[name] >= v {
			continue
		}
		missing := func(x *row) bool {
			if x == nil || r.document(x) == "" {
				return false
			}
			id := fmt.Sprint(x.id)
			return o.applied[name][id] < v && o.aside[name][id] < v
		}
		for _, c := range e.changes {
			for _, x := range []*row{c.before, c.after} {
				if missing(x) {
					return fmt.Sprintf("document %d at entry %d", x.id, at)
				}
			}
		}
		for i := range e.emptied {
			if missing(&e.emptied[i]) {
				return fmt.Sprintf("the deletion of document %d by TRUNCATE at entry %d", e.emptied[i].id, at)
			}
		}
	}
	return ""
}

func ruleOf(name string) rule {
	return rules[slices.IndexFunc(rules, func(r rule) bool { return r.name == name })]
}

// assigns checks that an epoch of a duty belongs to one node (I14).
func (o *oracle) assigns(id cluster.DutyID, a cluster.Assignment) {
	if a.Node == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.assigned[id.String()]
	if of == nil {
		of = make(map[cluster.Epoch]string)
		o.assigned[id.String()] = of
	}
	switch node, ok := of[a.Epoch]; {
	case !ok:
		of[a.Epoch] = a.Node
		o.trace.add("%s is assigned to %s, epoch %d", id, a.Node, a.Epoch)
	case node != a.Node:
		o.violateLocked("I14", "%s is assigned in epoch %d to %s and to %s", id, a.Epoch, node, a.Node)
	}
}

// hashed checks that equal indices mean equal states (I12).
func (o *oracle) hashed(h *host, v cluster.View) {
	if v.Applied == 0 {
		return
	}
	hash := v.Hash()
	o.mu.Lock()
	defer o.mu.Unlock()
	if known, ok := o.hashes[v.Applied]; ok && known != hash {
		o.violateLocked("I12", "the state of %s at index %d has the hash %s, another node's %s", h.id(), v.Applied, hash, known)
	}
	o.hashes[v.Applied] = hash
}

// wrong compares a destination with the ledger (I1); "" when they are equal.
func (o *oracle) wrong(r rule, has map[string]string) string {
	o.ledger.mu.Lock()
	defer o.ledger.mu.Unlock()
	n, first := 0, ""
	note := func(format string, args ...any) {
		if n++; first == "" {
			first = fmt.Sprintf(format, args...)
		}
	}
	for id, states := range o.documents[r.name] {
		want := states[len(states)-1]
		switch got, ok := has[id]; {
		case isPoison(want.body): // set aside: what was there before stays
		case want.body == "" && ok:
			note("%s/%s is there, deleted at entry %d: %s", r.name, id, want.entry, got)
		case want.body != "" && got != want.body:
			note("%s/%s is %q, should be %q since entry %d", r.name, id, got, want.body, want.entry)
		}
	}
	for id, body := range has {
		if len(o.documents[r.name][id]) == 0 {
			note("%s/%s was never there: %s", r.name, id, body)
		}
	}
	if n > 1 {
		first += fmt.Sprintf(" (and %d more)", n-1)
	}
	return first
}

// setAside checks that the quarantine holds the documents that the destination refuses as they are now, and no others (I10).
func (o *oracle) setAside(h *host, v cluster.View) {
	aside := make(map[string]bool)
	for _, q := range v.Quarantine {
		aside[q.Index+"/"+q.Document] = true
	}
	o.ledger.mu.Lock()
	defer o.ledger.mu.Unlock()
	for _, r := range rules {
		for id, states := range o.documents[r.name] {
			key, refused := r.name+"/"+id, isPoison(states[len(states)-1].body)
			if refused != aside[key] {
				o.violate("I10", "%s: %s is refused by the destination: %t; set aside: %t", h.id(), key, refused, aside[key])
			}
		}
	}
}
