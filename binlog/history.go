package binlog

import (
	"context"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/pingcap/tidb/pkg/parser/ast"

	"canalgo/event"
)

// A History keeps the definitions of tables by version, for table maps without the names of columns (binlog_row_metadata=MINIMAL).
// It is safe for several goroutines.
type History interface {
	// At returns what is known of a table behind the event of a version; false when its definitions are not kept from there on.
	At(table event.TableName, v event.Version) (event.Definition, bool)
	// Kept lists the tables whose definitions are kept.
	Kept() []event.TableName
	// Note keeps definitions. When it returns nil they are kept for good: rows that have them may be handed on.
	Note(ctx context.Context, definitions []event.Definition) error
}

// A definer asks a server for a table's definition, as Source.Define does.
type definer interface {
	define(ctx context.Context, table event.TableName, at event.Position, await awaited) (event.Definition, error)
}

// redefine notes what a statement makes of the definitions that are kept, before anything that follows is handed on. What is there
// already was noted when the statement was read before.
func (t *tracker) redefine(ctx context.Context, q query, s *event.Stmt, tree ast.StmtNode) error {
	if s == nil || t.history == nil || t.rereads {
		return nil
	}
	version := t.version()
	r := redefinition{
		query:   q,
		mariadb: t.mariadb,
		all:     t.whole,
		kept:    t.history.Kept,
		known:   func(name event.TableName) (event.Definition, bool) { return t.history.At(name, version-1) },
		name: func(n *ast.TableName) event.TableName {
			name := event.TableName{Schema: n.Schema.O, Name: n.Name.O}
			if name.Schema == "" {
				name.Schema = q.schema
			}
			return t.inCase(name)
		},
	}
	changed := slices.DeleteFunc(r.redefine(s, tree), func(d event.Definition) bool {
		before, ok := t.history.At(d.Table.Name, version)
		return ok && before.From == version
	})
	for i := range changed {
		if d := &changed[i]; d.Unknown != "" && t.definer != nil {
			behind := t.boundary
			behind.File, behind.Offset = t.file, t.offset
			found, err := t.definer.define(ctx, d.Table.Name, behind, awaited{gtids: t.tx.gtid.String()})
			if err != nil {
				return err
			}
			if found.Unknown != "" {
				found.Unknown = d.Unknown + " (" + found.Unknown + ")"
			}
			*d = found
		}
		changed[i].From = version
	}
	if len(changed) == 0 {
		return nil
	}
	return t.history.Note(ctx, changed)
}

// defined makes sure that history says something of a table before rows of it are handed on: when it has nothing, or something that
// cannot be, the server is asked.
func (t *tracker) defined(ctx context.Context, m *mapped) error {
	d, ok := t.history.At(m.name, t.version())
	if ok && (d.Unknown != "" || fits(&d.Table, m.columns)) || t.definer == nil || t.rereads {
		return nil
	}
	at := t.boundary
	if at.File == "" { // after a start by GTIDs
		at.File, at.Offset = t.tx.at.file, t.tx.at.offset
	}
	found, err := t.definer.define(ctx, m.name, at, awaited{settled: true})
	if err != nil {
		return err
	}
	if found.Gone() { // it is there: what the server hides is unknown, or it would be asked for each transaction
		found.Unknown = "rows of it are in the log, and the server does not show it: it was dropped, or the source's user may not read it"
	}
	found.From = t.boundary.Version()
	return t.history.Note(ctx, []event.Definition{found})
}

// columnsOf returns the types of the columns of a table map, and whether it has their names. It is given what follows the table's name:
//
//	columns:packed | type:u8 each | length of meta:packed | meta | which can be NULL: a bit each | metadata: type:u8, length:packed and bytes each
func columnsOf(rest []byte) (columns []byte, named bool) {
	count, n := packedInt(rest)
	if n == 0 || count > uint64(len(rest)-n) {
		return nil, true // whoever decodes it says what is wrong
	}
	columns, rest = rest[n:n+int(count)], rest[n+int(count):]
	size, n := packedInt(rest)
	behind := uint64(n) + size + (count+7)/8
	if n == 0 || size > uint64(len(rest)) || behind > uint64(len(rest)) {
		return nil, true
	}
	const columnNames = 4
	for rest = rest[behind:]; len(rest) > 1; {
		size, n := packedInt(rest[1:])
		if n == 0 || size > uint64(len(rest)-1-n) {
			return nil, true
		}
		if rest[0] == columnNames {
			return columns, true
		}
		rest = rest[1+n+int(size):]
	}
	return columns, count == 0
}

// fits reports whether a table may have columns of these types of a table map.
func fits(t *event.Table, kinds []byte) bool {
	if len(t.Columns) != len(kinds) {
		return false
	}
	for i, kind := range kinds {
		if types, ok := typesOf[kind]; ok && !slices.Contains(types, t.Columns[i].Type) {
			return false
		}
	}
	return true
}

var typesOf = map[byte][]event.Type{
	mysql.MYSQL_TYPE_TINY: {event.TinyInt}, mysql.MYSQL_TYPE_SHORT: {event.SmallInt}, mysql.MYSQL_TYPE_INT24: {event.MediumInt},
	mysql.MYSQL_TYPE_LONG: {event.Int}, mysql.MYSQL_TYPE_LONGLONG: {event.BigInt}, mysql.MYSQL_TYPE_FLOAT: {event.Float},
	mysql.MYSQL_TYPE_DOUBLE: {event.Double}, mysql.MYSQL_TYPE_NEWDECIMAL: {event.Decimal}, mysql.MYSQL_TYPE_BIT: {event.Bit},
	mysql.MYSQL_TYPE_YEAR: {event.Year}, mysql.MYSQL_TYPE_DATE: {event.Date}, mysql.MYSQL_TYPE_NEWDATE: {event.Date},
	mysql.MYSQL_TYPE_TIME2: {event.Time}, mysql.MYSQL_TYPE_DATETIME2: {event.DateTime}, mysql.MYSQL_TYPE_TIMESTAMP2: {event.Timestamp},
	mysql.MYSQL_TYPE_VARCHAR: {event.Char, event.VarBinary}, mysql.MYSQL_TYPE_VAR_STRING: {event.Char, event.VarBinary},
	mysql.MYSQL_TYPE_STRING: {event.Char, event.Binary, event.Enum, event.Set}, mysql.MYSQL_TYPE_BLOB: {event.Text, event.Blob},
	mysql.MYSQL_TYPE_GEOMETRY: {event.Geometry}, mysql.MYSQL_TYPE_VECTOR: {event.Vector}, mysql.MYSQL_TYPE_JSON: {event.JSON},
}

// concerns reports whether a statement may change a table's definition: it names the table, its schema, or nobody knows what.
func concerns(s *event.Stmt, table event.TableName) bool {
	return len(s.Tables) == 0 || slices.ContainsFunc(s.Tables, func(t event.TableName) bool {
		return t == table || t.Name == "" && strings.EqualFold(t.Schema, table.Schema)
	})
}
