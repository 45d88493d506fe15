package api

import (
	"net"
	"net/http"
	"time"
)

// ServeWaiting answers every request on a listener that Listen opened with 503 and why, until the returned function is called. The
// listener stays open, for a Server.
func ServeWaiting(listener net.Listener, why string) (stop func()) {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fail(w, http.StatusServiceUnavailable, "%s", why) }),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, MaxHeaderBytes: maxHeader,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(keptOpen{limit(listener, maxConnections)})
	}()
	deadline := func(t time.Time) {
		if l, ok := listener.(*net.TCPListener); ok {
			_ = l.SetDeadline(t) // it fails on a closed one only
		}
	}
	return func() {
		deadline(time.Now()) // it accepts no more; Close waits for that
		_ = server.Close()
		<-ended
		deadline(time.Time{})
	}
}

// keptOpen is a listener that its server does not close.
type keptOpen struct{ net.Listener }

// Close implements net.Listener.
func (keptOpen) Close() error { return nil }
