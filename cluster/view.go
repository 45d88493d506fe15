package cluster

import "sync"

// A View is what one node knows: the replicated state as far as it has applied it, and who leads.
type View struct {
	State
	Applied uint64 // index of the newest command in State; never falls
	Leader  string // the leading node's name, "" while none is known
	Term    Term   // the newest term that this node knows of
	Leading bool   // this node leads in Term, and had applied everything before it when it began

	LeaderAddress string // host:port of the leader's node port, "" while none is known
}

// A Board shows the newest View to many. The zero Board shows the zero View. It is safe for several goroutines.
type Board struct {
	mu      sync.Mutex
	view    View
	changed chan struct{}
}

// View returns the newest view and a channel that is closed when there is a newer one.
func (b *Board) View() (View, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.view, b.changed
}

// Update changes the view. The change must not block.
func (b *Board) Update(change func(*View)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.view)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
