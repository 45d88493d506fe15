package failpoint

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
)

// serve answers at an address as long as the process lives.
func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(listener, http.HandlerFunc(answer)) }() // ends with the process
	return nil
}

func answer(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case r.Method == http.MethodGet && name == "":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(States())
	case r.Method == http.MethodPut:
		if err := arm(name, r.URL.Query()); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	case r.Method == http.MethodDelete:
		disarm(name)
	default:
		http.Error(w, "PUT /NAME?action=..., DELETE /NAME or GET /", http.StatusMethodNotAllowed)
	}
}

// States returns what every point did.
func States() map[string]State {
	points.Lock()
	defer points.Unlock()
	out := make(map[string]State, len(points.states))
	for name, s := range points.states {
		out[name] = *s
	}
	return out
}
