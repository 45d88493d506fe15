//go:build integration

package integration_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
)

// TestCopiedFolder starts a process on a copy of a node's data folder, as a cloned machine would: it ends by itself and says why, and
// the cluster does not notice.
func TestCopiedFolder(t *testing.T) {
	c := newTrio(t, "copied", oracle.WorkloadConfig{Pace: 10 * time.Millisecond}, 2)
	c.begin()
	judge := c.sample()
	stop := c.run(c.work.Run)
	c.progress(100)
	original := c.neither(c.leader())
	c.stopInOrder(original)
	copied, err := harness.Joining(filepath.Join(t.TempDir(), "copy"), original.Name, harness.ClusterToken, c.leader().Port)
	c.must(err)
	c.must(os.CopyFS(copied.Data(), os.DirFS(original.Data())))
	c.startAgain(original)

	c.must(copied.Start())
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	select {
	case <-copied.Ended():
	case <-ctx.Done():
		c.must(copied.Kill())
		t.Fatalf("the copy runs on:\n%s", copied.LogTail(20))
	}
	if last := copied.LogTail(1); copied.ExitCode() != 4 || !strings.Contains(last, "runs already at "+original.Port) || !strings.Contains(last, "is a copy") {
		t.Errorf("the copy ended with %d and says %q", copied.ExitCode(), last)
	}
	c.progress(100)
	c.whole()
	stop()
	c.quiet()
	judge()
	c.allEqual()
}
