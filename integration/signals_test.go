//go:build integration

package integration_test

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestSignals sends a node what it does not end by, and then SIGQUIT, whose dump must not show a secret: B75.
func TestSignals(t *testing.T) {
	r := newRig(t, "signals", oracle.WorkloadConfig{}, "")
	r.start()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE} {
		r.must(syscall.Kill(r.node.PID(), sig))
	}
	r.must(r.work.Fill(t.Context(), 10))
	r.equal()
	r.must(syscall.Kill(r.node.PID(), syscall.SIGQUIT))
	<-r.node.Ended()
	log, err := os.ReadFile(r.node.LogFile())
	r.must(err)
	for _, want := range []string{"SIGHUP changes nothing; canalgo apply FILE", "SIGQUIT: quit", "goroutine ", "canalgo/sink.(*Worker)"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log does not have %q", want)
		}
	}
	for _, secret := range []string{component.CanalgoPassword, component.ElasticPassword} {
		if strings.Contains(string(log), secret) {
			t.Error("the dump shows a password")
		}
	}
	r.start()
	r.equal()
}

// TestSecondInterrupt stops a node whose last write gets no answer: the first SIGINT waits for it, the second one does not.
func TestSecondInterrupt(t *testing.T) {
	r := newRig(t, "interrupt", oracle.WorkloadConfig{}, "")
	r.start()
	release, caught := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(caught) })
	r.proxy.FailRequests(func(*http.Request) int {
		first()
		<-release
		return 0
	})
	r.must(r.work.Fill(t.Context(), 10))
	<-caught
	r.must(syscall.Kill(r.node.PID(), syscall.SIGINT))
	r.awaitReport("the node to hand over", func(report status.Report) bool { return report.Nodes[0].State == status.NodeDrains })
	r.must(syscall.Kill(r.node.PID(), syscall.SIGINT))
	<-r.node.Ended()
	if code := r.node.ExitCode(); code == 0 {
		t.Error("ended in order, as if there had been no second SIGINT")
	}
	close(release)
	r.proxy.FailRequests(nil)
	r.start()
	r.equal()
}
