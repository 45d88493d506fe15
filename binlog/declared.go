package binlog

import (
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"canalgo/event"
)

// declared returns a column's type as SHOW CREATE TABLE spells it, as far as a table map tells: widths and zerofill of numbers are not in
// it, so integers have the widths that servers print which print any (MySQL before 8.0.19, MariaDB).
func declared(c *event.Column, kind byte, meta uint16, geometry uint64, widths bool) string {
	text := declaredType(c, kind, meta, geometry, widths)
	if c.Unsigned {
		text += " unsigned"
	}
	return text
}

func declaredType(c *event.Column, kind byte, meta uint16, geometry uint64, widths bool) string {
	fraction := func(name string) string {
		if c.Length == 0 {
			return name
		}
		return fmt.Sprintf("%s(%d)", name, c.Length)
	}
	switch c.Type {
	case event.TinyInt, event.SmallInt, event.MediumInt, event.Int, event.BigInt:
		if !widths {
			return c.Type.String()
		}
		width := map[event.Type]int{event.TinyInt: 4, event.SmallInt: 6, event.MediumInt: 9, event.Int: 11, event.BigInt: 20}[c.Type]
		if c.Unsigned && c.Type != event.BigInt {
			width--
		}
		return fmt.Sprintf("%s(%d)", c.Type, width)
	case event.Year:
		if widths {
			return "year(4)"
		}
	case event.Decimal:
		return fmt.Sprintf("decimal(%d,%d)", c.Length, c.Scale)
	case event.Bit:
		return fmt.Sprintf("bit(%d)", c.Length)
	case event.Time, event.DateTime, event.Timestamp:
		return fraction(c.Type.String())
	case event.Char:
		if kind == mysql.MYSQL_TYPE_STRING {
			return fmt.Sprintf("char(%d)", stringBytes(meta)/widest(c.Charset))
		}
		return fmt.Sprintf("varchar(%d)", int(meta)/widest(c.Charset))
	case event.Binary:
		return fmt.Sprintf("binary(%d)", c.Length)
	case event.VarBinary:
		return fmt.Sprintf("varbinary(%d)", meta)
	case event.Text, event.Blob:
		return [...]string{1: "tiny", 2: "", 3: "medium", 4: "long"}[min(max(meta&0xff, 1), 4)] + c.Type.String()
	case event.Enum, event.Set:
		labels := make([]string, len(c.Labels))
		for i, label := range c.Labels {
			labels[i] = "'" + strings.ReplaceAll(label, "'", "''") + "'"
		}
		return c.Type.String() + "(" + strings.Join(labels, ",") + ")"
	case event.Geometry:
		if geometry < uint64(len(geometries)) {
			return geometries[geometry]
		}
	}
	return c.Type.String()
}

// geometries are the spatial types by their number in a table map.
var geometries = [...]string{"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection"}

// stringBytes is the length of a CHAR in bytes, see fillString.
func stringBytes(meta uint16) int { return int(meta&0xff) | (int(meta>>8)&0x30^0x30)<<4 }

// widest is how many bytes a character has at most in a character set.
func widest(charset string) int {
	switch charset {
	case "utf8mb4", "utf16", "utf16le", "utf32", "gb18030":
		return 4
	case "utf8mb3", "utf8", "ujis", "eucjpms":
		return 3
	case "gbk", "gb2312", "big5", "ucs2", "sjis", "cp932", "euckr":
		return 2
	}
	return 1
}
