package binlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"canalgo/event"
)

// A Session is a connection for queries one after the other. It ends with the context that it was opened with.
type Session struct {
	conn    *client.Conn
	addr    string
	mariadb bool
}

// Session opens a connection to the server with that UUID.
func (s *Source) Session(ctx context.Context, serverUUID string) (*Session, error) {
	conn, identity, err := s.Connect(ctx, serverUUID)
	if err != nil {
		return nil, err
	}
	// Each text comes in the character set that it is stored in. Converted by the server, it would have a question mark for what is no
	// character of it, and not be what the stream has.
	settings := "SET SESSION character_set_results = NULL"
	if identity.MariaDB { // else it would make a table of a long list behind IN, and could scan what it is compared with
		settings += ", in_predicate_conversion_threshold = 0"
	}
	if _, err := conn.Execute(settings); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", s.Address(), err)
	}
	return &Session{conn, conn.RemoteAddr().String(), identity.MariaDB}, nil
}

// Close ends it.
func (s *Session) Close() error { return s.conn.Close() }

// Wait returns once the server shows the transactions of a GTID set.
func (s *Session) Wait(ctx context.Context, gtids string) error {
	return s.await(ctx, event.Position{GTIDs: gtids})
}

// await returns once the server shows the transactions before a position, if that has GTIDs.
func (s *Session) await(ctx context.Context, at event.Position) error {
	switch {
	case at.GTIDs == "":
		return nil
	case s.mariadb:
		return awaitSnapshot(ctx, s.conn, at, executedPatience)
	}
	return ExecutedWait(ctx, s.conn, at.GTIDs, executedPatience)
}

// Query runs a query, and calls told with its columns, whose types it may change for the values, then row with each row's values as event.Row
// has them; the slice is row's to keep. A statement that the server refuses whatever happens, as one about a column that is not there, is an
// *event.StopError.
func (s *Session) Query(ctx context.Context, query string, told func([]event.Column) error, row func([]any) error) error {
	err := selectRows(s.conn, query, nil, told, row)
	var refused *mysql.MyError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refused) && refused.Code == mysql.ER_NO_DB_ERROR: // the server looks for a stored function, and there is no schema to look in
		return stopf("write a function that MySQL has", "the mapping's SQL calls a function that MySQL does not have; a stored one cannot be followed, because nobody knows what it reads")
	case errors.As(err, &refused) && refusedForGood[refused.Code]:
		return stopf("change the mapping's SQL, the table, or the grants of the source's user", "the server refuses the mapping's SQL: %s", refused.Message)
	}
	return fmt.Errorf("select from %s: %w", s.addr, err)
}

// refusedForGood are the errors about a statement itself, its names and rights.
var refusedForGood = map[uint16]bool{
	mysql.ER_PARSE_ERROR: true, mysql.ER_BAD_FIELD_ERROR: true, mysql.ER_NO_SUCH_TABLE: true, mysql.ER_BAD_TABLE_ERROR: true, mysql.ER_BAD_DB_ERROR: true,
	mysql.ER_NON_UNIQ_ERROR: true, mysql.ER_WRONG_FIELD_WITH_GROUP: true, mysql.ER_MIX_OF_GROUP_FUNC_AND_FIELDS: true, mysql.ER_DUP_FIELDNAME: true,
	mysql.ER_SP_DOES_NOT_EXIST: true, mysql.ER_WRONG_PARAMCOUNT_TO_NATIVE_FCT: true, mysql.ER_WRONG_ARGUMENTS: true, mysql.ER_INVALID_GROUP_FUNC_USE: true,
	mysql.ER_TABLEACCESS_DENIED_ERROR: true, mysql.ER_COLUMNACCESS_DENIED_ERROR: true, mysql.ER_CANT_AGGREGATE_2COLLATIONS: true, mysql.ER_UNKNOWN_TABLE: true,
	mysql.ER_NONUNIQ_TABLE: true, mysql.ER_OPERAND_COLUMNS: true,
}

