package binlog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"

	"canalgo/event"
)

// A redefinition works out what one statement makes of the definitions that are kept.
type redefinition struct {
	query   query
	mariadb bool                                 // whose table maps do not say which character sets columns have
	name    func(*ast.TableName) event.TableName // as the log spells it
	// known returns what is known of a table before the statement; false when its definitions are not kept.
	known func(event.TableName) (event.Definition, bool)
	kept  func() []event.TableName // whose definitions are kept
	all   bool                     // a new table is kept whatever its name is, if it is certain

	changed []event.Definition
}

// errUncertain is why a statement's outcome is not worked out: what a server makes of it depends on what the log does not say.
var errUncertain = errors.New("what the server makes of it is not certain")

// uncertainf is an errUncertain with what is uncertain.
func uncertainf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUncertain, fmt.Sprintf(format, args...))
}

// redefine returns the definitions behind a statement, of tables whose definitions it changes. tree is nil when the parser does not
// understand the statement; s says what it does.
func (r *redefinition) redefine(s *event.Stmt, tree ast.StmtNode) []event.Definition {
	switch n := tree.(type) {
	case *ast.DropTableStmt:
		for _, t := range n.Tables {
			r.gone(r.name(t))
		}
	case *ast.DropDatabaseStmt:
		for _, t := range r.kept() {
			if t.Schema == s.Tables[0].Schema {
				r.gone(t)
			}
		}
	case *ast.RenameTableStmt:
		for _, pair := range n.TableToTables {
			r.rename(r.name(pair.OldTable), r.name(pair.NewTable))
		}
	case *ast.CreateTableStmt:
		r.create(n)
	case *ast.AlterTableStmt:
		r.alter(n)
	case *ast.DropIndexStmt: // of the primary key; others are not handed on
		r.alter(&ast.AlterTableStmt{Table: n.Table, Specs: []*ast.AlterTableSpec{{Tp: ast.AlterTableDropPrimaryKey}}})
	case nil:
		tables := s.Tables
		if len(tables) == 0 { // it may be about any of them
			tables = r.kept()
		}
		for _, t := range tables {
			if _, ok := r.known(t); ok {
				r.unknown(t, errors.New("the statement is not understood"))
			}
		}
	}
	return r.changed
}

// at returns what is known of a table at this point of the statement.
func (r *redefinition) at(t event.TableName) (event.Definition, bool) {
	if i := r.index(t); i >= 0 {
		return r.changed[i], true
	}
	return r.known(t)
}

func (r *redefinition) index(t event.TableName) int {
	return slices.IndexFunc(r.changed, func(d event.Definition) bool { return d.Table.Name == t })
}

func (r *redefinition) set(d event.Definition) {
	if i := r.index(d.Table.Name); i >= 0 {
		r.changed[i] = d
		return
	}
	r.changed = append(r.changed, d)
}

func (r *redefinition) unknown(t event.TableName, why error) {
	r.set(event.Definition{Table: event.Table{Name: t}, Unknown: fmt.Sprintf("%v: %s", why, clip(r.query.text))})
}

func (r *redefinition) gone(t event.TableName) {
	if _, ok := r.at(t); ok {
		r.set(event.Definition{Table: event.Table{Name: t}})
	}
}

func (r *redefinition) rename(from, to event.TableName) {
	d, ok := r.at(from)
	switch _, wanted := r.at(to); {
	case ok:
		r.gone(from)
		d.Table.Name = to
		r.set(d)
	case wanted:
		r.unknown(to, fmt.Errorf("the definition of %s is not kept", from))
	}
}

