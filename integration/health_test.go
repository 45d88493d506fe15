//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"canalgo/integration/oracle"
	"canalgo/status"
)

// noticed bounds how long something may not get on before status says so.
const noticed = 10 * time.Second

// TestHealth asks for /health: always good while there is little to do and then nothing, and in 10 s named where something is held up.
func TestHealth(t *testing.T) {
	r := newRig(t, "health", oracle.WorkloadConfig{Pace: 300 * time.Millisecond}, "")
	r.start()
	healthy := func() {
		t.Helper()
		r.await("health", func() error { _, err := r.node.Get(context.Background(), "/health"); return err })
	}
	stays := func(what string) {
		t.Helper()
		end := time.Now().Add(8 * time.Second)
		r.await(what, func() error {
			if _, err := r.node.Get(context.Background(), "/health"); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if left := time.Until(end); left > 0 {
				return fmt.Errorf("%s for %s more", what, left)
			}
			return nil
		})
	}
	named := func(problem string) {
		t.Helper()
		began := time.Now()
		r.awaitReport(problem, func(report status.Report) bool {
			return slices.ContainsFunc(report.Problems, func(p string) bool { return strings.HasPrefix(p, problem) })
		})
		if took := time.Since(began); took > noticed {
			t.Errorf("%q after %s, want %s at most", problem, took, noticed)
		}
		if _, err := r.node.Get(context.Background(), "/health"); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("/health: %v, want %q", err, problem)
		}
	}
	healthy()
	stays("idle")
	stop := r.run(r.work.Run)
	r.progress(1)
	stays("low load")

	r.mysql.Stall()
	named("source shop is connecting: ")
	r.mysql.Heal()
	healthy()

	hold := r.proxy.HoldBefore()
	r.caught(hold)
	named("shop/health does not get on: write, the destination has not answered")
	hold.Release()
	healthy()
	stop()
	r.equal()
}
