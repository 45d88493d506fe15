package binlog

import (
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"canalgo/charset"
	"canalgo/event"
)

// A layout says how the rows of a table are stored.
type layout struct {
	table   *event.Table
	columns []columnLayout
	body    []byte // of the table map
}

func (l *layout) withBody(body []byte) *layout {
	return &layout{table: l.table, columns: l.columns, body: body}
}

// A columnLayout says how a column's values are stored.
type columnLayout struct {
	store    store
	unsigned bool
	size     int // what it means depends on store
	scale    int
	text     *charset.Set // nil when it is not known
	labels   []string
}

// store is a way to store values.
type store uint8

const (
	storeInt8  store = iota + 1
	storeInt16       // little-endian, as all integers
	storeInt24
	storeInt32
	storeInt64
	storeFloat
	storeDouble
	storeDecimal   // size: precision
	storeBit       // size: bytes, big-endian
	storeYear      // years since 1900; 0 is 0
	storeDate      // day:5 month:4 year:15, little-endian
	storeTime      // scale: digits of the fraction
	storeDateTime  // scale: digits of the fraction
	storeTimestamp // scale: digits of the fraction
	storeText      // size: bytes of the length before it
	storeBytes     // size: bytes of the length before it
	storePadded    // BINARY: size: bytes of the length before it; scale: length to pad to
	storeEnum      // size: bytes of the index
	storeSet       // size: bytes of the mask, little-endian
	storeJSON      // size: bytes of the length before it
	storeNumber    // ENUM and SET as their number: size: bytes, little-endian
)

// newLayout reads a table map. What one without the metadata of binlog_row_metadata=FULL lacks comes from the definition; without
// one, or with one that does not fit, or with a type that is not known, the error is an *event.StopError.
func newLayout(name event.TableName, m *replication.TableMapEvent, body []byte, d *event.Definition) (*layout, error) {
	n := int(m.ColumnCount)
	named := len(m.ColumnName) == n
	if !named {
		if err := usable(name, n, d); err != nil {
			return nil, err
		}
	}
	l := &layout{table: &event.Table{Name: name, Columns: make([]event.Column, n)}, columns: make([]columnLayout, n), body: body}
	unsigned, signs := m.UnsignedMap(), len(m.SignednessBitmap) > 0
	collations, labelCollations := textCollations(m), m.EnumSetCollationMap()
	enums, sets := m.EnumStrValueMap(), m.SetStrValueMap()
	for i := range n {
		c, s := &l.table.Columns[i], &l.columns[i]
		var known event.Column
		if named {
			c.Name = string(m.ColumnName[i])
		} else {
			known = d.Table.Columns[i]
			c.Name = known.Name
		}
		if err := fillType(c, s, m.ColumnType[i], m.ColumnMeta[i]); err != nil {
			return nil, stopf("", "column %s.%s: %v", name, c.Name, err)
		}
		switch c.Type {
		case event.TinyInt, event.SmallInt, event.MediumInt, event.Int, event.BigInt, event.Decimal, event.Float, event.Double:
			c.Unsigned = unsigned[i] || !signs && known.Unsigned
			s.unsigned = c.Unsigned
		case event.Enum, event.Set:
			if !named {
				c.Charset, c.Collation, c.Labels = known.Charset, known.Collation, known.Labels
				s.labels = c.Labels
				break
			}
			c.Charset, c.Collation = collationNames(labelCollations[i])
			raw := enums[i]
			if c.Type == event.Set {
				raw = sets[i]
			}
			c.Labels = labelsOf(charset.Lookup(c.Charset), raw)
			s.labels = c.Labels
		case event.Char, event.Text:
			set, collation := known.Charset, known.Collation
			if id, ok := collations[i]; ok {
				set, collation = collationNames(id)
			} else if known.Type == event.Binary || known.Type == event.VarBinary || known.Type == event.Blob {
				set = "binary"
			}
			if set == "binary" {
				s.bytesInstead(c, m.ColumnType[i] == mysql.MYSQL_TYPE_STRING)
				break
			}
			c.Charset, c.Collation, s.text = set, collation, charset.Lookup(set)
		}
		if !named && c.Type != known.Type && !(known.Charset == "" && alike(c.Type, known.Type)) {
			return nil, stopf(loadBehind, "the table map of %s has a %s as its column %d, and %s is a %s in the definition that is known",
				name, c.Type, i+1, known.Name, known.Type)
		}
	}
	if !named {
		l.table.Key = d.Table.Key
		return l, nil
	}
	for _, i := range m.PrimaryKey {
		if i >= uint64(n) {
			return nil, stopf("", "the table map of %s has a key of column %d", name, i)
		}
		l.table.Key = append(l.table.Key, int(i))
	}
	return l, nil
}

