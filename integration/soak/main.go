// Command soak plays random schedules of faults against three canalgo processes between a real MySQL and a real Elasticsearch, one
// after the other, and judges each: whether anything was lost, went back or did not come to rest. Each is one line of the report's
// file, to which later runs add. The logs and the trace of one that failed stay, and the next one is played. It ends with 0 only if
// none failed.
//
//	go run ./integration/soak -schedules 20            # with seeds of their own, after those in the report
//	go run ./integration/soak -seed 7                  # that one
//	go run ./integration/soak -trace FILE              # the same faults again
//	go run ./integration/soak -mode zookeeper -schedules 20
//	go run ./integration/soak -kills 200 -cuts 200     # of the leader, each measured
//	go run ./integration/soak -render docs/reliability.md
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"canalgo/integration/harness"
	"canalgo/integration/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := soak{mode: lab.Raft}
	flag.IntVar(&s.schedules, "schedules", 0, "how many random schedules are played")
	flag.Func("mode", "what coordinates the clusters of the schedules: raft (the default) or zookeeper", s.setMode)
	flag.IntVar(&s.kills, "kills", 0, "how many times the leader is killed, and measured until a new row arrives")
	flag.IntVar(&s.cuts, "cuts", 0, "how many times the leader is cut off from the others, and its requests are counted; then as many without versions")
	flag.StringVar(&s.document, "render", "", "a document, into which the report's figures are put; nothing is played")
	flag.Uint64Var(&s.seed, "seed", 0, "of the first one; 0 goes on after the report's last")
	flag.StringVar(&s.trace, "trace", "", "plays the schedule of this trace instead")
	flag.DurationVar(&s.load, "load", 8*time.Second, "how long the faults and the writes of a schedule last")
	flag.StringVar(&s.report, "report", "", "the file that each result is added to")
	flag.StringVar(&s.evidence, "evidence", "", "the folder for what is left of schedules that failed; a temporary one when empty")
	flag.Parse()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

type soak struct {
	mode                    lab.Mode
	schedules, kills, cuts  int
	seed                    uint64
	load                    time.Duration
	trace, report, evidence string
	document                string

	build  string
	lab    *lab.Lab
	failed int
}

func (s *soak) setMode(text string) error {
	s.mode = lab.Mode(text)
	if s.mode != lab.Raft && s.mode != lab.ZooKeeper {
		return fmt.Errorf("want %s or %s", lab.Raft, lab.ZooKeeper)
	}
	return nil
}

func (s *soak) run(ctx context.Context) (err error) {
	if s.document != "" {
		records, err := lab.Read(s.report)
		if err != nil {
			return err
		}
		return render(s.document, records)
	}
	if s.evidence == "" {
		if s.evidence, err = os.MkdirTemp("", "canalgo-soak-"); err != nil {
			return err
		}
	}
	if s.evidence, err = filepath.Abs(s.evidence); err != nil {
		return err
	}
	if s.build, err = build(ctx); err != nil {
		return err
	}
	all, err := s.plan()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for i, schedule := range all {
		if err := s.play(ctx, schedule, fmt.Sprintf("%d/%d", i+1, len(all))); err != nil {
			return err
		}
	}
	if err := s.leaders(ctx); err != nil {
		return err
	}
	if s.failed > 0 {
		return fmt.Errorf("%d failed; what is left of them is in %s", s.failed, s.evidence)
	}
	return nil
}

// plan returns the schedules to play.
func (s *soak) plan() ([]lab.Schedule, error) {
	if s.trace != "" {
		text, err := os.ReadFile(s.trace)
		if err != nil {
			return nil, err
		}
		one, err := lab.Parse(string(text))
		return []lab.Schedule{one}, err
	}
	first := s.seed
	if first != 0 && s.schedules == 0 {
		s.schedules = 1
	}
	if first == 0 {
		records, err := lab.Read(s.report)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			first = max(first, r.Seed)
		}
		first++
	}
	var all []lab.Schedule
	for i := range s.schedules {
		all = append(all, lab.Random(s.mode, first+uint64(i), s.load))
	}
	return all, nil
}

