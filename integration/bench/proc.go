package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat; Linux shows 100 a second to programs on every machine that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuOf returns the CPU time of a process so far, user and system.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// proc(5): the name in parentheses can hold spaces; utime and stime are fields 14 and 15, the name is the second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q is too short", pid, stat)
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += time.Duration(n) * clockTick
	}
	return sum, nil
}

// peakRSS returns the most memory that a process has held so far, in bytes.
func peakRSS(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmHWM", pid)
}

// The machine counts as quiet when the servers together use less than a tenth of one CPU.
const (
	quietWindow  = 500 * time.Millisecond
	quietTimeout = 40 * time.Second
)

// quiet waits until the servers have done what they do by themselves after a run, so that the next one does not pay for it; it
// says so when they do not come to rest.
func quiet(ctx context.Context, report func(format string, args ...any), pids ...int) error {
	used := func() (time.Duration, error) {
		var sum time.Duration
		for _, pid := range pids {
			cpu, err := cpuOf(pid)
			if err != nil {
				return 0, err
			}
			sum += cpu
		}
		return sum, nil
	}
	for began := time.Now(); time.Since(began) < quietTimeout; {
		before, err := used()
		if err != nil {
			return err
		}
		if err := pause(ctx, quietWindow); err != nil {
			return err
		}
		after, err := used()
		if err != nil {
			return err
		}
		if after-before <= quietWindow/10 {
			return nil
		}
	}
	report("the servers were still busy after %s", quietTimeout)
	return nil
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// errTimeout says that something that was waited for did not come in runTimeout.
var errTimeout = errors.New("timeout")

// runTimeout bounds each single measurement.
const runTimeout = 5 * time.Minute

// until calls done every so often until it says true.
func until(ctx context.Context, every time.Duration, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, runTimeout, errTimeout)
	defer cancel()
	for {
		ok, err := done(ctx)
		if ok || err != nil {
			return err
		}
		if pause(ctx, every) != nil {
			return context.Cause(ctx)
		}
	}
}