// resultColumns says what a result's columns are.
func resultColumns(fields []*mysql.Field) ([]event.Column, error) {
	columns := make([]event.Column, len(fields))
	for i, f := range fields {
		c, err := resultColumn(f)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		columns[i] = c
	}
	return columns, nil
}

// binaryCharset is the number of the character set of bytes.
const binaryCharset = 63

func resultColumn(f *mysql.Field) (event.Column, error) {
	c := event.Column{Name: string(f.Name)}
	number := func(is event.Type) { c.Type, c.Unsigned = is, f.Flag&mysql.UNSIGNED_FLAG != 0 }
	moment := func(is event.Type) { c.Type, c.Length = is, fraction(f.Decimal) }
	text := func(is, bytes event.Type) {
		if f.Charset == binaryCharset {
			c.Type = bytes
			return
		}
		c.Type = is
		c.Charset, c.Collation = collationNames(uint64(f.Charset))
	}
	switch f.Type {
	case mysql.MYSQL_TYPE_TINY:
		number(event.TinyInt)
	case mysql.MYSQL_TYPE_SHORT:
		number(event.SmallInt)
	case mysql.MYSQL_TYPE_INT24:
		number(event.MediumInt)
	case mysql.MYSQL_TYPE_LONG:
		number(event.Int)
	case mysql.MYSQL_TYPE_LONGLONG:
		number(event.BigInt)
	case mysql.MYSQL_TYPE_FLOAT:
		number(event.Float)
	case mysql.MYSQL_TYPE_DOUBLE:
		number(event.Double)
	case mysql.MYSQL_TYPE_NEWDECIMAL, mysql.MYSQL_TYPE_DECIMAL:
		number(event.Decimal)
		c.Scale = int(f.Decimal)
		c.Length = int(f.ColumnLength) // digits, the point and the sign
		if c.Scale > 0 {
			c.Length--
		}
		if !c.Unsigned {
			c.Length--
		}
	case mysql.MYSQL_TYPE_BIT:
		c.Type, c.Length = event.Bit, int(f.ColumnLength)
	case mysql.MYSQL_TYPE_YEAR:
		c.Type = event.Year
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		c.Type = event.Date
	case mysql.MYSQL_TYPE_TIME, mysql.MYSQL_TYPE_TIME2:
		moment(event.Time)
	case mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_DATETIME2:
		moment(event.DateTime)
	case mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_TIMESTAMP2:
		moment(event.Timestamp)
	case mysql.MYSQL_TYPE_JSON:
		c.Type = event.JSON
	case mysql.MYSQL_TYPE_GEOMETRY:
		c.Type = event.Geometry
	case mysql.MYSQL_TYPE_VECTOR:
		c.Type = event.Vector
	case mysql.MYSQL_TYPE_STRING:
		switch {
		case f.Flag&mysql.ENUM_FLAG != 0:
			text(event.Enum, event.Enum)
		case f.Flag&mysql.SET_FLAG != 0:
			text(event.Set, event.Set)
		default:
			text(event.Char, event.VarBinary) // a BINARY comes with all its bytes
		}
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING:
		text(event.Char, event.VarBinary)
	case mysql.MYSQL_TYPE_TINY_BLOB, mysql.MYSQL_TYPE_MEDIUM_BLOB, mysql.MYSQL_TYPE_LONG_BLOB, mysql.MYSQL_TYPE_BLOB:
		text(event.Text, event.Blob)
	case mysql.MYSQL_TYPE_NULL: // SELECT NULL
		c.Type, c.Charset = event.Char, "utf8mb4"
	default:
		return c, fmt.Errorf("the type %d of a result is not known", f.Type)
	}
	return c, nil
}

// fraction is the number of digits behind a second's point; 31 stands for not fixed, which has six.
func fraction(decimals uint8) int { return min(int(decimals), 6) }
