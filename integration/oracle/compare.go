// Package oracle makes work for canalgo and judges the result: a Workload changes a table in every way, a Pair compares
// rows with documents, a Sampler watches that nothing ever goes back while faults happen.
//
// It shares no code with what it judges, but for how a version is put together: rows are read by a plain query, documents by a plain scan, and values are brought
// into a common form by rules that are written here, from docs/types.md. What it can not see: changes that MySQL did not
// log, fields of documents that the query does not select, and a difference between values with the same common form
// (1.50 and 1.5 of a DECIMAL).
package oracle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-mysql-org/go-mysql/mysql"

	"canalgo/integration/component"
)

// A Pair is a query and the index that it should be equal to. The query is a mapping's own SQL, run by MySQL itself: the
// column _id is the document's id, the others are its fields.
type Pair struct {
	SQL    string
	Index  string
	Schema string // of tables that the query names without one
	// Join is what the documents are in a join field: others of the index are not looked at. Parent is the column that says where one is.
	Join  struct{ Field, Name, Parent string }
	Skips []string // columns that the documents do not have
	// Objects are the mapping's objFields: which texts are arrays or JSON in the document.
	Objects map[string]string
}

// A Difference is one row or document that is not as it should be.
type Difference struct {
	ID       string
	Kind     string // "missing", "extra", "different"
	Field    string // the first that differs, in the query's order, when Kind is "different"
	Row, Doc string // what the row has in Field, and what the document has; the whole document when it is extra
	Version  int64  // of the document
}

func (d Difference) String() string {
	switch d.Kind {
	case "different":
		return fmt.Sprintf("document %s (version %d) is different: %s is %s, the row has %s", d.ID, d.Version, d.Field, d.Doc, d.Row)
	case "extra":
		return fmt.Sprintf("document %s (version %d) belongs to no row: %s", d.ID, d.Version, d.Doc)
	}
	return fmt.Sprintf("document %s is missing: the row has %s", d.ID, d.Row)
}

// A Result is what a comparison found.
type Result struct {
	Rows, Documents int
	Different       int          // how many differences there are
	Differences     []Difference // the first of them, sorted by id
}

// keep is how many differences a Result describes.
const keep = 20

// Err is nil when all rows equal all documents.
func (r Result) Err() error {
	if r.Different == 0 {
		return nil
	}
	lines := make([]string, len(r.Differences))
	for i, d := range r.Differences {
		lines[i] = d.String()
	}
	return fmt.Errorf("%d of %d rows and %d documents differ:\n%s", r.Different, r.Rows, r.Documents, strings.Join(lines, "\n"))
}

// Compare reads all rows at one moment and then, refreshed, all documents. Nothing may change either meanwhile; see Quiet.
func (p Pair) Compare(ctx context.Context, db *component.MySQL, es *component.Elasticsearch) (Result, error) {
	rows, order, err := p.rows(db)
	if err != nil {
		return Result{}, err
	}
	if err := es.Refresh(ctx, p.Index); err != nil {
		return Result{}, err
	}
	r := Result{Rows: len(rows)}
	differ := func(d Difference) {
		r.Different++
		r.Differences = append(r.Differences, d)
	}
	err = es.Scan(ctx, p.Index, func(doc component.Document) error {
		if p.Join.Field != "" {
			own, err := p.join(&doc)
			if err != nil || !own {
				return err
			}
		}
		r.Documents++
		row, ok := rows[doc.ID]
		if !ok {
			differ(Difference{ID: doc.ID, Kind: "extra", Doc: string(doc.Source), Version: doc.Version})
			return nil
		}
		delete(rows, doc.ID)
		if want := row[routingOf]; p.Join.Field != "" && doc.Routing != want {
			differ(Difference{ID: doc.ID, Kind: "different", Field: "_routing", Row: want, Doc: doc.Routing, Version: doc.Version})
			return nil
		}
		d, err := row.compare(doc, order)
		if err != nil {
			return err
		}
		if d != nil {
			differ(*d)
		}
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	for id, row := range rows {
		differ(Difference{ID: id, Kind: "missing", Row: row.String()})
	}
	slices.SortFunc(r.Differences, func(a, b Difference) int { return strings.Compare(a.ID, b.ID) })
	r.Differences = r.Differences[:min(keep, len(r.Differences))]
	return r, nil
}

// A row is the fields of the document that should be there, in common form.
type row map[string]string

func (r row) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		parts = append(parts, name+"="+r[name])
	}
	return strings.Join(parts, " ")
}

// routingOf is what a row says of where its document is, beside its fields.
const routingOf = "_routing"

// join takes the join field out of a document. It reports whether the document is one of the pair's.
func (p Pair) join(doc *component.Document) (own bool, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(doc.Source, &fields); err != nil {
		return false, fmt.Errorf("document %s: %w", doc.ID, err)
	}
	var as struct{ Name, Parent string }
	if err := json.Unmarshal(fields[p.Join.Field], &as); err != nil {
		if err = json.Unmarshal(fields[p.Join.Field], &as.Name); err != nil {
			return false, fmt.Errorf("document %s: its join field is %s", doc.ID, fields[p.Join.Field])
		}
	}
	if as.Name != p.Join.Name {
		return false, nil
	}
	if as.Parent != doc.Routing {
		return false, fmt.Errorf("document %s has the routing %q and the parent %q", doc.ID, doc.Routing, as.Parent)
	}
	delete(fields, p.Join.Field)
	doc.Source, err = json.Marshal(fields)
	return true, err
}

// rows runs the query and returns its rows by _id, and the names of the fields in order.
func (p Pair) rows(db *component.MySQL) (map[string]row, []string, error) {
	conn, err := db.Connect()
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	if p.Schema != "" {
		if err := conn.UseDB(p.Schema); err != nil {
			return nil, nil, err
		}
	}
	for _, s := range []string{"SET time_zone = '+00:00'", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"} {
		if _, err := conn.Execute(s); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", s, err)
		}
	}
	rows := make(map[string]row)
	var result mysql.Result
	var order []string
	err = conn.ExecuteSelectStreaming(p.SQL, &result, func(values []mysql.FieldValue) error {
		r, id := make(row, len(values)), ""
		for i, v := range values {
			f := result.Fields[i]
			if string(f.Name) == "_id" {
				id = text(v)
				continue
			}
			if p.Join.Parent == string(f.Name) && p.Join.Parent != "" {
				r[routingOf] = text(v)
			}
			value, err := fromMySQL(f, v)
			if said := p.Objects[string(f.Name)]; said != "" && v.Type != mysql.FieldValueTypeNull {
				value, err = fromText(text(v), said)
			}
			if err != nil {
				return fmt.Errorf("column %s: %w", f.Name, err)
			}
			if !slices.Contains(p.Skips, string(f.Name)) {
				r[string(f.Name)] = value
			}
		}
		if _, twice := rows[id]; twice {
			return fmt.Errorf("two rows have the _id %q", id)
		}
		rows[id] = r
		return nil
	}, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%.200s: %w", p.SQL, err)
	}
	for _, f := range result.Fields {
		if name := string(f.Name); name != "_id" && !slices.Contains(p.Skips, name) {
			order = append(order, name)
		}
	}
	return rows, order, nil
}

// compare returns nil when the document has exactly the row's fields.
func (r row) compare(doc component.Document, order []string) (*Difference, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(doc.Source, &fields); err != nil {
		return nil, fmt.Errorf("document %s: %w", doc.ID, err)
	}
	different := func(name, want, got string) *Difference {
		return &Difference{ID: doc.ID, Kind: "different", Field: name, Row: want, Doc: got, Version: doc.Version}
	}
	for _, name := range order {
		raw, ok := fields[name]
		if !ok {
			return different(name, r[name], "not there"), nil
		}
		got, err := fromJSON(raw)
		if err != nil {
			return nil, fmt.Errorf("document %s: field %s: %w", doc.ID, name, err)
		}
		if got != r[name] {
			return different(name, r[name], got), nil
		}
		delete(fields, name)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		return different(name, "no such column", string(fields[name])), nil
	}
	return nil, nil
}

// The common form: null, a quoted text, or a number as a fraction. Dates are texts as the documents have them.

func fromMySQL(f *mysql.Field, v mysql.FieldValue) (string, error) {
	if v.Type == mysql.FieldValueTypeNull {
		return "null", nil
	}
	s := text(v)
	switch f.Type {
	case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_SHORT, mysql.MYSQL_TYPE_INT24, mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_LONGLONG,
		mysql.MYSQL_TYPE_YEAR, mysql.MYSQL_TYPE_FLOAT, mysql.MYSQL_TYPE_DOUBLE, mysql.MYSQL_TYPE_DECIMAL, mysql.MYSQL_TYPE_NEWDECIMAL:
		return number(s)
	case mysql.MYSQL_TYPE_JSON:
		return fromJSON([]byte(s))
	case mysql.MYSQL_TYPE_DATETIME:
		s = strings.Replace(s, " ", "T", 1)
	case mysql.MYSQL_TYPE_TIMESTAMP:
		s = strings.Replace(s, " ", "T", 1) + "Z"
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_BLOB, mysql.MYSQL_TYPE_TINY_BLOB, mysql.MYSQL_TYPE_MEDIUM_BLOB, mysql.MYSQL_TYPE_LONG_BLOB, mysql.MYSQL_TYPE_DATE,
		mysql.MYSQL_TYPE_TIME:
		const binary = 63 // the collation's number
		if f.Charset == binary && f.Type != mysql.MYSQL_TYPE_DATE && f.Type != mysql.MYSQL_TYPE_TIME {
			return "", fmt.Errorf("bytes are not compared here")
		}
	default:
		return "", fmt.Errorf("type %d is not compared here", f.Type)
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is not UTF-8", s)
	}
	return fmt.Sprintf("%q", s), nil
}

// fromText reads a text as objFields says.
func fromText(s, said string) (string, error) {
	separator, isArray := strings.CutPrefix(said, "array:")
	if !isArray {
		return fromJSON([]byte(s))
	}
	parts := []any{}
	if s != "" {
		for _, part := range strings.Split(s, separator) {
			parts = append(parts, part)
		}
	}
	return common(parts)
}

func text(v mysql.FieldValue) string {
	if v.Type == mysql.FieldValueTypeString {
		return string(v.AsString())
	}
	return fmt.Sprint(v.Value())
}

func number(s string) (string, error) {
	n, ok := new(big.Rat).SetString(s)
	if !ok {
		return "", fmt.Errorf("%q is not a number", s)
	}
	return n.RatString(), nil
}

func fromJSON(raw json.RawMessage) (string, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	return common(v)
}

func common(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "null", nil
	case bool:
		return fmt.Sprint(v), nil
	case json.Number:
		return number(v.String())
	case string:
		return fmt.Sprintf("%q", v), nil
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			var err error
			if parts[i], err = common(v[i]); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(parts, ",") + "]", nil
	case map[string]any:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			value, err := common(v[name])
			if err != nil {
				return "", err
			}
			parts = append(parts, fmt.Sprintf("%q:%s", name, value))
		}
		return "{" + strings.Join(parts, ",") + "}", nil
	}
	return "", fmt.Errorf("a value of the unexpected type %T", v)
}
