package mapping_test

import (
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// TestWhere tries conditions on one row; the integration test compares random ones with a server.
func TestWhere(t *testing.T) {
	table := &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Key: []int{0}, Columns: []event.Column{
		{Name: "id", Type: event.Int},
		{Name: "n", Type: event.Int},
		{Name: "i", Type: event.BigInt},
		{Name: "u", Type: event.BigInt, Unsigned: true},
		{Name: "d", Type: event.Decimal, Length: 10, Scale: 2},
		{Name: "f", Type: event.Float},
		{Name: "da", Type: event.Date},
		{Name: "dt", Type: event.DateTime, Length: 3},
		{Name: "ti", Type: event.Time, Length: 1},
		{Name: "y", Type: event.Year},
		{Name: "b", Type: event.Bit, Length: 9},
		{Name: "s", Type: event.Char, Charset: "utf8mb4", Collation: "utf8mb4_0900_ai_ci"},
		{Name: "e", Type: event.Enum, Charset: "utf8mb4", Collation: "utf8mb4_general_ci"},
		{Name: "x", Type: event.VarBinary},
		{Name: "j", Type: event.JSON},
	}}
	row := event.Row{Table: table, Op: event.Insert, After: []any{int32(1), nil, int64(-3), uint64(1<<64 - 1), "-12.50", float32(0.5),
		"2024-02-29", "2024-02-29 12:30:45.500", "-12:30:45.5", uint16(2024), uint64(256), "Élan", "New", []byte{0xFF, 0}, `{}`}}
	tests := map[string][]string{
		"true": {
			"1", "true", "1 = 1", "not false", "n is null", "n <=> null", "not n <=> 1", "n is not true", "n is not false", "(n = 1) is not true",
			"i = -3", "i <> -2", "i != 3", "i < -2.5", "i > -3.5", "i <= -3", "i >= -3", "-3 = i", "-4 < i", "i = '-3'", "i in (1, -3)", "i not in (1, 2)", "i between -4 and -3", "i not between 0 and 9",
			"i > -99999999999999999999", "i < 99999999999999999999", "i", "not i = 1", "i <=> -3", "i = -3.0", "id = 1e0",
			"u = 18446744073709551615", "u > 9223372036854775807", "u > -1", "u < 18446744073709551616", "u <> i", "i < u", "id > i",
			"d = -12.5", "d = -12.500", "d < -12.49", "d > -12.51", "d < 0", "d in (1, -12.5)", "d = d", "d is true",
			"f = 5e-1", "f > 0", "f <= 1",
			"da = '2024-02-29'", "da = '2024-02-29 00:00:00'", "da < '2024-02-29 00:00:00.000001'", "da > '2024-02-28 23:59:59'", "da = date '2024-02-29'", "da between '2024-01-01' and '2024-12-31'",
			"dt = '2024-02-29 12:30:45.5'", "dt = '2024-02-29 12:30:45.500000'", "dt > '2024-02-29 12:30:45'", "dt > '2024-02-29'", "dt < '2024-03-01'", "dt = timestamp '2024-02-29 12:30:45.5'",
			"ti = '-12:30:45.5'", "ti < '-12:30:45'", "ti > '-100:00:00'", "y = 2024", "y >= '1999'", "b = 256", "b = x'0100'", "b = b'100000000'",
			"s = 'elan'", "s <> 'elan '", "s < 'elao'", "s in ('x', 'ELAN')", "s like 'e%N'", "s like '____'", "s not like 'e'", "s like 'e|lan' escape '|'", "s between 'e' and 'f'",
			"e = 'NEW'", "e = 'new '", "e in ('old', 'new')", "x = x'FF00'", "x > x'FF'", "x <> 'a'", "j is not null",
			"i = 1 or s = 'elan'", "i = -3 and s = 'elan'", "not (i = 1 and s = 'elan')", "n = 1 or i = -3", "i = -3 or n = 1", "not (n = 1 and i = 1)", "i = -3 && (i = 9 || !(i = 1))",
			"i not in (1, -99999999)", "i in (1, null, -3)",
		},
		"false or unknown": {
			"0", "false", "null", "1 = 2", "n = 1", "n <> 1", "not n = 1", "n = null", "i = null", "not i = null", "n <=> 1", "n is not null", "n", "not n", "n is true", "n is false",
			"n in (1, 2)", "n not in (1, 2)", "i in (1, null)", "i not in (1, null)", "n between 1 and 2", "n not between 1 and 2", "n = id",
			"i = 3", "i = -2.9", "i < -3", "i > -3", "i not in (-3)", "u = -1", "u < 0", "d = -12.51", "d >= -12.49", "f = 1", "da > '2024-02-29'", "dt = '2024-02-29'",
			"ti = '12:30:45.5'", "y < 2024", "b = 255", "s = 'elan '", "s like 'E'", "s like '%x%'", "e = 'ne'", "x = 'a'", "j is null",
			"n = 1 and i = -3", "n = 1 or i = 1", "not (n = 1 or i = 1)", "not (i = -3 or n = 1)",
		},
	}
	for want, conditions := range tests {
		for _, where := range conditions {
			m, err := mapping.Compile("t", mapping.Config{SQL: "select id as _id from t where " + where, Index: "t"}, "shop")
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			changes, err := m.Map([]event.Row{row})
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			if got := len(changes) == 1; got != (want == "true") {
				t.Errorf("%s: got %v, want %s", where, got, want)
			}
		}
	}
}

