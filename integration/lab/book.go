package lab

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// leaseTime is how long a node may begin requests after a leader last answered it, and slack what a loaded machine adds.
const (
	leaseTime = 1500 * time.Millisecond
	slack     = 500 * time.Millisecond
)

// A book notes each request to Elasticsearch, by the host that it came from.
type book struct {
	mu     sync.Mutex
	visits []visit
}

type visit struct {
	host, what string
	at         time.Time
}

func (b *book) note(r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.visits = append(b.visits, visit{host, r.Method + " " + r.URL.Path, time.Now()})
}

// late names the requests of a host that had no leader from one moment to another and yet began some after its lease; last is how
// long after the first moment its last one began.
func (b *book) late(host string, from, to time.Time) (late []string, last time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.visits {
		if v.host != host || v.at.Before(from) || v.at.After(to) {
			continue
		}
		after := v.at.Sub(from)
		last = max(last, after)
		if after > leaseTime+slack {
			late = append(late, fmt.Sprintf("%s %s after it was cut off", v.what, after.Round(time.Millisecond)))
		}
	}
	return late, last
}
