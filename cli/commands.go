package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"canalgo/api"
	"canalgo/config"
)

func (i *invocation) status(ctx context.Context, args []string) error {
	flags := i.flags("status")
	asJSON := flags.Bool("json", false, "")
	client, rest, err := i.client(flags, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return wrongUse("status takes no %q, only -json and -http", rest[0])
	}
	report, err := client.Report(ctx)
	if err != nil {
		return unreachable(err)
	}
	if *asJSON {
		err = printJSON(i.stdout, report)
	} else {
		err = report.Table(i.stdout)
	}
	if err == nil && report.Stuck() {
		return stuckError{}
	}
	return err
}

func (i *invocation) pause(ctx context.Context, verb string, args []string) error {
	client, rest, err := i.client(i.flags(verb), args)
	if err != nil {
		return err
	}
	what := strings.Join(rest, "/")
	kind, name, _ := strings.Cut(what, "/")
	if !slices.Contains([]string{"source", "sink", "mapping"}, kind) || name == "" || strings.Contains(name, "/") {
		return wrongUse("write canalgo %s source NAME, sink NAME or mapping NAME", verb)
	}
	if err := client.SetPaused(ctx, what, verb == "pause"); err != nil {
		return unreachable(err)
	}
	fmt.Fprintf(i.stdout, "%s %s: %sd\n", kind, name, verb)
	return nil
}

func (i *invocation) token(_ context.Context, args []string) error {
	flags := i.flags("token")
	data := flags.String("data", config.DefaultNode().Data, "")
	path := flags.String("config", "", "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return wrongUse("token takes no %q, only -data FOLDER or -config FILE", rest[0])
	}
	if err := dataOf(*path, data); err != nil {
		return err
	}
	token, err := i.program.Token(*data)
	if err != nil {
		return &PreconditionError{err}
	}
	fmt.Fprintln(i.stdout, token)
	return nil
}

// dataOf sets the data folder to that of a file, if one is named.
func dataOf(path string, data *string) error {
	if path == "" {
		return nil
	}
	file, err := config.Load(path)
	if err != nil {
		return fileError(err)
	}
	*data = file.Node.Data
	return nil
}

func (i *invocation) leave(ctx context.Context, args []string) error {
	client, rest, err := i.client(i.flags("leave"), args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return wrongUse("leave takes no %q: it is the node that -http names which leaves; canalgo remove NODE takes out another one", rest[0])
	}
	if err := client.Leave(ctx); err != nil {
		return unreachable(err)
	}
	fmt.Fprintln(i.stdout, "the node hands over, leaves the cluster and stops")
	return nil
}

func (i *invocation) remove(ctx context.Context, args []string) error {
	client, rest, err := i.client(i.flags("remove"), args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return wrongUse("write canalgo remove NODE")
	}
	if err := client.Remove(ctx, rest[0]); err != nil {
		return unreachable(err)
	}
	fmt.Fprintf(i.stdout, "%s is no longer a member\n", plain(rest[0]))
	return nil
}

func (i *invocation) rewind(ctx context.Context, args []string) error {
	client, rest, err := i.client(i.flags("rewind"), args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return wrongUse("write canalgo rewind SOURCE PLACE, where PLACE is FILE:OFFSET, a time, a GTID set or current")
	}
	at, err := client.Rewind(ctx, rest[0], rest[1])
	if err != nil {
		return unreachable(err)
	}
	fmt.Fprintf(i.stdout, "%s goes on from %s, in a new epoch\n", plain(rest[0]), plain(at))
	return nil
}

func (i *invocation) diff(ctx context.Context, args []string) error {
	client, file, err := i.fileOf(i.flags("diff"), args)
	if err != nil {
		return err
	}
	applied, err := client.Apply(ctx, file, true)
	if err != nil {
		return unreachable(err)
	}
	i.changes(applied)
	return nil
}

func (i *invocation) apply(ctx context.Context, args []string) error {
	flags := i.flags("apply")
	dryRun := flags.Bool("dry-run", false, "")
	client, file, err := i.fileOf(flags, args)
	if err != nil {
		return err
	}
	applied, err := client.Apply(ctx, file, *dryRun)
	if err != nil {
		return unreachable(err)
	}
	i.changes(applied)
	if *dryRun {
		fmt.Fprintln(i.stdout, "nothing was changed; without -dry-run this would be in use")
		return nil
	}
	fmt.Fprintf(i.stdout, "configuration %d is in use\n", applied.Version)
	return nil
}

// fileOf parses the arguments of a command that takes one file, and reads it.
func (i *invocation) fileOf(flags *flag.FlagSet, args []string) (*api.Client, config.File, error) {
	client, rest, err := i.client(flags, args)
	if err != nil {
		return nil, config.File{}, err
	}
	if len(rest) != 1 {
		return nil, config.File{}, wrongUse("write canalgo %s FILE", flags.Name())
	}
	file, err := config.Load(rest[0])
	if err != nil {
		return nil, config.File{}, fileError(err)
	}
	return client, file, nil
}

func (i *invocation) changes(applied api.Applied) {
	if len(applied.Changes) == 0 {
		fmt.Fprintln(i.stdout, "no difference")
	}
	for _, line := range applied.Changes {
		fmt.Fprintln(i.stdout, plain(line))
	}
	for _, duty := range applied.NeedLoad {
		fmt.Fprintf(i.stdout, "%s: documents that exist keep the old rule until canalgo load %s\n", duty, duty)
	}
}

