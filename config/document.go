package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// A document is a file that is TOML, with the line of each key.
type document struct {
	values   map[string]any
	text     string
	starts   map[string]int // where the value of a key begins, by the key's path
	mistakes *Mistakes
}

// path joins the parts of a key as a message spells it.
func path(parts ...string) string { return toml.Key(parts).String() }

// parseDocument reads TOML. A document that is none has one mistake and no values.
func parseDocument(name string, data []byte) *document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	d := &document{starts: map[string]int{}, mistakes: &Mistakes{File: name}}
	if !utf8.Valid(data) {
		at := 0
		for rest := data; ; {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n <= 1 {
				break
			}
			at, rest = at+n, rest[n:]
		}
		d.add(Mistake{Line: 1 + bytes.Count(data[:at], []byte("\n")), Text: fmt.Sprintf("not UTF-8 at byte %d; save the file as UTF-8", at)})
		return d
	}
	d.text = string(data)
	var root map[string]toml.Primitive
	md, err := toml.Decode(d.text, &root)
	if err != nil {
		d.syntax(err)
		return d
	}
	if _, err := toml.Decode(d.text, &d.values); err != nil {
		d.syntax(err)
		return d
	}
	d.locate(&md, nil, root)
	return d
}

// probe finds a key's position: the decoder tells it only in errors.
type probe struct{}

var errProbe = errors.New("probe")

// UnmarshalTOML always fails.
func (*probe) UnmarshalTOML(any) error { return errProbe }

func (d *document) locate(md *toml.MetaData, at []string, children map[string]toml.Primitive) {
	for name, p := range children {
		key := append(at[:len(at):len(at)], name)
		var parse toml.ParseError
		if errors.As(md.PrimitiveDecode(p, &probe{}), &parse) && parse.Position.Line > 0 { // a table without a header has no place
			d.starts[path(key...)] = parse.Position.Start
		}
		var deeper map[string]toml.Primitive
		if md.PrimitiveDecode(p, &deeper) == nil {
			d.locate(md, key, deeper)
		}
	}
}

// definedTwice is how the decoder says that a key stands there already.
var definedTwice = regexp.MustCompile(`^Key '(.*)' (?:has already been defined|was already created)`)

// syntax adds what the TOML decoder did not understand. Its messages can quote values, so a line that could hold a secret
// is not quoted.
func (d *document) syntax(err error) {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		d.add(Mistake{Text: "not TOML"})
		return
	}
	line := parse.Position.Line
	m := Mistake{Line: line, Column: parse.Position.Col, Text: parse.Message}
	if twice := definedTwice.FindStringSubmatch(parse.Message); twice != nil {
		m.Key, m.Text = twice[1], "stands there twice; a name can be given once"
		if first := d.firstHeader(twice[1], line); first > 0 {
			m.Text = fmt.Sprintf("stands there twice, first in line %d; choose another name", first)
		}
	} else if secretWord.MatchString(d.sourceLine(line)) {
		m.Text = "not TOML; write the value as text in quotes"
	}
	d.add(m)
}

var secretWord = regexp.MustCompile(`(?i)pass|secret|token|key|\$\{|file:`)

// firstHeader returns the line before last that opens the section, or 0.
func (d *document) firstHeader(section string, last int) int {
	for i := 1; i < last; i++ {
		line := d.sourceLine(i)
		bare := strings.Join(strings.Fields(line), "")
		if bare == "["+section+"]" || strings.HasPrefix(bare, "["+section+"]#") {
			return i
		}
	}
	return 0
}

func (d *document) add(m Mistake) { d.mistakes.List = append(d.mistakes.List, m) }

// wrong adds a mistake about a key, at the line of the nearest part of it that is in the file.
func (d *document) wrong(key []string, format string, args ...any) {
	d.add(d.mistake(key, fmt.Sprintf(format, args...)))
}

// mistake returns a mistake about a key, with its place.
func (d *document) mistake(key []string, text string) Mistake {
	line, column := d.at(key)
	return Mistake{Line: line, Column: column, Key: path(key...), Text: text}
}

// has reports whether the key is in the file.
func (d *document) has(key []string) bool {
	_, ok := d.starts[path(key...)]
	return ok
}

// at returns where the nearest part of a key that is in the file has its value, or its section its header: 0 when none is there.
func (d *document) at(key []string) (line, column int) {
	for n := len(key); n > 0; n-- {
		if start, ok := d.starts[path(key[:n]...)]; ok {
			before := d.text[:start]
			return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
		}
	}
	return 0, 0
}

// sourceLine returns the n-th line, 1 for the first; "" when there is none.
func (d *document) sourceLine(n int) string {
	lines := strings.Split(d.text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

// place returns where in the file a place within a key's text is. The column is 0 when it cannot be told.
func (d *document) place(key []string, line, column int) (fileLine, fileColumn int) {
	start, ok := d.starts[path(key...)]
	if !ok {
		return d.at(key)
	}
	for _, newline := range []string{"\r\n", "\n"} { // the one that follows opening quotes is not part of the text
		if strings.HasPrefix(d.text[start:], newline) {
			start += len(newline)
			break
		}
	}
	before := d.text[:start]
	first := 1 + strings.Count(before, "\n")
	if line > 1 {
		return first + line - 1, column
	}
	here, _, _ := strings.Cut(d.text[start:], "\n")
	if strings.HasSuffix(before, `"`) && strings.Contains(here, `\`) {
		return first, 0 // escapes move what follows
	}
	return first, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + column
}
