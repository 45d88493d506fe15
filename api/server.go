package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"canalgo/cluster"
	"canalgo/config"
	"canalgo/status"
)

// What one peer can make the server hold.
const (
	maxConnections = 256
	maxHeader      = 16 << 10 // bytes
	maxBody        = 1 << 20  // bytes
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = time.Minute
	idleTimeout    = time.Minute
	closeTimeout   = time.Second // for answers under way when Run ends
)

// Listen opens the address that node.http names. The error says what is wrong with it and what to do.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	var dns *net.DNSError
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("node.http: %s is in use by another process; stop it or set another address", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("node.http: no permission to listen on %s; use a port of 1024 or above", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("node.http: %s is not an address of this host; use for example %s", address, config.DefaultHTTP)
	case errors.As(err, &dns):
		return nil, fmt.Errorf("node.http: the host of %s is unknown; use for example %s", address, config.DefaultHTTP)
	}
	return nil, fmt.Errorf("node.http: listen on %s: %w", address, err)
}

// A Server answers HTTP for one node.
type Server struct {
	listener net.Listener
	control  Control
	logger   hclog.Logger
	handler  http.Handler
	commands http.Handler
}

// New returns a server for a listener that Listen opened; Run closes it. peers carries requests to the leader's node port.
func New(listener net.Listener, control Control, peers http.RoundTripper, logger hclog.Logger) *Server {
	s := &Server{listener: listener, control: control, logger: logger}
	metrics := promhttp.HandlerFor(status.NewRegistry(func() status.Report { return control.Report(context.Background()) }),
		promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	commands := http.NewServeMux()
	v1 := func(path string, m methods) { commands.Handle("/v1/"+path, m) }
	v1("pause", methods{http.MethodPost: s.pause(true)})
	v1("resume", methods{http.MethodPost: s.pause(false)})
	v1("apply", methods{http.MethodPost: s.apply})
	v1("load", methods{http.MethodPost: s.startLoad, http.MethodGet: s.loadProgress})
	v1("quarantine", methods{http.MethodGet: s.quarantine})
	v1("quarantine/{id}", methods{http.MethodGet: s.quarantined})
	v1("quarantine/retry", methods{http.MethodPost: s.release(control.RetryQuarantine)})
	v1("quarantine/drop", methods{http.MethodPost: s.release(control.DropQuarantine)})
	v1("rewind", methods{http.MethodPost: s.rewind})
	v1("remove", methods{http.MethodPost: s.remove})
	s.commands = commands
	mux := http.NewServeMux()
	mux.Handle("/status", methods{http.MethodGet: s.status})
	mux.Handle("/healthz", methods{http.MethodGet: s.healthz})
	mux.Handle("/health", methods{http.MethodGet: s.health})
	mux.Handle("/readyz", methods{http.MethodGet: s.readyz})
	mux.Handle("/metrics", methods{http.MethodGet: metrics.ServeHTTP})
	mux.Handle("/v1/", s.local(s.atLeader(peers)))
	mux.Handle("/v1/verify", s.local(methods{http.MethodPost: s.verify}))
	mux.Handle("/v1/leave", s.local(methods{http.MethodPost: s.leave}))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "no such page; there are /status, /health, /healthz, /readyz, /metrics and /v1/")
	})
	s.handler = mux
	return s
}

// Commands answers what begins with /v1/ for another node, which passes on what it was asked.
func (s *Server) Commands() http.Handler { return s.commands }

// atLeader answers here when this node leads, and passes on to the leader else.
func (s *Server) atLeader(peers http.RoundTripper) http.Handler {
	pass := &httputil.ReverseProxy{
		Transport: peers,
		Rewrite: func(r *httputil.ProxyRequest) {
			address, _ := s.control.Leader()
			r.SetURL(&url.URL{Scheme: "http", Host: address})
		},
		ErrorLog: s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			fail(w, http.StatusServiceUnavailable, "the leader does not answer: %s; try again", err)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch address, here := s.control.Leader(); {
		case here:
			s.commands.ServeHTTP(w, r)
		case address == "":
			fail(w, http.StatusServiceUnavailable, "there is no leader now; try again")
		default:
			pass.ServeHTTP(w, r)
		}
	})
}

func (s *Server) rewind(w http.ResponseWriter, r *http.Request) {
	var body rewindBody
	if !read(w, r, &body) {
		return
	}
	at, err := s.control.Rewind(r.Context(), body.Source, body.Start)
	finish(w, rewoundBody{Position: at}, err)
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) {
	var body removeBody
	if !read(w, r, &body) {
		return
	}
	finish(w, doneBody{Done: body.Node + " is no longer a member"}, s.control.Remove(r.Context(), body.Node))
}

