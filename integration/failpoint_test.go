//go:build integration

package integration_test

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"canalgo/integration/instrument"
	"canalgo/integration/oracle"
)

// An instrumented canalgo passes its failpoints, is killed at one, and goes on from there as after any other kill.
func TestFailpoints(t *testing.T) {
	r := newRig(t, "failpoints", oracle.WorkloadConfig{}, "")
	var err error
	r.node.Binary, err = instrument.Build(t.Context(), t.TempDir())
	r.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	process := instrument.Process{Address: listener.Addr().String()}
	r.must(listener.Close())
	t.Setenv("CANALGO_FAILPOINTS", process.Address)
	r.start()
	r.must(r.work.Fill(t.Context(), 200))
	r.equal()

	// What a single node passes: nothing is sent to another, and no snapshot is due.
	passes := []string{"source.before_emit", "feed.after_open", "sink.before_write", "sink.after_write", "worker.before_ack",
		"leader.before_save", "raft.after_propose", "fsm.before_apply", "lease.after_renew"}
	r.await("failpoints", func() error {
		states, err := process.States(t.Context())
		if err != nil {
			return err
		}
		for _, name := range passes {
			if states[name].Passed == 0 {
				return fmt.Errorf("%s was not passed: %v", name, states)
			}
		}
		return nil
	})
	r.must(process.Arm(t.Context(), "sink.before_write", "action=block"))
	r.must(process.Arm(t.Context(), "sink.after_write", "action=kill"))
	stop := r.run(r.work.Run)
	r.await("a blocked write", func() error {
		states, err := process.States(t.Context())
		if err == nil && states["sink.before_write"].Acted == 0 {
			err = errors.New("no write is blocked")
		}
		return err
	})
	r.must(process.Disarm(t.Context(), "sink.before_write"))
	<-r.node.Ended()
	if code := r.node.ExitCode(); code != -1 {
		t.Errorf("ended with code %d, want by a signal:\n%s", code, r.node.LogTail(20))
	}
	r.start()
	stop()
	r.equal()
}
