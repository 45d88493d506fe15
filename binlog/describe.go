package binlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"

	"canalgo/event"
	"canalgo/nearest"
)

// Tables lists the tables that the configuration lets through, those of the system left out.
func (s *Source) Tables(ctx context.Context) ([]event.TableName, error) {
	conn, _, err := s.Connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	all, err := listTables(conn)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t event.TableName) bool { return !s.filter(t) }), nil
}

// listTables lists the tables that the user may see, those of the system left out.
func listTables(conn *client.Conn) ([]event.TableName, error) {
	r, err := conn.Execute("SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' " +
		"AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1, 2")
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	tables := make([]event.TableName, len(r.Values))
	for i := range r.Values {
		tables[i].Schema, _ = r.GetString(i, 0)
		tables[i].Name, _ = r.GetString(i, 1)
	}
	return tables, nil
}

// Describe returns a table as it is now, equal to what the Decoder makes of its table maps but for the Declared types. The error is an *event.StopError
// when there is no such table, it has no rows of its own, or a column's type is not known.
func (s *Source) Describe(ctx context.Context, name event.TableName) (*event.Table, error) {
	conn, _, err := s.Connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	t, err := describe(conn, name)
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", name, err)
	}
	return t, nil
}

func describe(conn *client.Conn, name event.TableName) (*event.Table, error) {
	r, err := conn.Execute("SELECT table_type, table_schema, table_name FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
		name.Schema, name.Name)
	if err != nil {
		return nil, err
	}
	if len(r.Values) == 0 {
		return nil, noTable(conn, name)
	}
	switch kind, _ := r.GetString(0, 0); kind {
	case "BASE TABLE":
	case "SYSTEM VERSIONED":
		return nil, stopf("map a table without system versioning", "the log has rows of the history of %s, too, and does not say which they are", name)
	default:
		return nil, stopf("map the table that it reads", "%s is a %s; only tables have row events", name, strings.ToLower(kind))
	}
	t := &event.Table{}
	t.Name.Schema, _ = r.GetString(0, 1)
	t.Name.Name, _ = r.GetString(0, 2)
	r, err = conn.Execute("SELECT column_name, data_type, column_type, COALESCE(character_set_name, ''), COALESCE(collation_name, ''), "+
		"COALESCE(character_octet_length, 0), COALESCE(numeric_precision, 0), COALESCE(numeric_scale, 0), COALESCE(datetime_precision, 0) "+
		"FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position", name.Schema, name.Name)
	if err != nil {
		return nil, err
	}
	for i := range r.Values {
		text := func(column int) string { v, _ := r.GetString(i, column); return v }
		number := func(column int) int { v, _ := r.GetInt(i, column); return int(v) }
		c := event.Column{Name: text(0), Declared: text(2)}
		if err := describeColumn(&c, strings.ToLower(text(1)), text(2), mb3(text(3)), mb3(text(4)), number(5), number(6), number(7), number(8)); err != nil {
			return nil, stopf("", "column %s.%s: %v", name, c.Name, err)
		}
		t.Columns = append(t.Columns, c)
	}
	r, err = conn.Execute("SELECT column_name FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND index_name = 'PRIMARY' "+
		"ORDER BY seq_in_index", name.Schema, name.Name)
	if err != nil {
		return nil, err
	}
	for i := range r.Values {
		column, _ := r.GetString(i, 0)
		t.Key = append(t.Key, slices.IndexFunc(t.Columns, func(c event.Column) bool { return c.Name == column }))
	}
	return t, nil
}

// noTable is the error about a table that is not there, with the nearest name of those that the user may see.
func noTable(conn *client.Conn, name event.TableName) error {
	tables, err := listTables(conn)
	if err != nil {
		return err
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.String()
	}
	fix := "create it, or grant SELECT on it to the source's user"
	if near := nearest.Name(name.String(), names); near != "" {
		fix = fmt.Sprintf("did you mean %s? Else %s", near, fix)
	}
	return stopf(fix, "there is no table %s", name)
}

var typesByName = map[string]event.Type{
	"tinyint": event.TinyInt, "smallint": event.SmallInt, "mediumint": event.MediumInt, "int": event.Int, "bigint": event.BigInt,
	"decimal": event.Decimal, "float": event.Float, "double": event.Double, "bit": event.Bit, "year": event.Year,
	"date": event.Date, "time": event.Time, "datetime": event.DateTime, "timestamp": event.Timestamp,
	"char": event.Char, "varchar": event.Char, "tinytext": event.Text, "text": event.Text, "mediumtext": event.Text, "longtext": event.Text,
	"binary": event.Binary, "varbinary": event.VarBinary, "tinyblob": event.Blob, "blob": event.Blob, "mediumblob": event.Blob, "longblob": event.Blob,
	"enum": event.Enum, "set": event.Set, "json": event.JSON, "vector": event.Vector,
	"geometry": event.Geometry, "point": event.Geometry, "linestring": event.Geometry, "polygon": event.Geometry, "multipoint": event.Geometry,
	"multilinestring": event.Geometry, "multipolygon": event.Geometry, "geomcollection": event.Geometry, "geometrycollection": event.Geometry,
}

func describeColumn(c *event.Column, kind, definition, set, collation string, octets, precision, scale, fraction int) error {
	if c.Type = typesByName[kind]; c.Type == 0 {
		return fmt.Errorf("the type %s is not known", kind)
	}
	if strings.HasSuffix(definition, "COMPRESSED*/") { // MariaDB's
		return errors.New("COMPRESSED columns are not handled")
	}
	switch c.Type {
	case event.TinyInt, event.SmallInt, event.MediumInt, event.Int, event.BigInt, event.Float, event.Double:
		c.Unsigned = strings.Contains(definition, "unsigned")
	case event.Decimal:
		c.Unsigned, c.Length, c.Scale = strings.Contains(definition, "unsigned"), precision, scale
	case event.Bit:
		c.Length = precision
	case event.Time, event.DateTime, event.Timestamp:
		c.Length = fraction
	case event.Binary:
		c.Length = octets
	case event.Char, event.Text:
		c.Charset, c.Collation = set, collation
	case event.Enum, event.Set:
		c.Charset, c.Collation = set, collation
		var err error
		if c.Labels, err = parseLabels(definition); err != nil {
			return err
		}
	}
	return nil
}

// parseLabels reads enum('a','b') as the server prints it: quotes doubled, backslashes and line ends escaped.
func parseLabels(definition string) ([]string, error) {
	open := strings.IndexByte(definition, '(')
	if open < 0 {
		return nil, fmt.Errorf("%s has no values", definition)
	}
	var labels []string
	var b strings.Builder
	rest := definition[open+1:]
	for len(rest) > 0 && rest[0] == '\'' {
		b.Reset()
		i := 1
		for ; i < len(rest); i++ {
			c := rest[i]
			if c == '\'' {
				if i+1 == len(rest) || rest[i+1] != '\'' {
					break
				}
				i++
			} else if c == '\\' && i+1 < len(rest) {
				i++
				switch c = rest[i]; c {
				case 'n':
					c = '\n'
				case 'r':
					c = '\r'
				case '0':
					c = 0
				}
			}
			b.WriteByte(c)
		}
		if i == len(rest) {
			return nil, fmt.Errorf("%s is cut short", definition)
		}
		labels = append(labels, b.String())
		rest = strings.TrimPrefix(rest[i+1:], ",")
	}
	if rest != ")" && !strings.HasPrefix(rest, ") ") {
		return nil, fmt.Errorf("%s is not understood", definition)
	}
	return labels, nil
}