func (s *Server) leave(w http.ResponseWriter, r *http.Request) {
	var body struct{}
	if !read(w, r, &body) {
		return
	}
	s.control.Leave()
	answer(w, http.StatusOK, doneBody{Done: "the node leaves"})
}

// Run answers until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(limit(s.listener, maxConnections)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP on %s: %w", s.listener.Addr(), err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if server.Shutdown(closing) != nil {
		_ = server.Close() // connections that did not end in time
	}
	<-ended
	return ctx.Err()
}

// methods are the handlers of one page.
type methods map[string]http.HandlerFunc

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if h := m[method]; h != nil {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h(w, r)
		return
	}
	var allowed []string
	for name := range m {
		allowed = append(allowed, name)
	}
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	fail(w, http.StatusMethodNotAllowed, "%s does not take %s, only %s", r.URL.Path, r.Method, strings.Join(allowed, ", "))
}

// local lets only requests through that a program on this host made: not another host, not a page in a browser, whether
// it posts a form (Content-Type), scripts (Origin) or made its own name point here (Host).
func (s *Server) local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		switch {
		case err != nil || !peer.Addr().Unmap().IsLoopback():
			fail(w, http.StatusForbidden, "%s is answered only on the host itself", r.URL.Path)
		case !s.isOurs(r.Host):
			fail(w, http.StatusForbidden, "the Host header %q is not this node's address", r.Host)
		case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
			fail(w, http.StatusForbidden, "%s is not for pages in a browser", r.URL.Path)
		case r.Method == http.MethodPost && !isJSON(r):
			fail(w, http.StatusUnsupportedMediaType, "send Content-Type: application/json")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isOurs reports whether a Host header names loopback or the address that is listened on.
func (s *Server) isOurs(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = strings.Trim(hostPort, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if address.Unmap().IsLoopback() {
		return true
	}
	own, err := netip.ParseAddrPort(s.listener.Addr().String())
	return err == nil && !own.Addr().IsUnspecified() && own.Addr().Unmap() == address.Unmap()
}

func isJSON(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/json"
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	report := s.control.Report(r.Context())
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		answer(w, http.StatusOK, report)
	case "text":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = report.Table(w) // the peer is gone
	default:
		fail(w, http.StatusBadRequest, "format: %q is unknown; there are json and text", format)
	}
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, doneBody{Done: "the process works"})
}

// health gives what is wrong, a line each.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	report := s.control.Report(r.Context())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if report.Healthy {
		fmt.Fprintln(w, "healthy")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, problem := range report.Problems {
		fmt.Fprintln(w, strings.Join(strings.Fields(problem), " "))
	}
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	report := s.control.Report(r.Context())
	if report.Connected() && !report.Stuck() {
		answer(w, http.StatusOK, doneBody{Done: "ready"})
		return
	}
	body := errorBody{Error: "not ready"}
	for _, source := range report.Sources {
		if source.State == status.SourceConnecting || source.State == status.SourceStopped {
			body.Reasons = append(body.Reasons, fmt.Sprintf("source %s is %s", source.Name, source.State))
		}
	}
	for _, duty := range report.Duties {
		if duty.Stage.Stuck() {
			body.Reasons = append(body.Reasons, fmt.Sprintf("%s is %s", duty.ID, duty.Stage))
		}
	}
	answer(w, http.StatusServiceUnavailable, body)
}

func (s *Server) pause(paused bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body pauseBody
		if !read(w, r, &body) {
			return
		}
		kind, name, ok := strings.Cut(body.What, "/")
		if !ok || name == "" || !slices.Contains([]string{"source", "sink", "mapping"}, kind) {
			fail(w, http.StatusBadRequest, "what: want source/NAME, sink/NAME or mapping/NAME, got %q", body.What)
			return
		}
		done := "resumed"
		if paused {
			done = "paused"
		}
		finish(w, doneBody{Done: body.What + " " + done}, s.control.SetPaused(r.Context(), body.What, paused))
	}
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	var body applyBody
	if !read(w, r, &body) {
		return
	}
	file, err := config.FromCluster(body.Key, body.Config)
	if err == nil {
		err = file.Validate()
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "%s", err)
		return
	}
	applied, err := s.control.Apply(r.Context(), file, body.DryRun)
	finish(w, applied, err)
}

