// Command demo plays a story on a real MySQL, a real Elasticsearch and a cluster of the canalgo that make build made, and prints
// it as a timeline with measured times. It ends with 0 only if every step came true.
//
//	make demo
//	DEMO_KEEP=1 make demo   # afterwards everything runs on, with its addresses printed, until it is interrupted
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
)

// limit ends a story that hangs; it takes one to three minutes.
const limit = 15 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, os.Getenv("DEMO_KEEP") == "1"); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run plays the story. The folder with data and logs is removed unless a step failed.
func run(ctx context.Context, out io.Writer, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "canalgo-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\ndata and logs are in %s", err, dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	d := &demo{dir: dir, cluster: &harness.Cluster{Dir: dir}}
	defer func() { err = errors.Join(err, d.end()) }()

	playing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := play(playing, out, d.story()); err != nil {
		return err
	}
	if err := d.showStatus(playing, out); err != nil {
		return err
	}
	if keep {
		d.showAddresses(out)
		<-ctx.Done()
	}
	return nil
}

// A step is a line of the story. It returns what was measured; further lines of that are printed below it.
type step struct {
	what string
	do   func(ctx context.Context) (string, error)
}

// play does the steps in order and prints each as it comes true, until the first that does not.
func play(ctx context.Context, out io.Writer, story []step) error {
	begin := time.Now()
	for _, s := range story {
		measured, err := s.do(ctx)
		at := time.Since(begin).Seconds()
		if err != nil {
			fmt.Fprintf(out, "%6.1f s  FAILED  %s\n", at, s.what)
			return fmt.Errorf("%s: %w", s.what, err)
		}
		first, rest, more := strings.Cut(measured, "\n")
		fmt.Fprintf(out, "%6.1f s  ok  %-56s  %s\n", at, s.what, first)
		if more {
			fmt.Fprintln(out, strings.Repeat(" ", 16)+strings.ReplaceAll(rest, "\n", "\n"+strings.Repeat(" ", 16)))
		}
	}
	fmt.Fprintf(out, "%6.1f s  every step came true\n", time.Since(begin).Seconds())
	return nil
}

// demo holds what the story is played with; fields are nil or empty until their step.
type demo struct {
	dir     string
	db      *component.MySQL
	es      *component.Elasticsearch
	cluster *harness.Cluster
	token   string // of the cluster
	tables  []table
	load    *load
	probes  int // rows that were inserted to be seen
}

// showStatus prints what canalgo status says, which ends with another code than 0 when something is stuck.
func (d *demo) showStatus(ctx context.Context, out io.Writer) error {
	n := d.cluster.Nodes[0]
	fmt.Fprintf(out, "\n$ ./canalgo status -http %s\n", n.HTTP)
	got, err := n.Command(ctx, "status")
	if err != nil {
		return err
	}
	fmt.Fprint(out, got.Stdout)
	if got.Code != 0 {
		return fmt.Errorf("canalgo status ended with %d: %s", got.Code, got.Stderr)
	}
	return nil
}

// showAddresses says where everything is and how to look at it.
func (d *demo) showAddresses(out io.Writer) {
	fmt.Fprintf(out, "\nmysql          %s\n", d.db.Client)
	fmt.Fprintf(out, "elasticsearch  curl -u canalgo:%s %s/orders/_search\n", component.ElasticPassword, d.es.URL())
	for _, n := range d.cluster.Nodes {
		fmt.Fprintf(out, "canalgo %s     ./canalgo status -http %s, process %d\n", n.Name, n.HTTP, n.PID())
	}
	fmt.Fprintf(out, "files          %s\ninterrupt to end all\n", d.dir)
}

// end stops whatever runs. Nodes must obey SIGTERM to the last, also when there is no majority left.
func (d *demo) end() error {
	var errs []error
	if d.load != nil {
		errs = append(errs, d.load.stop())
	}
	var stopping sync.WaitGroup
	ends := make([]error, len(d.cluster.Nodes))
	for i, n := range d.cluster.Nodes {
		if n.PID() != 0 {
			stopping.Go(func() { ends[i] = stopInOrder(n) })
		}
	}
	stopping.Wait()
	errs = append(errs, ends...)
	if d.es != nil {
		errs = append(errs, d.es.Kill()) // its data is thrown away
	}
	if d.db != nil {
		errs = append(errs, d.db.Kill())
	}
	return errors.Join(errs...)
}

// stopInOrder ends a node by SIGTERM; another exit code than 0 is an error.
func stopInOrder(n *harness.Node) error {
	if err := n.Stop(); err != nil {
		return err
	}
	if code := n.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %d after SIGTERM:\n%s", n.Name, code, n.LogTail(20))
	}
	return nil
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

func took(begin time.Time) string { return round(time.Since(begin)) }

func round(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// pause waits; the error is ctx's.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