// Checked is what a check found out.
type Checked struct {
	Lines   []CheckLine
	Samples []Sample
}

// A CheckLine is one thing that was tried.
type CheckLine struct {
	What   string // "source.shop: binlog_row_metadata"
	OK     bool
	Warn   bool   // works, but look at it; with OK
	Detail string // what was found, and what was wanted
	Fix    string // the statement or setting that would put it right; "" when nothing is to be done
}

// A Sample is the document that a row would become.
type Sample struct {
	Mapping, Index, ID string
	Document           json.RawMessage
}

func (i *invocation) check(ctx context.Context, args []string) error {
	rest, err := parse(i.flags("check"), args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return wrongUse("write canalgo check FILE")
	}
	file, err := config.Load(rest[0])
	if err != nil {
		return fileError(err)
	}
	checked, err := i.program.Check(ctx, file)
	if err != nil {
		return err
	}
	for _, warning := range file.Warnings {
		fmt.Fprintf(i.stdout, "look   %s\n", plain(warning))
	}
	wrong := checked.render(i.stdout)
	if wrong > 0 {
		return &PreconditionError{fmt.Errorf("%s: %d of %d checks failed", rest[0], wrong, len(checked.Lines))}
	}
	fmt.Fprintf(i.stdout, "%s: all %d checks passed\n", rest[0], len(checked.Lines))
	return nil
}

// render prints the lines and samples and returns how many lines are wrong.
func (c Checked) render(w io.Writer) int {
	wrong := 0
	for _, line := range c.Lines {
		mark := "ok   "
		switch {
		case !line.OK:
			mark = "WRONG"
			wrong++
		case line.Warn:
			mark = "look "
		}
		text := line.What
		if line.Detail != "" {
			text += ": " + line.Detail
		}
		fmt.Fprintf(w, "%s  %s\n", mark, plain(text))
		if line.Fix != "" && (!line.OK || line.Warn) {
			fmt.Fprintf(w, "       fix: %s\n", plain(line.Fix))
		}
	}
	for _, s := range c.Samples {
		fmt.Fprintf(w, "\nmapping.%s: a row would become %s/%s\n", s.Mapping, s.Index, plain(s.ID))
		if err := printJSON(w, s.Document); err != nil {
			fmt.Fprintf(w, "       %s\n", plain(string(s.Document)))
		}
	}
	if len(c.Samples) > 0 {
		fmt.Fprintln(w)
	}
	return wrong
}

func (i *invocation) quarantine(ctx context.Context, args []string) error {
	flags := i.flags("quarantine")
	asJSON := flags.Bool("json", false, "")
	client, rest, err := i.client(flags, args)
	if err != nil {
		return err
	}
	verb := ""
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	switch {
	case verb == "ls" && len(rest) == 0:
		entries, err := client.Quarantine(ctx)
		if err != nil {
			return unreachable(err)
		}
		if *asJSON {
			return printJSON(i.stdout, entries)
		}
		if len(entries) == 0 {
			fmt.Fprintln(i.stdout, "nothing is set aside")
			return nil
		}
		table := tabwriter.NewWriter(i.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tDUTY\tDOCUMENT\tROW\tPOSITION\tREASON")
		for _, q := range entries {
			row := q.Table
			if len(q.Key) > 0 {
				row += " " + strings.Join(q.Key, " ")
			}
			fmt.Fprintf(table, "%d\t%s\t%s/%s\t%s\t%s\t%s\n", q.ID, q.Duty, q.Index, plain(q.Document), plain(row), q.Position, plain(q.Reason))
		}
		return table.Flush()
	case verb == "show" && len(rest) == 1:
		ids, err := numbers(rest)
		if err != nil {
			return err
		}
		entry, err := client.Quarantined(ctx, ids[0])
		if err != nil {
			return unreachable(err)
		}
		return printJSON(i.stdout, entry)
	case (verb == "retry" || verb == "drop") && len(rest) > 0:
		return i.release(ctx, client, verb, rest)
	}
	return wrongUse("write canalgo quarantine ls, show ID, retry ID...|all, or drop ID...|all")
}

func (i *invocation) release(ctx context.Context, client *api.Client, verb string, args []string) error {
	var ids []uint64 // none means all
	if len(args) != 1 || args[0] != "all" {
		var err error
		if ids, err = numbers(args); err != nil {
			return err
		}
	}
	do, done := client.RetryQuarantine, "written"
	if verb == "drop" {
		do, done = client.DropQuarantine, "dropped"
	}
	n, failed, err := do(ctx, ids...)
	if err != nil {
		return unreachable(err)
	}
	fmt.Fprintf(i.stdout, "%d %s\n", n, done)
	for _, why := range failed {
		fmt.Fprintln(i.stderr, plain(why))
	}
	if len(failed) > 0 {
		return stuckError{}
	}
	return nil
}

func numbers(args []string) ([]uint64, error) {
	ids := make([]uint64, len(args))
	for i, arg := range args {
		n, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return nil, wrongUse("want the number of an entry, as canalgo quarantine ls prints it, got %q", arg)
		}
		ids[i] = n
	}
	return ids, nil
}

func printJSON(w io.Writer, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}

// plain replaces what could move a terminal's cursor or break a line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