// takeLiterally has values taken as they are stored, as NewLiteralDecoder says.
func (l *layout) takeLiterally(m *replication.TableMapEvent, widths bool) {
	geometry := m.GeometryTypeMap()
	for i := range l.columns {
		switch s := &l.columns[i]; s.store {
		case storeEnum, storeSet:
			s.store = storeNumber
		case storePadded:
			s.store = storeBytes
		}
		c := &l.table.Columns[i]
		c.Declared = declared(c, m.ColumnType[i], m.ColumnMeta[i], geometry[i], widths)
	}
}

// loadBehind is what helps when rows cannot be told by the history of definitions.
const loadBehind = "load the table again; with binlog_row_metadata = FULL rows bring the names of their columns along"

// usable says why a definition does not give the names of n columns.
func usable(name event.TableName, n int, d *event.Definition) error {
	switch {
	case d == nil:
		return stopf(loadBehind, "the table map of %s has no column names", name)
	case d.Unknown != "":
		return stopf(loadBehind, "nobody can tell which columns %s has from version %s on: %s", name, d.From, d.Unknown)
	case len(d.Table.Columns) != n:
		return stopf(loadBehind, "the table map of %s has %d columns, and the definition that is known has %d", name, n, len(d.Table.Columns))
	}
	return nil
}

// alike reports whether a column of one type is of another when its character set is binary.
func alike(have, known event.Type) bool {
	return known == event.Text && have == event.Blob || known == event.Char && (have == event.Binary || have == event.VarBinary)
}

// textCollations returns the collation id of each text column. The library's own does not count VECTOR among them, as the server
// does, and gives the columns behind one to the wrong collations.
func textCollations(m *replication.TableMapEvent) map[int]uint64 {
	ids := make(map[int]uint64)
	others := make(map[int]uint64) // by ordinal: those that are not the default
	for i := 1; i+1 < len(m.DefaultCharset); i += 2 {
		others[int(m.DefaultCharset[i])] = m.DefaultCharset[i+1]
	}
	ordinal := 0
	for i, kind := range m.ColumnType {
		if kind != mysql.MYSQL_TYPE_VECTOR && !m.IsCharacterColumn(i) {
			continue
		}
		if id, ok := others[ordinal]; ok {
			ids[i] = id
		} else if len(m.DefaultCharset) > 0 {
			ids[i] = m.DefaultCharset[0]
		} else if ordinal < len(m.ColumnCharset) {
			ids[i] = m.ColumnCharset[ordinal]
		}
		ordinal++
	}
	return ids
}

// The types of MariaDB's COMPRESSED columns.
const (
	typeBlobCompressed    = 140
	typeVarcharCompressed = 141
)

