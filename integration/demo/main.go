// Command demo plays a story on a real MySQL, a real Elasticsearch and the canalgo that make build made, and prints it as a
// timeline with measured times. It ends with 0 only if every step came true.
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
	"syscall"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
)

// limit ends a story that hangs; it takes about two minutes.
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
	d := &demo{dir: dir}
	defer func() { err = errors.Join(err, d.end()) }()

	playing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := play(playing, out, d.story()); err != nil {
		return err
	}
	if keep {
		fmt.Fprintf(out, "\nmysql          mysql -h 127.0.0.1 -P %d -u root\n", d.db.Port)
		fmt.Fprintf(out, "elasticsearch  %s/orders/_search\n", d.es.URL())
		fmt.Fprintf(out, "canalgo        http://%s/status, canalgo status -http %s\n", d.node.HTTP, d.node.HTTP)
		fmt.Fprintf(out, "files          %s\ninterrupt to end all three\n", dir)
		<-ctx.Done()
	}
	return nil
}

// A step is a line of the story. It returns what was measured.
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
		fmt.Fprintf(out, "%6.1f s  ok  %-58s %s\n", at, s.what, measured)
	}
	fmt.Fprintf(out, "%6.1f s  every step came true\n", time.Since(begin).Seconds())
	return nil
}

// demo holds what the story is played with; fields are nil until their step.
type demo struct {
	dir  string
	db   *component.MySQL
	es   *component.Elasticsearch
	node *harness.Node
	load *oracle.Workload
}

// end stops whatever runs.
func (d *demo) end() error {
	var errs []error
	if d.node != nil {
		errs = append(errs, d.node.Stop())
		if code := d.node.ExitCode(); code != 0 {
			errs = append(errs, fmt.Errorf("canalgo ended with %d after SIGTERM:\n%s", code, d.node.LogTail(20)))
		}
	}
	if d.es != nil {
		errs = append(errs, d.es.Kill()) // its data is thrown away
	}
	if d.db != nil {
		errs = append(errs, d.db.Kill())
	}
	return errors.Join(errs...)
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }
