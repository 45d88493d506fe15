package binlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"canalgo/event"
)

// errJSONDiff is a change of a JSON document that does not fit the document.
var errJSONDiff = errors.New("a change of a JSON document does not fit it")

// The operations of a change.
const (
	jsonReplace = 0
	jsonInsert  = 1
	jsonRemove  = 2
)

// A jsonNode is a value of a document that is being changed. What no change has looked into stays as it is stored.
type jsonNode struct {
	kind byte
	raw  []byte // begins with the value, and may go on behind it; nil for a container that was opened

	object bool
	keys   [][]byte // of an object that was opened, in MySQL's order
	items  []*jsonNode
}

// jsonParts is what is known of the JSON documents of a row of which the image behind the update has changes instead of whole ones
// (binlog_row_value_options=PARTIAL_JSON). A nil one is of an event without such.
type jsonParts struct {
	before  map[*columnLayout][]byte // the documents that were there, as they are stored
	changed map[*columnLayout]bool   // whose new document comes as changes
	after   bool                     // the image that is read is the one behind the update
	lacking bool                     // the images before the update lack columns
}

func newJSONParts(lacking bool) *jsonParts {
	return &jsonParts{lacking: lacking, before: make(map[*columnLayout][]byte), changed: make(map[*columnLayout]bool)}
}

// beforeImage begins a row.
func (p *jsonParts) beforeImage() {
	if p != nil {
		clear(p.before)
		clear(p.changed)
		p.after = false
	}
}

// afterImage reads what heads the image behind the update:
//
//	options:packed | if they have PARTIAL_JSON, for each JSON column of the table: a bit, set where changes come
func (p *jsonParts) afterImage(r *rowReader) error {
	if p == nil {
		return nil
	}
	p.after = true
	options, n := packedInt(r.data[r.pos:])
	const partialJSON = 1
	if n == 0 || options&^partialJSON != 0 {
		return fmt.Errorf("%w: the row has options %d", errJSONDiff, options)
	}
	r.pos += n
	if options == 0 {
		return nil
	}
	var columns []*columnLayout
	for i := range r.layout.columns {
		if c := &r.layout.columns[i]; c.store == storeJSON {
			columns = append(columns, c)
		}
	}
	bits := r.take((len(columns) + 7) / 8)
	for i, c := range columns {
		p.changed[c] = bits[i>>3]&(1<<(i&7)) != 0
	}
	return nil
}

// document returns the text of a column's document. It is event.Absent when the row has changes of one that its image before lacks.
func (p *jsonParts) document(style *JSONStyle, c *columnLayout, stored []byte) (any, error) {
	switch {
	case p == nil || p.after && !p.changed[c]:
		return style.document(stored)
	case !p.after:
		p.before[c] = stored
		return style.document(stored)
	}
	before, ok := p.before[c]
	switch {
	case !ok && p.lacking:
		return event.Absent, nil
	case !ok:
		return nil, fmt.Errorf("%w: the document that was there is not in the log", errJSONDiff)
	}
	return style.changed(before, stored)
}

// changed returns the text of a document after changes, as a partial update has them instead of the new document:
//
//	for each: operation:u8 | path's length:packed | path | value's length:packed | value
//
// with no value where one is removed. Without any, the document is as it was.
func (s *JSONStyle) changed(document, changes []byte) (any, error) {
	if len(changes) == 0 {
		return s.document(document)
	}
	if len(document) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errJSONDiff)
	}
	root := &jsonNode{kind: document[0], raw: document[1:]}
	for rest := changes; len(rest) > 0; {
		operation := rest[0]
		path, behind, ok := packedText(rest[1:])
		if !ok || operation > jsonRemove {
			return nil, fmt.Errorf("%w: malformed", errJSONDiff)
		}
		var value *jsonNode
		if operation != jsonRemove {
			var stored []byte
			if stored, behind, ok = packedText(behind); !ok || len(stored) == 0 {
				return nil, fmt.Errorf("%w: malformed", errJSONDiff)
			}
			value = &jsonNode{kind: stored[0], raw: stored[1:]}
		}
		legs, err := jsonPath(string(path))
		if err != nil {
			return nil, err
		}
		if err := root.change(operation, legs, value); err != nil {
			return nil, err
		}
		rest = behind
	}
	p := jsonPrinter{limit: maxJSONGrowth*(len(document)+len(changes)) + 64, JSONStyle: *s}
	out, err := p.node(make([]byte, 0, len(document)+len(changes)), root, 0)
	if err != nil {
		return nil, err
	}
	return shared(out), nil
}

// packedText reads bytes behind their length.
func packedText(b []byte) (text, rest []byte, ok bool) {
	size, n := packedInt(b)
	if n == 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}

// A jsonLeg is one step of a path: a member's name, or a cell of an array, counted from its end where last is true.
type jsonLeg struct {
	name   []byte
	member bool
	cell   int
	last   bool
}