// play plays one. A laboratory that failed itself is made anew, once.
func (s *soak) play(ctx context.Context, schedule lab.Schedule, which string) error {
	began := time.Now()
	o, err := s.try(ctx, schedule)
	if err != nil && ctx.Err() == nil {
		fmt.Printf("%s seed %d: the laboratory failed and is made anew: %v\n", which, schedule.Seed, err)
		if err := s.close(); err != nil {
			fmt.Println(err)
		}
		o, err = s.try(ctx, schedule)
	}
	if err != nil {
		return fmt.Errorf("seed %d: %w", schedule.Seed, err)
	}
	made := 0
	for _, n := range o.Faults {
		made += n
	}
	fmt.Printf("%s seed %d: %d faults (%d kills, %d mid-write), %d rows, %d items, %d repeats, whole after %s, equal after %s; %s\n", which, schedule.Seed, made, o.Kills, o.InFlight,
		o.Rows, o.Items, o.Repeats, o.Whole.Round(10*time.Millisecond), o.Equal.Round(10*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
	if len(o.Violations) > 0 {
		s.failed++
		fmt.Printf("VIOLATED, see %s; the trace is\n%s%s\n", o.Evidence, schedule, strings.Join(o.Violations, "\n"))
	}
	return s.note(o.Record(schedule.Mode, schedule.Seed, s.build))
}

// leaders plays the rows of kills and cuts.
func (s *soak) leaders(ctx context.Context) error {
	type row struct {
		count int
		play  func(context.Context, int) (lab.Record, error)
	}
	versions := func(on bool) func(context.Context, int) (lab.Record, error) {
		return func(ctx context.Context, count int) (lab.Record, error) { return s.lab.CutLeaders(ctx, count, on) }
	}
	kills := func(ctx context.Context, count int) (lab.Record, error) { return s.lab.KillLeaders(ctx, count) }
	for _, r := range []row{{s.kills, kills}, {s.cuts, versions(true)}, {s.cuts, versions(false)}} {
		if r.count == 0 {
			continue
		}
		if err := s.begin(ctx); err != nil {
			return err
		}
		record, err := r.play(ctx, r.count)
		if err != nil {
			return err
		}
		fmt.Printf("%d %s: %s (p50, p99, max) until a new row arrived; %d requests begun after a lease\n", len(record.TimesMS), record.What, percentiles(record.TimesMS), record.Late)
		if len(record.Violations) > 0 {
			s.failed++
			fmt.Printf("VIOLATED\n%s\n", strings.Join(record.Violations, "\n"))
		}
		record.Build = s.build
		if err := s.note(record); err != nil {
			return err
		}
	}
	return nil
}

// note adds a line to the report.
func (s *soak) note(r lab.Record) error {
	if s.report == "" {
		return nil
	}
	return lab.Append(s.report, r)
}

// begin makes the laboratory, unless there is one.
func (s *soak) begin(ctx context.Context) error {
	if s.lab != nil {
		return nil
	}
	made, err := lab.New(ctx, s.evidence)
	if err == nil {
		s.lab = made
	}
	return err
}

func (s *soak) try(ctx context.Context, schedule lab.Schedule) (lab.Outcome, error) {
	if err := s.begin(ctx); err != nil {
		return lab.Outcome{}, err
	}
	return s.lab.Play(ctx, schedule)
}

func (s *soak) close() error {
	if s.lab == nil {
		return nil
	}
	l := s.lab
	s.lab = nil
	return l.Close()
}

// build is the version of the canalgo that is played with.
func build(ctx context.Context) (string, error) {
	binary, err := harness.Binary()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", binary, err)
	}
	return strings.TrimSpace(string(out)), nil
}
