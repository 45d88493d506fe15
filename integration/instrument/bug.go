package instrument

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

//go:embed bugs/*.txt
var bugFiles embed.FS

// A Bug is a mistake that is made on purpose. Its file holds, in this order:
//
//	one sentence: what is wrong
//	caught: ./PACKAGE REGEXP FLAGS     tests of the package, of which one at least fails; more lines may follow
//	file: PATH                         from the module's root
//	-- old
//	text, which occurs once in that file
//	-- new
//	what stands in its place; the word bug in it is true while the bug is switched on
//
// The last three may come again, for other files and places. With bug false the new text must do what the old one did.
type Bug struct {
	Name   string
	What   string
	Caught []Tests
	edits  []edit
}

// Tests are some tests of a package.
type Tests struct {
	Package string // as ./sink
	Run     string // of go test -run
	Flags   string // of the tests' own, with blanks between
}

// An edit is one place that a bug changes.
type edit struct {
	bug, file, old, new string
}

// Bugs returns every bug by its name.
func Bugs() (map[string]Bug, error) {
	entries, err := bugFiles.ReadDir("bugs")
	if err != nil {
		return nil, err
	}
	bugs := make(map[string]Bug, len(entries))
	for _, entry := range entries {
		data, err := bugFiles.ReadFile("bugs/" + entry.Name())
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(entry.Name(), ".txt")
		b, err := parseBug(name, string(data))
		if err != nil {
			return nil, fmt.Errorf("bugs/%s: %w", entry.Name(), err)
		}
		bugs[name] = b
	}
	return bugs, nil
}

var bugWord = regexp.MustCompile(`\bbug\b`)

func parseBug(name, text string) (Bug, error) {
	b := Bug{Name: name}
	var file string
	var part *string // that lines are added to
	for i, line := range strings.SplitAfter(text, "\n") {
		key, value, keyed := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case i == 0:
			b.What = strings.TrimSpace(line)
		case keyed && key == "caught":
			pkg, rest, _ := strings.Cut(value, " ")
			run, flags, _ := strings.Cut(rest, " ")
			b.Caught = append(b.Caught, Tests{Package: pkg, Run: run, Flags: flags})
		case keyed && key == "file":
			file, part = value, nil
		case line == "-- old\n":
			b.edits = append(b.edits, edit{bug: name, file: file})
			part = &b.edits[len(b.edits)-1].old
		case line == "-- new\n" && len(b.edits) > 0:
			part = &b.edits[len(b.edits)-1].new
		case part != nil:
			*part += line
		case line != "":
			return Bug{}, fmt.Errorf("line %d belongs to nothing: %q", i+1, line)
		}
	}
	switches := false
	for i := range b.edits {
		e := &b.edits[i]
		if e.file == "" || e.old == "" || e.new == "" {
			return Bug{}, errors.New("a change lacks its file, its old or its new text")
		}
		on := bugWord.ReplaceAllString(e.new, fmt.Sprintf("seeded.On(%q)", name))
		switches = switches || on != e.new
		e.new = on
	}
	if b.What == "" || !switches {
		return Bug{}, errors.New("want a sentence in the first line, and the word bug in a new text")
	}
	return b, nil
}

// seed makes the edits of one file and reports whether the result asks package seeded. Each edit is looked for in the text as it was.
func seed(text string, edits []edit) (_ string, asks bool, err error) {
	type place struct {
		at int
		edit
	}
	var places []place
	for _, e := range edits {
		if n := strings.Count(text, e.old); n != 1 {
			return "", false, fmt.Errorf("bug %s no longer fits: its old text occurs %d times in %s, must once; mend integration/instrument/bugs/%s.txt:\n%s",
				e.bug, n, e.file, e.bug, e.old)
		}
		places = append(places, place{strings.Index(text, e.old), e})
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	var out strings.Builder
	end := 0
	for i, p := range places {
		if p.at < end {
			return "", false, fmt.Errorf("bugs %s and %s change the same text of %s", places[i-1].bug, p.bug, p.file)
		}
		out.WriteString(text[end:p.at])
		out.WriteString(p.new)
		end = p.at + len(p.old)
		asks = asks || strings.Contains(p.new, "seeded.On(")
	}
	out.WriteString(text[end:])
	return out.String(), asks, nil
}
