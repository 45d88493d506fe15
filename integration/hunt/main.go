// Command hunt tests the laboratory itself: it builds canalgo with the bugs that integration/instrument makes on purpose, and plays
// the random schedules of integration/lab, which know nothing of them, with one bug after the other until a schedule finds it. That
// schedule is then played again without the bug, and must find nothing: else it was not the bug that was found.
//
//	go run ./integration/hunt -tries 50 ack_before_write conflict_is_success
//
// It ends with 0 only if each was found.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"canalgo/integration/instrument"
	"canalgo/integration/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tries := flag.Int("tries", 50, "schedules that are played at most with each bug")
	seed := flag.Uint64("seed", 1, "of the first of them")
	load := flag.Duration("load", 8*time.Second, "how long the faults and the writes of a schedule last")
	flag.Parse()
	if err := run(ctx, flag.Args(), *tries, *seed, *load); err != nil {
		fmt.Fprintln(os.Stderr, "hunt:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bugs []string, tries int, seed uint64, load time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "canalgo-hunt-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := instrument.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	if err := os.Setenv("CANALGO_BINARY", binary); err != nil {
		return err
	}
	l, err := lab.New(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var missed []string
	for _, bug := range bugs {
		found, err := hunt(ctx, l, bug, tries, seed, load)
		if err != nil {
			return fmt.Errorf("%s: %w", bug, err)
		}
		if !found {
			missed = append(missed, bug)
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("not found in %d schedules each: %s", tries, strings.Join(missed, ", "))
	}
	return nil
}

// control plays a schedule without any bug. The error says that it finds something all the same.
func control(ctx context.Context, l *lab.Lab, s lab.Schedule) error {
	if err := os.Unsetenv("CANALGO_BUG"); err != nil {
		return err
	}
	o, err := l.Play(ctx, s)
	if err == nil && len(o.Violations) > 0 {
		err = fmt.Errorf("seed %d is violated without the bug, too: %s; see %s", s.Seed, strings.Join(o.Violations, "\n"), o.Evidence)
	}
	if err == nil {
		fmt.Printf("seed %d without the bug: nothing\n", s.Seed)
	}
	return err
}

// hunt plays schedules with a bug until one finds it.
func hunt(ctx context.Context, l *lab.Lab, bug string, tries int, seed uint64, load time.Duration) (bool, error) {
	if err := os.Setenv("CANALGO_BUG", bug); err != nil {
		return false, err
	}
	for try := range tries {
		schedule := lab.Random(lab.Raft, seed+uint64(try), load)
		o, err := l.Play(ctx, schedule)
		if err != nil {
			return false, err
		}
		if len(o.Violations) > 0 {
			first, _, _ := strings.Cut(o.Violations[0], "\n")
			fmt.Printf("%s: found by schedule %d, seed %d: %s\n", bug, try+1, schedule.Seed, first)
			return true, control(ctx, l, schedule)
		}
	}
	fmt.Printf("%s: not found by %d schedules\n", bug, tries)
	return false, nil
}
