package harness

import (
	"context"
	"encoding/json"
	"fmt"

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
