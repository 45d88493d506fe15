package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"canalgo/integration/component"
)

// started are the nodes that ran since the last call of AllLeaks.
var started struct {
	mu    sync.Mutex
	nodes []*Node
}

func noteStart(n *Node) {
	started.mu.Lock()
	defer started.mu.Unlock()
	if !slices.Contains(started.nodes, n) {
		started.nodes = append(started.nodes, n)
	}
}

// AllLeaks looks for what tests plant in what is left of every node that was started since its last call: logs and data folders.
// What nodes answered, and what commands printed, was looked at when it came. The error names the places.
func AllLeaks() error {
	started.mu.Lock()
	nodes := started.nodes
	started.nodes = nil
	started.mu.Unlock()
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.stored([]string{component.Planted}))
	}
	return errors.Join(errs...)
}

// clean returns an error when a text holds what tests plant.
func clean(what string, text []byte) error {
	if bytes.Contains(text, []byte(component.Planted)) {
		return fmt.Errorf("a secret is in %s", what)
	}
	return nil
}

// Leaks looks for secrets, beside those that tests plant, in everything that the node shows or stores: its log, its data folder,
// and, while it runs, its status and metrics and what commands print. The error names the places, not the secret.
func (n *Node) Leaks(ctx context.Context, secrets ...string) error {
	secrets = append([]string{component.Planted}, secrets...)
	errs := []error{n.stored(secrets)}
	inspect := func(place string, text []byte, err error) {
		if err == nil && holds(text, secrets) {
			err = fmt.Errorf("a secret is in %s", place)
		}
		errs = append(errs, err)
	}
	if n.PID() != 0 {
		for _, path := range []string{"/status", "/metrics"} {
			data, err := n.Get(ctx, path)
			inspect(path, data, err)
		}
		for _, args := range [][]string{{"status"}, {"status", "-json"}, {"quarantine", "ls"}} {
			out, err := n.Command(ctx, args...)
			inspect("canalgo "+strings.Join(args, " "), []byte(out.Stdout+out.Stderr), err)
		}
	}
	return errors.Join(errs...)
}

func holds(text []byte, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(s string) bool { return bytes.Contains(text, []byte(s)) })
}

// stored looks into the log and the data folder. The cluster's token stands in one file of it, and has to.
func (n *Node) stored(secrets []string) error {
	var places []string
	inspect := func(path string) error {
		data, err := os.ReadFile(path)
		if holds(data, secrets) {
			places = append(places, path)
		}
		return err
	}
	if err := inspect(n.LogFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for secrets: %w", err)
	}
	err := filepath.WalkDir(n.Data(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && path != filepath.Join(n.Data(), "secret") {
			err = inspect(path)
		}
		if errors.Is(err, fs.ErrNotExist) { // a file may go while we look
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look for secrets: %w", err)
	}
	if len(places) > 0 {
		return fmt.Errorf("a secret is in %s", strings.Join(places, ", "))
	}
	return nil
}
