package status

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// tableWidth is what every line but the problems' keeps within, in columns.
const tableWidth = 120

// Table prints the report for people: a line on the node, one per source, one per duty, then what is wrong.
func (r Report) Table(w io.Writer) error {
	var out bytes.Buffer
	r.head(&out)
	if len(r.Nodes) > 1 {
		r.nodes(&out)
	}
	if len(r.Sources) > 0 {
		t := table{flexible: 5, header: []string{"SOURCE", "STATE", "SINCE", "LAG", "READ UP TO", "LAST ERROR"}}
		for _, s := range r.Sources {
			state := string(s.State)
			if s.HeldBy != "" {
				state = "held by " + s.HeldBy
			}
			t.add(s.Name, state, ago(r.Time, s.Since), lag(s.LagSeconds, s.LagBytes), s.Newest, s.LastError)
		}
		out.WriteByte('\n')
		t.print(&out)
	}
	if len(r.Duties) > 0 {
		t := table{flexible: 5, header: []string{"DUTY", "STAGE", "SINCE", "LAG", "POSITION", "LAST ERROR"}}
		if len(r.Nodes) > 1 {
			t = table{flexible: 7, header: []string{"DUTY", "NODE", "EPOCH", "STAGE", "SINCE", "LAG", "POSITION", "LAST ERROR"}}
		}
		for _, d := range r.Duties {
			cells := []string{d.ID, d.Node, fmt.Sprint(d.Epoch), string(d.Stage), ago(r.Time, d.Since), lag(d.LagSeconds, d.LagBytes), d.Place(), d.note()}
			if len(r.Nodes) < 2 { // it is clear who does it
				cells = slices.Delete(cells, 1, 3)
			}
			t.add(cells...)
		}
		out.WriteByte('\n')
		t.print(&out)
	}
	if len(r.Clients) > 0 {
		t := table{flexible: 4, header: []string{"CLIENT", "FROM", "LAG", "UNACKNOWLEDGED", "POSITION", "LAST ERROR"}}
		for _, c := range r.Clients {
			given := "none"
			if c.Batches > 0 {
				given = fmt.Sprintf("%d batches, %s", c.Batches, size(c.Bytes))
			}
			t.add(c.ID, cmp.Or(c.Address, "not connected"), lag(c.LagSeconds, c.LagBytes), given, c.Position, c.LastError)
		}
		out.WriteByte('\n')
		t.print(&out)
	}
	if r.Quarantine > 0 {
		fmt.Fprintf(&out, "\n%d documents are set aside: canalgo quarantine ls\n", r.Quarantine)
	}
	if len(r.ConfigDiffers) > 0 {
		out.WriteString("\nThe file given at the start differs from the configuration in use (canalgo apply FILE would change it):\n")
		for _, line := range r.ConfigDiffers {
			fmt.Fprintf(&out, "  %s\n", printable(line))
		}
	}
	if len(r.Problems) > 0 {
		out.WriteString("\nPROBLEMS\n")
		for _, line := range r.Problems {
			wrap(&out, printable(line))
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// nodes prints a line for each node, and what the cluster can stand.
func (r Report) nodes(out *bytes.Buffer) {
	t := table{flexible: 6, header: []string{"NODE", "STATE", "ROLE", "UP", "APPLIED", "VERSION", "ADDRESS"}}
	for _, n := range r.Nodes {
		role := "follows"
		switch {
		case n.Leads:
			role = "leads"
		case n.State == NodeUnreachable:
			role = ""
		case !n.Votes:
			role = "learns"
		}
		t.add(n.Name, string(n.State), role, ago(r.Time, n.Started), fmt.Sprint(n.Applied), n.Version, n.Address)
	}
	out.WriteByte('\n')
	t.print(out)
	if r.Tolerates != nil {
		fmt.Fprintf(out, "%d of %d nodes can fail now\n", *r.Tolerates, len(r.Nodes))
	}
}

func (r Report) head(out *bytes.Buffer) {
	state := "healthy"
	switch {
	case r.Stuck():
		state = "stuck"
	case !r.Healthy:
		state = "not healthy"
	}
	leader := "no leader"
	switch {
	case r.Leader == r.Node && r.Leader != "":
		leader = "leads"
	case r.Leader != "":
		leader = "leader " + r.Leader
	}
	fmt.Fprintf(out, "node %s · %s · %s in term %d · up %s · configuration %d · canalgo %s\n",
		r.Node, state, leader, r.Term, ago(r.Time, r.Started), r.ConfigVersion, r.Version)
}

// Place is a stream's position, or how far a load has come.
func (d Duty) Place() string {
	l := d.Load
	if l == nil {
		return d.Position
	}
	var text string
	switch {
	case l.Phase == "done" && l.Where != "":
		return fmt.Sprintf("%s rows of a part", count(l.Rows))
	case l.Phase == "done":
		return fmt.Sprintf("%s rows, %s swept", count(l.Rows), count(l.Swept))
	case l.Phase == "sweeping":
		return fmt.Sprintf("%s rows, sweeping", count(l.Rows))
	case l.Total > 0:
		text = fmt.Sprintf("%s/%s %.0f%%", count(l.Rows), count(max(l.Total, l.Rows)), 100*l.Fraction())
	case l.Where != "":
		text = count(l.Rows) + " rows of a part"
	default:
		text = count(l.Rows) + " rows"
	}
	if l.RowsPerSecond > 0 {
		text += fmt.Sprintf(" %s/s", count(uint64(l.RowsPerSecond)))
	}
	if l.SecondsLeft != nil {
		text += " " + Seconds(*l.SecondsLeft) + " left"
	}
	return text
}

// Fraction is the part of the rows that is written, 0 to 1; 0 when the total is unknown.
func (l Load) Fraction() float64 {
	if l.Total == 0 {
		return 0
	}
	return min(1, float64(l.Rows)/float64(l.Total))
}

// note is the last error, or what the duty waits for.
func (d Duty) note() string {
	switch {
	case d.LastError != "":
		return d.LastError
	case d.WaitingFor != "":
		return "waiting for " + d.WaitingFor
	case len(d.Fanouts) > 0:
		return d.Fanouts[0].text()
	}
	return ""
}

// text says how far a fan-out has come.
func (f Fanout) text() string {
	text := "renders " + count(f.Done)
	if f.Total > 0 {
		text += "/" + count(max(f.Total, f.Done))
	}
	if f.Rows == "" {
		return text + " anew"
	}
	return text + " of changed " + f.Rows
}

// A table has one flexible column, which is cut so that the lines fit.
type table struct {
	header   []string
	rows     [][]string
	flexible int
}

func (t *table) add(cells ...string) {
	for i, c := range cells {
		c = printable(c)
		if c == "" {
			c = "-"
		}
		cells[i] = c
	}
	t.rows = append(t.rows, cells)
}

func (t *table) print(out *bytes.Buffer) {
	const gap, atLeast = 2, 16
	width := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	total := func() int {
		sum := -gap
		for _, n := range width {
			sum += n + gap
		}
		return sum
	}
	// The flexible column gives first, then whichever is the widest.
	if over := total() - tableWidth; over > 0 {
		width[t.flexible] = max(min(width[t.flexible], atLeast), width[t.flexible]-over)
	}
	for total() > tableWidth {
		widest := 0
		for i, n := range width {
			if n > width[widest] {
				widest = i
			}
		}
		width[widest]--
	}
	for _, row := range append([][]string{t.header}, t.rows...) {
		var line strings.Builder
		for i, c := range row {
			c = cut(c, width[i])
			line.WriteString(c)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+gap))
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " "))
		out.WriteByte('\n')
	}
}

