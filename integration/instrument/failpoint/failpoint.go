// Package failpoint is what the marks of an instrumented build call. Nothing else imports it: a plain build has none of it.
//
// A point does nothing until it is armed: over HTTP at CANALGO_FAILPOINTS (HOST:PORT, a loopback address), or from the start by
// CANALGO_FAILPOINTS_ARMED, which holds paths as HTTP takes them, with blanks between:
//
//	PUT /sink.after_write?action=kill&skip=3     the fourth time this point is passed, SIGKILL
//	PUT /fsm.before_apply?action=sleep:200ms     each time
//	PUT /sink.before_write?action=block&count=1  until it is released
//	DELETE /sink.before_write                    disarms it and releases what is blocked there
//	GET /                                        every point: how often it was passed, how often it acted
package failpoint

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// An action is what an armed point does.
type action struct {
	kind  string        // kill, panic, sleep, error or block
	sleep time.Duration // of sleep
	skip  int           // passes that are let through first
	count int           // acts that are left; negative: no end
	free  chan struct{} // closed when what is blocked may go on
}

// A State is what GET / says of a point.
type State struct {
	Passed int    // how often it was passed since the start
	Acted  int    // of them, how often it did something
	Armed  string // the action; "" when there is none
}

var points = struct {
	sync.Mutex
	states  map[string]*State
	actions map[string]*action
}{states: make(map[string]*State), actions: make(map[string]*action)}

func init() {
	register(names)
	for _, path := range strings.Fields(os.Getenv("CANALGO_FAILPOINTS_ARMED")) {
		if err := armPath(path); err != nil {
			fatal("CANALGO_FAILPOINTS_ARMED", err)
		}
	}
	if address := os.Getenv("CANALGO_FAILPOINTS"); address != "" {
		if err := serve(address); err != nil {
			fatal("CANALGO_FAILPOINTS", err)
		}
	}
}

func register(names []string) {
	for _, name := range names {
		points.states[name] = new(State)
	}
}

// fatal ends the process before it does anything else: a test must not run without what it asked for.
func fatal(variable string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", variable, err)
	os.Exit(2)
}

// Hit passes a point. The action error puts its error into each of errs.
func Hit(name string, errs ...*error) {
	a := pass(name)
	if a == nil {
		return
	}
	switch a.kind {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal may take a moment
	case "panic":
		panic("failpoint " + name)
	case "sleep":
		time.Sleep(a.sleep)
	case "block":
		<-a.free
	case "error":
		for _, err := range errs {
			*err = fmt.Errorf("failpoint %s", name)
		}
	}
}

// pass counts, and returns what is to be done.
func pass(name string) *action {
	points.Lock()
	defer points.Unlock()
	state := points.states[name]
	state.Passed++
	a := points.actions[name]
	switch {
	case a == nil || a.count == 0:
		return nil
	case a.skip > 0:
		a.skip--
		return nil
	}
	a.count--
	state.Acted++
	return a
}

// armPath arms a point as a path with a query says: NAME?action=kill&count=1&skip=2.
func armPath(path string) error {
	name, query, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return arm(name, values)
}

func arm(name string, values url.Values) error {
	if points.states[name] == nil {
		return fmt.Errorf("no failpoint is named %q, there are %s", name, strings.Join(slices.Sorted(maps.Keys(points.states)), ", "))
	}
	a := &action{count: -1, free: make(chan struct{})}
	for key, value := range values {
		var err error
		switch text := value[0]; key {
		case "action":
			err = a.parse(text)
		case "count":
			a.count, err = strconv.Atoi(text)
		case "skip":
			a.skip, err = strconv.Atoi(text)
		default:
			err = errors.New("is not one of action, count and skip")
		}
		if err != nil {
			return fmt.Errorf("failpoint %s: %s: %w", name, key, err)
		}
	}
	if a.kind == "" {
		return fmt.Errorf("failpoint %s: say action=kill, panic, sleep:DURATION, error or block", name)
	}
	disarm(name)
	points.Lock()
	defer points.Unlock()
	points.actions[name], points.states[name].Armed = a, values.Get("action")
	return nil
}

func (a *action) parse(text string) (err error) {
	kind, rest, timed := strings.Cut(text, ":")
	switch kind {
	case "kill", "panic", "error", "block":
		if timed {
			return fmt.Errorf("%q: only sleep takes a time", text)
		}
	case "sleep":
		if a.sleep, err = time.ParseDuration(rest); err != nil {
			return fmt.Errorf("%q: want sleep:200ms: %w", text, err)
		}
	default:
		return fmt.Errorf("%q is not one of kill, panic, sleep:DURATION, error and block", text)
	}
	a.kind = kind
	return nil
}

// disarm takes a point's action away and releases what is blocked there.
func disarm(name string) {
	points.Lock()
	defer points.Unlock()
	if a := points.actions[name]; a != nil {
		close(a.free)
		delete(points.actions, name)
		points.states[name].Armed = ""
	}
}