func (s *Server) startLoad(w http.ResponseWriter, r *http.Request) {
	var body loadBody
	if !read(w, r, &body) {
		return
	}
	source, mapping, ok := cutDuty(w, body.Duty)
	if !ok {
		return
	}
	finish(w, doneBody{Done: "load of " + body.Duty + " begins"}, s.control.StartLoad(r.Context(), source, mapping, body.Part))
}

// cutDuty cuts SOURCE/MAPPING; it answers when that is not one.
func cutDuty(w http.ResponseWriter, duty string) (source, mapping string, ok bool) {
	source, mapping, ok = strings.Cut(duty, "/")
	if !ok || source == "" || mapping == "" || strings.ContainsAny(mapping, "/#") {
		fail(w, http.StatusBadRequest, "duty: want SOURCE/MAPPING, got %q", duty)
		return "", "", false
	}
	return source, mapping, true
}

func (s *Server) loadProgress(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("duty")
	duty, ok := s.control.Report(r.Context()).Duty(strings.TrimSuffix(id, "#load") + "#load")
	if !ok {
		fail(w, http.StatusNotFound, "there is no load of %q", id)
		return
	}
	answer(w, http.StatusOK, duty)
}

func (s *Server) quarantine(w http.ResponseWriter, r *http.Request) {
	entries, err := s.control.Quarantine(r.Context())
	if entries == nil {
		entries = []cluster.Quarantined{} // a list, not null
	}
	finish(w, entries, err)
}

func (s *Server) quarantined(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, "want the number of an entry, got %q", r.PathValue("id"))
		return
	}
	entries, err := s.control.Quarantine(r.Context())
	if err != nil {
		finish(w, nil, err)
		return
	}
	i := slices.IndexFunc(entries, func(q cluster.Quarantined) bool { return q.ID == id })
	if i < 0 {
		fail(w, http.StatusNotFound, "nothing is set aside under %d", id)
		return
	}
	answer(w, http.StatusOK, entries[i])
}

// release serves retry and drop.
func (s *Server) release(do func(ctx context.Context, ids []uint64) (int, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body idsBody
		if !read(w, r, &body) {
			return
		}
		if body.All == (len(body.IDs) > 0) {
			fail(w, http.StatusBadRequest, "want either ids or all")
			return
		}
		entries, err := s.control.Quarantine(r.Context())
		if err != nil {
			finish(w, nil, err)
			return
		}
		known := map[uint64]bool{}
		for _, q := range entries {
			known[q.ID] = true
			if body.All {
				body.IDs = append(body.IDs, q.ID)
			}
		}
		for _, id := range body.IDs {
			if !known[id] {
				fail(w, http.StatusNotFound, "nothing is set aside under %d", id)
				return
			}
		}
		if len(body.IDs) == 0 {
			answer(w, http.StatusOK, countBody{})
			return
		}
		n, err := do(r.Context(), body.IDs)
		switch {
		case err == nil:
			answer(w, http.StatusOK, countBody{Count: n})
		case errors.Is(err, cluster.ErrNotLeader):
			finish(w, nil, err)
		default:
			answer(w, http.StatusOK, countBody{Count: n, Failed: strings.Split(err.Error(), "\n")})
		}
	}
}

// read decodes a request's body strictly; it has answered when it returns false.
func read(w http.ResponseWriter, r *http.Request, body any) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		fail(w, http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", maxBody)
		return false
	case err != nil:
		fail(w, http.StatusBadRequest, "the body could not be read")
		return false
	}
	if err := decodeStrict(data, body); err != nil {
		fail(w, http.StatusBadRequest, "%s", err)
		return false
	}
	return true
}

// finish answers with body, or with what went wrong.
func finish(w http.ResponseWriter, body any, err error) {
	switch {
	case err == nil:
		answer(w, http.StatusOK, body)
	case errors.Is(err, ErrNotFound):
		fail(w, http.StatusNotFound, "%s", err)
	case errors.Is(err, ErrRefused):
		fail(w, http.StatusConflict, "%s", err)
	case errors.Is(err, cluster.ErrNotLeader):
		fail(w, http.StatusServiceUnavailable, "%s; try again", err)
	default:
		fail(w, http.StatusInternalServerError, "%s", err)
	}
}

func fail(w http.ResponseWriter, code int, format string, args ...any) {
	answer(w, code, errorBody{Error: fmt.Sprintf(format, args...)})
}

func answer(w http.ResponseWriter, code int, body any) {
	data, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		code, data = http.StatusInternalServerError, []byte(`{"error": "the answer is no JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(data, '\n')) // the peer is gone
}