// cut shortens a text to n columns.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(0, n-1)]) + "…"
}

// printable replaces what could move a terminal's cursor or break a line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
}

// wrap prints a sentence within the width, its later lines indented.
func wrap(out *bytes.Buffer, s string) {
	indent, column := "  ", 0
	for _, word := range strings.Fields(s) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			out.WriteString(indent)
			column = len(indent)
		case column+1+n > tableWidth:
			indent = "    "
			out.WriteString("\n" + indent)
			column = len(indent)
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += n
	}
	out.WriteByte('\n')
}

// ago says how long before now a moment was.
func ago(now, then time.Time) string {
	if then.IsZero() || now.IsZero() {
		return ""
	}
	return Seconds(now.Sub(then).Seconds())
}

func lag(seconds *float64, bytes *uint64) string {
	var parts []string
	if seconds != nil {
		parts = append(parts, Seconds(*seconds))
	}
	if bytes != nil {
		parts = append(parts, size(*bytes))
	}
	return strings.Join(parts, " ")
}

// Seconds prints a time in two units at most: "0.4s", "12s", "3m20s", "5h10m", "4d3h".
func Seconds(s float64) string {
	if math.IsNaN(s) || s < 0 {
		s = 0
	}
	switch n := int64(min(s, 1e15)); {
	case s < 0.05:
		return "0s"
	case s < 10:
		return fmt.Sprintf("%.1fs", math.Floor(s*10)/10)
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm%ds", n/60, n%60)
	case n < 86400:
		return fmt.Sprintf("%dh%dm", n/3600, n/60%60)
	default:
		return fmt.Sprintf("%dd%dh", n/86400, n/3600%24)
	}
}

// size prints a number of bytes with a binary unit.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1023.5 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	if f < 10 {
		return fmt.Sprintf("%.1f%ciB", f, "KMGTP"[unit])
	}
	return fmt.Sprintf("%.0f%ciB", f, "KMGTP"[unit])
}

// count prints a number with its thousands apart.
func count(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
