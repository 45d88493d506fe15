package oracle

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// LeaseTime is how long a node may begin requests after a leader last answered it, and LeaseSlack what a loaded machine adds.
const (
	LeaseTime  = 1500 * time.Millisecond
	LeaseSlack = 500 * time.Millisecond
)

// Visits are the requests that came to Elasticsearch, by the host that each came from.
type Visits struct {
	mu  sync.Mutex
	all []visit
}

type visit struct {
	host, what string
	at         time.Time
}

// Note notes a request.
func (v *Visits) Note(r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = append(v.all, visit{host, r.Method + " " + r.URL.Path, time.Now()})
}

// AfterLease names the requests of a host that had no leader from one moment to another and yet began some after its lease; last is how
// long after the first moment its last one began.
func (v *Visits) AfterLease(host string, from, to time.Time) (late []string, last time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.all {
		if one.host != host || one.at.Before(from) || one.at.After(to) {
			continue
		}
		after := one.at.Sub(from)
		last = max(last, after)
		if after > LeaseTime+LeaseSlack {
			late = append(late, fmt.Sprintf("%s %s after it was cut off", one.what, after.Round(time.Millisecond)))
		}
	}
	return late, last
}