// fillType fills in what type and meta of a table map say; character sets, signs and labels come from elsewhere.
func fillType(c *event.Column, s *columnLayout, kind byte, meta uint16) error {
	high, low := int(meta>>8), int(meta&0xff)
	switch kind {
	case mysql.MYSQL_TYPE_TINY:
		c.Type, s.store = event.TinyInt, storeInt8
	case mysql.MYSQL_TYPE_SHORT:
		c.Type, s.store = event.SmallInt, storeInt16
	case mysql.MYSQL_TYPE_INT24:
		c.Type, s.store = event.MediumInt, storeInt24
	case mysql.MYSQL_TYPE_LONG:
		c.Type, s.store = event.Int, storeInt32
	case mysql.MYSQL_TYPE_LONGLONG:
		c.Type, s.store = event.BigInt, storeInt64
	case mysql.MYSQL_TYPE_FLOAT:
		c.Type, s.store = event.Float, storeFloat
	case mysql.MYSQL_TYPE_DOUBLE:
		c.Type, s.store = event.Double, storeDouble
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		c.Type, s.store = event.Decimal, storeDecimal
		c.Length, c.Scale, s.size, s.scale = high, low, high, low
		if high < low || high > maxPrecision {
			return fmt.Errorf("DECIMAL(%d,%d)", high, low)
		}
	case mysql.MYSQL_TYPE_BIT:
		c.Type, s.store = event.Bit, storeBit
		c.Length = high*8 + low
		s.size = (c.Length + 7) / 8
		if s.size < 1 || s.size > 8 {
			return fmt.Errorf("BIT(%d)", c.Length)
		}
	case mysql.MYSQL_TYPE_YEAR:
		c.Type, s.store = event.Year, storeYear
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		c.Type, s.store = event.Date, storeDate
	case mysql.MYSQL_TYPE_TIME2:
		c.Type, s.store = event.Time, storeTime
	case mysql.MYSQL_TYPE_DATETIME2:
		c.Type, s.store = event.DateTime, storeDateTime
	case mysql.MYSQL_TYPE_TIMESTAMP2:
		c.Type, s.store = event.Timestamp, storeTimestamp
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING:
		c.Type, s.store, s.size = event.Char, storeText, lengthBytes(int(meta))
	case mysql.MYSQL_TYPE_STRING:
		return fillString(c, s, high, low)
	case mysql.MYSQL_TYPE_BLOB:
		c.Type, s.store, s.size = event.Text, storeText, low
	case mysql.MYSQL_TYPE_GEOMETRY:
		c.Type, s.store, s.size = event.Geometry, storeBytes, low
	case mysql.MYSQL_TYPE_VECTOR:
		c.Type, s.store, s.size = event.Vector, storeBytes, low
	case mysql.MYSQL_TYPE_JSON:
		c.Type, s.store, s.size = event.JSON, storeJSON, low
	case mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_TIME:
		return errors.New("a time is stored in the format before MySQL 5.6; ALTER TABLE ... FORCE with mysql56_temporal_format=ON stores it anew")
	case typeBlobCompressed, typeVarcharCompressed:
		return errors.New("COMPRESSED columns are not handled")
	default:
		return fmt.Errorf("the type %d of the table map is not known", kind)
	}
	switch s.store {
	case storeTime, storeDateTime, storeTimestamp:
		c.Length, s.scale = low, low
		if low > 6 {
			return fmt.Errorf("a fraction of %d digits", low)
		}
	case storeText, storeBytes, storeJSON:
		if s.size < 1 || s.size > 4 {
			return fmt.Errorf("lengths of %d bytes", s.size)
		}
	}
	return nil
}

// fillString reads the meta of what the server calls STRING: CHAR and BINARY, ENUM and SET. Its high byte is the real type, with two bits of
// a CHAR's length, inverted, in it.
func fillString(c *event.Column, s *columnLayout, high, low int) error {
	switch byte(high) {
	case mysql.MYSQL_TYPE_ENUM:
		c.Type, s.store, s.size = event.Enum, storeEnum, low
		if low < 1 || low > 2 {
			return fmt.Errorf("ENUM of %d bytes", low)
		}
	case mysql.MYSQL_TYPE_SET:
		c.Type, s.store, s.size = event.Set, storeSet, low
		if low < 1 || low > 8 {
			return fmt.Errorf("SET of %d bytes", low)
		}
	default:
		if byte(high)|0x30 != mysql.MYSQL_TYPE_STRING {
			return fmt.Errorf("the type %d of the table map is not known", high)
		}
		length := low | (high&0x30^0x30)<<4
		c.Type, s.store, s.size, s.scale = event.Char, storeText, lengthBytes(length), length
	}
	return nil
}

func lengthBytes(longest int) int {
	if longest < 256 {
		return 1
	}
	return 2
}

// bytesInstead makes of a text column what it is when its character set is binary.
func (c *columnLayout) bytesInstead(column *event.Column, fixed bool) {
	c.store = storeBytes
	switch {
	case column.Type == event.Text:
		column.Type = event.Blob
	case fixed:
		column.Type, column.Length, c.store = event.Binary, c.scale, storePadded
	default:
		column.Type = event.VarBinary
	}
}