// jsonPath reads a path without wildcards: $.name."other name"[0][last-1].
func jsonPath(text string) ([]jsonLeg, error) {
	wrong := fmt.Errorf("%w: the path is %q", errJSONDiff, short(text))
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, wrong
	}
	var legs []jsonLeg
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, `."`):
			d := json.NewDecoder(strings.NewReader(rest[1:]))
			token, err := d.Token()
			name, ok := token.(string)
			if err != nil || !ok {
				return nil, wrong
			}
			legs, rest = append(legs, jsonLeg{name: []byte(name), member: true}), rest[1+d.InputOffset():]
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			legs, rest = append(legs, jsonLeg{name: []byte(rest[1:end]), member: true}), rest[end:]
		case rest[0] == '[':
			inside, behind, ok := strings.Cut(rest[1:], "]")
			leg := jsonLeg{}
			if ok && inside == "last" {
				leg.last = true
			} else {
				if inside, leg.last = strings.CutPrefix(inside, "last-"); !ok {
					return nil, wrong
				}
				cell, err := strconv.ParseUint(inside, 10, 31)
				if err != nil {
					return nil, wrong
				}
				leg.cell = int(cell)
			}
			legs, rest = append(legs, leg), behind
		default:
			return nil, wrong
		}
	}
	if len(legs) == 0 {
		return nil, wrong // the whole document is written, never changed
	}
	return legs, nil
}

// change changes what the legs lead to.
func (n *jsonNode) change(operation byte, legs []jsonLeg, value *jsonNode) error {
	for _, leg := range legs[:len(legs)-1] {
		i, found, err := n.find(leg)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: nothing is there", errJSONDiff)
		}
		n = n.items[i]
	}
	i, found, err := n.find(legs[len(legs)-1])
	switch {
	case err != nil:
		return err
	case operation == jsonInsert && n.object && found, operation != jsonInsert && !found:
		return fmt.Errorf("%w: at the last step", errJSONDiff)
	case operation == jsonReplace:
		n.items[i] = value
	case operation == jsonInsert:
		n.items = slices.Insert(n.items, i, value)
		if n.object {
			n.keys = slices.Insert(n.keys, i, legs[len(legs)-1].name)
		}
	default:
		n.items = slices.Delete(n.items, i, i+1)
		if n.object {
			n.keys = slices.Delete(n.keys, i, i+1)
		}
	}
	return nil
}

// find returns where a step leads in an object or array, and whether something is there; else where it would stand.
func (n *jsonNode) find(leg jsonLeg) (i int, found bool, err error) {
	if err := n.open(); err != nil {
		return 0, false, err
	}
	if n.object != leg.member || n.items == nil {
		return 0, false, fmt.Errorf("%w: a step leads into another kind of value", errJSONDiff)
	}
	if leg.member {
		i, found = slices.BinarySearchFunc(n.keys, leg.name, compareKeys)
		return i, found, nil
	}
	i = leg.cell
	if leg.last {
		if i = len(n.items) - 1 - leg.cell; i < 0 {
			return 0, false, nil
		}
	}
	return min(i, len(n.items)), i < len(n.items), nil
}

// compareKeys is the order of an object's keys: by their length, then by their bytes.
func compareKeys(a, b []byte) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}

// open takes a stored object or array apart. Another value is left as it is.
func (n *jsonNode) open() error {
	if n.raw == nil || n.kind > jsonLargeArray {
		return nil
	}
	c, err := openJSON(n.kind, n.raw)
	if err != nil {
		return err
	}
	n.object, n.raw, n.items = c.object, nil, make([]*jsonNode, c.count)
	if c.object {
		n.keys = make([][]byte, c.count)
	}
	for i := range n.items {
		if c.object {
			if n.keys[i], err = c.key(i); err != nil {
				return err
			}
		}
		kind, value, err := c.value(i)
		if err != nil {
			return err
		}
		n.items[i] = &jsonNode{kind: kind, raw: value}
	}
	return nil
}

// node appends a value that changes may have been made to.
func (p jsonPrinter) node(dst []byte, n *jsonNode, depth int) ([]byte, error) {
	if n.raw != nil || n.kind > jsonLargeArray {
		return p.value(dst, n.kind, n.raw, depth)
	}
	if depth > maxJSONDepth {
		return dst, fmt.Errorf("%w: nested deeper than %d", errJSON, maxJSONDepth)
	}
	opening, closing := byte('['), byte(']')
	if n.object {
		opening, closing = '{', '}'
	}
	dst = append(dst, opening)
	for i, item := range n.items {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if n.object {
			dst = append(p.Quoted(dst, n.keys[i]), ": "...)
		}
		var err error
		if dst, err = p.node(dst, item, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, closing), nil
}