// create keeps the definition of a new table when it is one of those that are kept, or may become one: gh-ost and
// pt-online-schema-change fill a copy of a table, under a name with the table's in it, and rename it.
func (r *redefinition) create(n *ast.CreateTableStmt) {
	table := r.name(n.Table)
	before, ok := r.at(table)
	if ok && n.IfNotExists && !before.Gone() {
		return // if there was one, it stays; if nobody knows, nobody does now
	}
	if n.ReferTable != nil {
		like := r.name(n.ReferTable)
		d, known := r.at(like)
		switch {
		case known:
			d.Table.Name = table
			r.set(d)
		case ok:
			r.unknown(table, fmt.Errorf("the definition of %s is not kept", like))
		}
		return
	}
	wanted := ok || slices.ContainsFunc(r.kept(), func(t event.TableName) bool {
		return t.Schema == table.Schema && len(t.Name) < len(table.Name) && strings.Contains(table.Name, t.Name)
	})
	if !wanted && (!r.all || n.IfNotExists) {
		return
	}
	d := event.Definition{Table: event.Table{Name: table}}
	err := r.certain()
	if err == nil && n.Select != nil {
		err = uncertainf("its columns are those of a query")
	}
	if err == nil {
		d.Collation, err = r.tableCollation("", n.Options)
	}
	var key []string
	for _, c := range n.Cols {
		if err != nil {
			break
		}
		var column event.Column
		if column, err = r.column(c, d.Collation); err == nil {
			d.Table.Columns = append(d.Table.Columns, column)
			key = append(key, keyOf(c)...)
		}
	}
	if err == nil {
		key = append(key, keyOfConstraints(n.Constraints)...)
		err = setKey(&d.Table, key)
	}
	switch {
	case err == nil:
		r.set(d)
	case wanted:
		r.unknown(table, err)
	}
}

// keyOf returns a column's name when it is declared as the primary key.
func keyOf(c *ast.ColumnDef) []string {
	for _, o := range c.Options {
		if o.Tp == ast.ColumnOptionPrimaryKey {
			return []string{c.Name.Name.O}
		}
	}
	return nil
}

func keyOfConstraints(constraints []*ast.Constraint) []string {
	var key []string
	for _, c := range constraints {
		if c.Tp == ast.ConstraintPrimaryKey {
			for _, part := range c.Keys {
				if part.Column == nil {
					return []string{""} // not a column: setKey says so
				}
				key = append(key, part.Column.Name.O)
			}
		}
	}
	return key
}

// setKey sets the primary key by the names of its columns.
func setKey(t *event.Table, key []string) error {
	t.Key = nil
	for _, name := range key {
		i := t.Column(name)
		if i < 0 {
			return uncertainf("the key has a column %q", name)
		}
		t.Key = append(t.Key, i)
	}
	return nil
}

// certain says why names and labels in the statement's text may not be what they look like.
func (r *redefinition) certain() error {
	if ascii(r.query.text) || utf8.ValidString(r.query.text) && strings.HasPrefix(r.query.set, "utf8mb") {
		return nil
	}
	return uncertainf("its text is not UTF-8")
}

func ascii(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c >= utf8.RuneSelf })
}

// tableCollation returns a table's default collation after options; "" when nobody knows.
func (r *redefinition) tableCollation(before string, options []*ast.TableOption) (string, error) {
	set, collation := "", ""
	for _, o := range options {
		switch o.Tp {
		case ast.TableOptionCharset:
			if o.Default {
				return "", uncertainf("the schema's character set is not known")
			}
			set = mb3(strings.ToLower(o.StrValue))
		case ast.TableOptionCollate:
			collation = mb3(strings.ToLower(o.StrValue))
		}
	}
	switch {
	case collation != "":
		return collation, nil
	case set != "":
		return r.defaultCollation(set), nil
	}
	return before, nil
}

// defaultCollation returns what a character set's name alone stands for since MySQL 8.0; "" for those of which nobody needs to know.
// On a MariaDB it depends on settings.
func (r *redefinition) defaultCollation(set string) string {
	if r.mariadb && set != "binary" {
		return ""
	}
	switch set {
	case "utf8mb4":
		return "utf8mb4_0900_ai_ci"
	case "utf8mb3":
		return "utf8mb3_general_ci"
	case "latin1":
		return "latin1_swedish_ci"
	case "ascii":
		return "ascii_general_ci"
	case "binary":
		return "binary"
	}
	return ""
}

// charsetOf returns the character set of a collation.
func charsetOf(collation string) string {
	set, _, _ := strings.Cut(collation, "_")
	return set
}

