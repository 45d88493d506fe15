package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"canalgo/api"
	"canalgo/status"
)

// How a load is followed.
const (
	askEvery   = 250 * time.Millisecond
	plainEvery = 5 * time.Second // lines where there is no terminal
	// patience is how long the node may be away: a load survives its restart.
	patience = 30 * time.Second
)

func (i *invocation) load(ctx context.Context, args []string) error {
	flags := i.flags("load")
	detach := flags.Bool("detach", false, "")
	ofPart := flags.Bool("part", false, "")
	client, rest, err := i.client(flags, args)
	if err != nil {
		return err
	}
	if len(rest) == 0 || len(rest) > 1 && !*ofPart || strings.Count(rest[0], "/") != 1 {
		return wrongUse("write canalgo load SOURCE/MAPPING, or canalgo load -part SOURCE/MAPPING PARAM ... for the rows of its etlCondition")
	}
	var part *api.Part
	if *ofPart {
		part = &api.Part{Params: rest[1:]}
	}
	duty := rest[0]
	var before uint64 // how often it ran; 0 when it never did
	if line, err := client.Load(ctx, duty); err == nil && line.Load != nil {
		before = line.Load.Runs
	}
	if err := client.StartLoad(ctx, duty, part); err != nil {
		return unreachable(err)
	}
	if *detach {
		fmt.Fprintf(i.stdout, "the load of %s begins; canalgo status shows how far it is\n", duty)
		return nil
	}
	return follow(ctx, client, duty, before, newProgress(i.stdout))
}

// follow prints a load's progress until it is done. What is told of the runs up to before is old. When ctx ends, the load goes on.
func follow(ctx context.Context, client *api.Client, duty string, before uint64, p *progress) error {
	defer p.end()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	answered := time.Now()
	for {
		line, err := client.Load(ctx, duty)
		var refusal *api.AnswerError
		switch {
		case ctx.Err() != nil:
			p.say(fmt.Sprintf("the load of %s goes on; canalgo status shows how far it is", duty))
			return nil
		case errors.Is(err, api.ErrUnreachable), errors.As(err, &refusal) && (refusal.Code == http.StatusNotFound || refusal.Code >= 500):
			if time.Since(answered) > patience {
				return unreachable(err)
			}
		case err != nil:
			return err
		case line.Load != nil && line.Load.Runs <= before:
			answered = time.Now()
		default:
			answered = time.Now()
			p.show(line)
			if line.Load != nil && line.Load.Phase == "done" {
				return nil
			}
			if line.Stage.Stuck() {
				return fmt.Errorf("the load of %s is %s: %s", duty, line.Stage, line.LastError)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// progress prints how far a load is: one line that is drawn again on a terminal, a line now and then elsewhere.
type progress struct {
	out      io.Writer
	terminal *os.File // nil when out is none
	last     time.Time
	phase    string
	drawn    bool
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal = f
	}
	return p
}

func (p *progress) show(d status.Duty) {
	phase := string(d.Stage)
	if d.Load != nil {
		phase = d.Load.Phase
	}
	changed := phase != p.phase
	p.phase = phase
	if p.terminal == nil {
		if !changed && time.Since(p.last) < plainEvery {
			return
		}
		p.last = time.Now()
		fmt.Fprintln(p.out, text(d))
		return
	}
	width, _, err := term.GetSize(int(p.terminal.Fd()))
	if err != nil {
		width = 80
	}
	fmt.Fprintf(p.out, "\r%s\x1b[K", Bar(d, width-1))
	p.drawn = true
}

// say prints a sentence of its own.
func (p *progress) say(s string) {
	p.end()
	fmt.Fprintln(p.out, s)
}

// end leaves the line that is drawn.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprintln(p.out)
		p.drawn = false
	}
}

// text is the line without a bar.
func text(d status.Duty) string {
	id := strings.TrimSuffix(d.ID, "#load")
	line := id + ": " + plain(d.Place())
	if d.Load != nil && d.Load.Phase == "done" {
		line = id + ": done, " + plain(d.Place())
	}
	if d.Stage == status.Waiting || d.Stage == status.Paused {
		line += " (" + string(d.Stage) + ")"
	}
	return line
}

// Bar draws a load's progress in at most width columns.
func Bar(d status.Duty, width int) string {
	line := text(d)
	const atMost, atLeast = 30, 8
	if d.Load != nil && d.Load.Total > 0 && d.Load.Phase != "done" {
		room := min(atMost, width-utf8.RuneCountInString(line)-3)
		if room >= atLeast {
			full := int(d.Load.Fraction() * float64(room))
			line = "[" + strings.Repeat("#", full) + strings.Repeat(".", room-full) + "] " + line
		}
	}
	if runes := []rune(line); len(runes) > width {
		line = string(runes[:max(0, width)])
	}
	return line
}