func TestWhereRefusesUncertainComparisons(t *testing.T) {
	table := &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Key: []int{0}, Columns: []event.Column{
		{Name: "id", Type: event.Int}, {Name: "i", Type: event.BigInt}, {Name: "u", Type: event.BigInt, Unsigned: true},
		{Name: "d", Type: event.Decimal, Length: 10, Scale: 2}, {Name: "f", Type: event.Float}, {Name: "da", Type: event.Date},
		{Name: "ti", Type: event.Time}, {Name: "y", Type: event.Year}, {Name: "b", Type: event.Bit, Length: 9},
		{Name: "e", Type: event.Enum, Charset: "utf8mb4", Collation: "utf8mb4_general_ci"},
	}}
	for _, where := range []string{
		"i = '1.5'", "i = '01'", "i = ' 1'", "i = '9007199254740992'", "i = 1e0", "i = '2024-02-29'", "i = x'31'", "b = '1'", "b = 1e0",
		"i in (1.5, 9007199254740992)", "i in ('1', 9007199254740992)", "i between '1' and 9007199254740992", "u in (-1, 1.5)", "i in (1, 99999999999999999999)",
		"d = '12.5'", "d = 1e0", "f = 0.5", "f = '1'", "f = i", "d = i", "da = i", "da = 20240229", "da = '2024-2-29'", "da = '2024-02-29T00:00:00'", "da = '2024-02-29 00:00'",
		"da = '2024-02-29 00:00:00.'", "da = '2024-02-29 24:00:00'", "da = '0000-00-00'", "da = '2023-02-29'", "da = x'31'", "da", "ti", "ti = 1", "ti = '12:30'", "ti = '839:00:00'", "ti = '12:60:00'",
		"y = 70", "y = '24'", "y = 2156", "y = 2024.5", "e < 'new'", "e = 1", "e like 'n%'", "e between 'a' and 'b'", "e",
	} {
		m, err := mapping.Compile("t", mapping.Config{SQL: "select id as _id from t where " + where, Index: "t"}, "shop")
		if err == nil {
			err = m.Bind(table)
		}
		if err == nil {
			t.Errorf("%s: want an error", where)
		}
	}
}

// TestWhereMeetsBadText: nobody can say whether such a row belongs, so it is set aside.
func TestWhereMeetsBadText(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select id as _id, age from user where name = 'a'"})
	row := []any{int64(1), "a\xff", nil, nil, nil, nil}
	good := []any{int64(1), "a", nil, nil, nil, nil}
	equal(t, "changes", mapRows(t, m,
		event.Row{Table: userTable(), Op: event.Insert, After: row},
		event.Row{Table: userTable(), Op: event.Update, Before: row, After: good},
		event.Row{Table: userTable(), Op: event.Delete, Before: row}),
		[]string{"write 1 error: column name: invalid UTF-8", `write 1 {"age":null}`, "delete 1"})
}

func TestBodiesDoNotOverlap(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select id as _id, age from user"})
	rows := []event.Row{{Table: userTable(), Op: event.Insert, After: []any{int64(1), nil, int32(1), nil, nil, nil}},
		{Table: userTable(), Op: event.Insert, After: []any{int64(2), nil, int32(2), nil, nil, nil}}}
	changes, err := m.Map(rows)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(changes[0].Body, "overwrites"...)
	if got := string(changes[1].Body); got != `{"age":2}` {
		t.Errorf("appending to a body changed the next one to %s", got)
	}
}