// column reads a column's definition. What the table map says about a text column need not be certain here: its collation is then "".
func (r *redefinition) column(n *ast.ColumnDef, collation string) (event.Column, error) {
	c := event.Column{Name: n.Name.Name.O}
	f := n.Tp
	if f == nil || f.IsArray() {
		return c, uncertainf("column %s has no plain type", c.Name)
	}
	if c.Type = columnTypes[f.GetType()]; c.Type == 0 {
		return c, uncertainf("the type of column %s is not known", c.Name)
	}
	if c.Type == event.JSON && r.mariadb { // another name for LONGTEXT
		return c, uncertainf("the type of column %s has another meaning", c.Name)
	}
	switch c.Type {
	case event.TinyInt, event.SmallInt, event.MediumInt, event.Int, event.BigInt, event.Float, event.Double, event.Decimal:
		c.Unsigned = mysql.HasUnsignedFlag(f.GetFlag()) || mysql.HasZerofillFlag(f.GetFlag())
	}
	switch c.Type {
	case event.Decimal:
		c.Length, c.Scale = max(f.GetFlen(), 0), max(f.GetDecimal(), 0)
		if f.GetFlen() <= 0 {
			c.Length = 10
		}
	case event.Bit:
		c.Length = f.GetFlen()
	case event.Time, event.DateTime, event.Timestamp:
		c.Length = max(f.GetDecimal(), 0)
	case event.Char, event.Text, event.Enum, event.Set:
		return c, r.text(&c, n, collation)
	}
	return c, nil
}

// text fills in what text columns, ENUM and SET have beside their type.
func (r *redefinition) text(c *event.Column, n *ast.ColumnDef, collation string) error {
	f := n.Tp
	set := mb3(strings.ToLower(f.GetCharset()))
	if set != "" {
		collation = r.defaultCollation(set)
	}
	for _, o := range n.Options {
		if o.Tp == ast.ColumnOptionCollate {
			collation = mb3(strings.ToLower(o.StrValue))
		}
	}
	if set == "" {
		set = charsetOf(collation)
	}
	isBinary := set == "binary"
	if mysql.HasBinaryFlag(f.GetFlag()) && !isBinary && set != "" { // the attribute BINARY
		collation = set + "_bin"
	}
	switch {
	case c.Type == event.Enum || c.Type == event.Set:
		if collation == "" {
			return uncertainf("the collation of column %s is not known", c.Name)
		}
		for i := range f.GetElems() {
			if f.GetElemIsBinaryLit(i) {
				return uncertainf("column %s has a label in hexadecimal", c.Name)
			}
		}
		c.Labels = slices.Clone(f.GetElems())
	case isBinary && c.Type == event.Text:
		c.Type = event.Blob
		return nil
	case isBinary && f.GetType() == mysql.TypeString:
		c.Type, c.Length = event.Binary, max(f.GetFlen(), 1)
		return nil
	case isBinary:
		c.Type = event.VarBinary
		return nil
	}
	if r.mariadb && collation == "" {
		return uncertainf("the collation of column %s is not known", c.Name)
	}
	c.Charset, c.Collation = set, collation
	return nil
}

var columnTypes = map[byte]event.Type{
	mysql.TypeTiny: event.TinyInt, mysql.TypeShort: event.SmallInt, mysql.TypeInt24: event.MediumInt, mysql.TypeLong: event.Int,
	mysql.TypeLonglong: event.BigInt, mysql.TypeNewDecimal: event.Decimal, mysql.TypeFloat: event.Float, mysql.TypeDouble: event.Double,
	mysql.TypeBit: event.Bit, mysql.TypeYear: event.Year, mysql.TypeDate: event.Date, mysql.TypeDuration: event.Time,
	mysql.TypeDatetime: event.DateTime, mysql.TypeTimestamp: event.Timestamp,
	mysql.TypeString: event.Char, mysql.TypeVarchar: event.Char, mysql.TypeVarString: event.Char,
	mysql.TypeTinyBlob: event.Text, mysql.TypeBlob: event.Text, mysql.TypeMediumBlob: event.Text, mysql.TypeLongBlob: event.Text,
	mysql.TypeEnum: event.Enum, mysql.TypeSet: event.Set, mysql.TypeJSON: event.JSON, mysql.TypeTiDBVectorFloat32: event.Vector,
}
