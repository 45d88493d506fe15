package binlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"canalgo/charset"
	"canalgo/event"
)

// executedPatience bounds how long Select waits for a GTID set.
const executedPatience = 30 * time.Second

// Select waits until the server shows the transactions before at, if that has GTIDs, runs the query and calls row with each row, its
// values as event.Row has them, columns saying what they are. The slice is row's to keep. When at has a server, another one is an error.
func (s *Source) Select(ctx context.Context, at event.Position, query string, columns []event.Column, row func([]any) error) error {
	session, err := s.Session(ctx, at.ServerUUID)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.await(ctx, at); err != nil {
		return err
	}
	if err := selectRows(session.conn, query, columns, nil, row); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("select from %s: %w", session.addr, err)
	}
	return nil
}

// selectRows runs a query. Without columns, told is given those that the server tells, and may change what their values become.
func selectRows(conn *client.Conn, query string, columns []event.Column, told func([]event.Column) error, row func([]any) error) error {
	statement, err := conn.Prepare(query) // the text protocol rounds FLOAT
	if err != nil {
		return err
	}
	defer statement.Close()
	if columns != nil && statement.ColumnNum() != len(columns) {
		return fmt.Errorf("the query has %d columns, %d were announced", statement.ColumnNum(), len(columns))
	}
	var result mysql.Result
	var sets []*charset.Set
	return statement.ExecuteSelectStreaming(&result, func(values []mysql.FieldValue) error {
		out := make([]any, len(columns))
		for i := range columns {
			if out[i], err = Convert(columns[i], sets[i], values[i]); err != nil {
				return fmt.Errorf("column %s: %w", columns[i].Name, err)
			}
		}
		return row(out)
	}, func(result *mysql.Result) error {
		sets = make([]*charset.Set, len(result.Fields))
		for i := range sets {
			set, _ := collationNames(uint64(result.Fields[i].Charset))
			sets[i] = charset.Lookup(set)
		}
		if columns != nil {
			return nil
		}
		if columns, err = resultColumns(result.Fields); err != nil || told == nil {
			return err
		}
		return told(columns)
	})
}

// ExecutedWait returns once the server has executed a GTID set, so that a following SELECT sees those transactions.
func ExecutedWait(ctx context.Context, conn *client.Conn, gtids string, timeout time.Duration) error {
	r, err := conn.Execute("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", gtids, timeout.Seconds())
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("wait for transactions: %w", err)
	}
	if late, _ := r.GetInt(0, 0); late != 0 {
		return fmt.Errorf("wait for transactions: the server has not executed %s after %s", short(gtids), timeout)
	}
	return nil
}

// Convert makes of a value of the binary protocol what the Decoder makes of the same value in the log. The connection
// must be one of Connect's, with times in UTC; set is what the connection gives texts in.
func Convert(c event.Column, set *charset.Set, v mysql.FieldValue) (any, error) {
	switch v.Type {
	case mysql.FieldValueTypeNull:
		return nil, nil
	case mysql.FieldValueTypeSigned:
		return convertInt(c, uint64(v.AsInt64()))
	case mysql.FieldValueTypeUnsigned:
		return convertInt(c, v.AsUint64())
	case mysql.FieldValueTypeFloat:
		switch c.Type {
		case event.Float:
			return float32(v.AsFloat64()), nil
		case event.Double:
			return v.AsFloat64(), nil
		}
	case mysql.FieldValueTypeString:
		return convertText(c, set, v.AsString())
	}
	return nil, fmt.Errorf("a %s came as %v", c.Type, v.Type)
}

// convertInt gives an integer the width of its column. v holds its two's complement.
func convertInt(c event.Column, v uint64) (any, error) {
	switch {
	case c.Type == event.Year:
		return uint16(v), nil
	case c.Type == event.TinyInt && c.Unsigned:
		return uint8(v), nil
	case c.Type == event.TinyInt:
		return int8(v), nil
	case c.Type == event.SmallInt && c.Unsigned:
		return uint16(v), nil
	case c.Type == event.SmallInt:
		return int16(v), nil
	case (c.Type == event.MediumInt || c.Type == event.Int) && c.Unsigned:
		return uint32(v), nil
	case c.Type == event.MediumInt || c.Type == event.Int:
		return int32(v), nil
	case c.Type == event.BigInt && c.Unsigned:
		return v, nil
	case c.Type == event.BigInt:
		return int64(v), nil
	}
	return nil, fmt.Errorf("a %s came as an integer", c.Type)
}

// convertText copies b, which the connection will use again.
func convertText(c event.Column, set *charset.Set, b []byte) (any, error) {
	switch c.Type {
	case event.Bit:
		if len(b) > 8 {
			return nil, errors.New("a BIT of more than 64 bits")
		}
		return big(b), nil
	case event.Binary:
		return padded(bytes.Clone(b), c.Length), nil
	case event.VarBinary, event.Blob, event.Geometry, event.Vector:
		return append([]byte{}, b...), nil
	case event.Time, event.DateTime, event.Timestamp:
		return withFraction(string(b), c.Length), nil
	case event.Char, event.Text, event.Enum, event.Set:
		return textValue(set, bytes.Clone(b)), nil
	case event.Decimal, event.Date, event.JSON:
		return string(b), nil
	}
	// MariaDB makes a DECIMAL of a UNION of integers with and without a sign.
	if v, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		return convertInt(c, uint64(v))
	}
	if v, err := strconv.ParseUint(string(b), 10, 64); err == nil && c.Unsigned {
		return convertInt(c, v)
	}
	return nil, fmt.Errorf("a %s came as text", c.Type)
}

// withFraction gives a time its column's digits: the protocol sends six or none.
func withFraction(text string, digits int) string {
	whole, fraction, _ := strings.Cut(text, ".")
	if digits == 0 {
		return whole
	}
	return whole + "." + (fraction + "000000")[:digits]
}

// Rows estimates how many rows a table has.
func (s *Source) Rows(ctx context.Context, table event.TableName) (uint64, error) {
	conn, identity, err := s.Connect(ctx, "")
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if !identity.MariaDB { // which counts anew; MySQL keeps statistics for a day unless it is told otherwise
		if _, err := conn.Execute("SET SESSION information_schema_stats_expiry = 0"); err != nil {
			return 0, fmt.Errorf("count the rows of %s: %w", table, err)
		}
	}
	r, err := conn.Execute("SELECT COALESCE(table_rows, 0) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", table.Schema, table.Name)
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", table, err)
	}
	if len(r.Values) == 0 {
		return 0, stopf("", "there is no table %s", table)
	}
	n, err := r.GetUint(0, 0)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("count the rows of %s: %w", table, err)
	}
	return n, nil
}
