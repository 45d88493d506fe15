package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"canalgo/status"
)

// Wait asks for the status until it is as it should be, and returns that. When ctx ends, or the process, the error says what
// was waited for, the last status and the end of the log.
func (n *Node) Wait(ctx context.Context, what string, is func(status.Report) bool) (status.Report, error) {
	var report status.Report
	err := n.wait(ctx, what, func() (err error) {
		report, err = n.Status(ctx)
		if err == nil && !is(report) {
			text, _ := json.Marshal(report)
			err = fmt.Errorf("not yet: %s", text)
		}
		return err
	})
	return report, err
}

// WaitReady waits until /readyz says that the node does its work.
func (n *Node) WaitReady(ctx context.Context) error {
	return n.wait(ctx, "/readyz", func() error {
		_, err := n.Get(ctx, "/readyz")
		return err
	})
}

func (n *Node) wait(ctx context.Context, what string, check func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	defer close(over)
	ended := n.Ended()
	go func() {
		select {
		case <-ended:
			cancel(fmt.Errorf("canalgo ended with %d", n.ExitCode()))
		case <-over:
		}
	}()
	var last error // that does not only say that time is over
	err := Poll(ctx, func() error {
		err := check()
		if err != nil && ctx.Err() == nil {
			last = err
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w; at last: %w; the end of the log:\n%s", what, context.Cause(ctx), last, n.LogTail(20))
	}
	return nil
}

// Leaks looks for secrets in everything that the node shows or stores: its log, its data folder, and, while it runs, its
// status and metrics and what the command status prints. The error names the places, not the secret.
func (n *Node) Leaks(ctx context.Context, secrets ...string) error {
	var places []string
	inspect := func(place string, text []byte) {
		if slices.ContainsFunc(secrets, func(s string) bool { return bytes.Contains(text, []byte(s)) }) {
			places = append(places, place)
		}
	}
	log, err := os.ReadFile(n.LogFile())
	if err != nil {
		return fmt.Errorf("look for secrets: %w", err)
	}
	inspect(n.LogFile(), log)
	err = filepath.WalkDir(n.Data(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		inspect(path, data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a file may go while we look
		return fmt.Errorf("look for secrets: %w", err)
	}
	if n.PID() != 0 {
		for _, path := range []string{"/status", "/metrics"} {
			data, err := n.Get(ctx, path)
			if err != nil {
				return fmt.Errorf("look for secrets: %w", err)
			}
			inspect(path, data)
		}
		for _, args := range [][]string{{"status"}, {"status", "-json"}, {"quarantine", "ls"}} {
			out, err := n.Command(ctx, args...)
			if err != nil {
				return fmt.Errorf("look for secrets: %w", err)
			}
			inspect("canalgo "+strings.Join(args, " "), []byte(out.Stdout+out.Stderr))
		}
	}
	if len(places) > 0 {
		return fmt.Errorf("a secret is in %s", strings.Join(places, ", "))
	}
	return nil
}
