//go:build integration

package integration_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// A testColumn is a column whose comparisons are tried against the server.
type testColumn struct {
	def    string // in CREATE TABLE
	column event.Column
	query  string                         // how the test selects it; the name when empty
	value  func(text string) (any, error) // from the server's text
	values []string                       // SQL literals to store
	tries  []string                       // SQL literals to compare with
	like   bool
}

func signed(s string) (any, error)   { v, err := strconv.ParseInt(s, 10, 64); return v, err }
func unsigned(s string) (any, error) { v, err := strconv.ParseUint(s, 10, 64); return v, err }
func asString(s string) (any, error) { return s, nil }

func testColumns() []testColumn {
	words := []string{"''", "'a'", "'A'", "'b'", "'ab'", "'aB '", "'a '", "' a'", "'a  b'", "'é'", "'É'", "'e'", "'ß'", "'ss'", "'s'", "'æ'", "'ae'", "'ä'", "'ö'", "'Ö'", "'y'", "'ü'",
		"'a\t'", "'a\x01'", "'z'", "'_'", "'%'", "'-'", "'0'", "'10'", "'9'", "'a_b'", "'a%b'", "'a\\\\b'", "'it''s'", "'þ'", "'ÿ'"}
	wide := append(slices.Clone(words), "'中'", "'中文'", "'\u8c48'", "'\uf900'", "'Ａ'", "'文'", "'가'", "'ﬁ'", "'fi'", "'ｆｉ'", "'ſ'", "'K'", "'\u0301'", "'e\u0301'", "'\u200b'", "'Σ'", "'ς'", "'я'", "'Ё'")
	widest := append(slices.Clone(wide), "'😀'", "'🎉'", "'𝐚'", "'𠀀'")
	ints := []string{"2", "300", "0", "1", "-1", "7", "100", "127", "-128", "255", "1.0", "1.5", "-0.5", "0.5", "1e0", "15e-1", "'1'", "'01'", "'a'", "true", "false", "99999999999999999999", "-99999999999999999999.5"}
	big := append(slices.Clone(ints), "9223372036854775807", "-9223372036854775808", "18446744073709551615", "9007199254740993", "9007199254740992.5", "'9223372036854775807'", "'9007199254740993'", "1e18")
	decimals := append(slices.Clone(ints), "12.50", "12.5", "-12.501", "0.00", "99999999.99", "123456789012345678901234567890.5", "0.000001", "'12.5'")
	dates := []string{"'2024-02-29'", "'2024-02-28'", "'1000-01-01'", "'9999-12-31'", "'2024-02-29 00:00:00'", "'2024-02-29 12:30:45'", "'2024-02-29 12:30:45.5'", "'2024-02-29 12:30:45.500001'",
		"'2024-2-9'", "'20240229'", "20240229", "date '2024-02-29'", "timestamp '2024-02-29 12:30:45'", "'2024-02-30'", "'0000-00-00'", "'2038-01-19 03:14:07'"}
	text := func(charset, collation string, values []string) testColumn {
		name := "t_" + collation
		return testColumn{def: "varchar(30) character set " + charset + " collate " + collation, value: asString, values: values, tries: append(slices.Clone(values), "1", "'%'", "'a%'", "'_'"), like: true,
			column: event.Column{Name: name, Type: event.Char, Charset: charset, Collation: collation}}
	}
	integer := func(name, def string, typ event.Type, unsignedType bool, values ...string) testColumn {
		c := testColumn{def: def, column: event.Column{Name: name, Type: typ, Unsigned: unsignedType}, value: signed, values: values, tries: big}
		if unsignedType {
			c.value = unsigned
		}
		return c
	}
	date := func(name, def string, typ event.Type, width int, values ...string) testColumn {
		return testColumn{def: def, column: event.Column{Name: name, Type: typ, Length: width}, value: asString, values: values, tries: dates}
	}
	return []testColumn{
		integer("i8", "tinyint", event.TinyInt, false, "0", "1", "-1", "127", "-128"),
		integer("i32", "int", event.Int, false, "0", "1", "-1", "100", "2147483647", "-2147483648"),
		integer("i64", "bigint", event.BigInt, false, "0", "1", "-1", "9223372036854775807", "-9223372036854775808", "9007199254740993", "9007199254740992"),
		integer("u64", "bigint unsigned", event.BigInt, true, "0", "1", "18446744073709551615", "9223372036854775808", "9007199254740993"),
		{def: "bit(9)", query: "b9+0", column: event.Column{Name: "b9", Type: event.Bit, Length: 9}, value: unsigned, values: []string{"0", "1", "256", "511"}, tries: append(slices.Clone(ints), "b'1'", "x'0100'", "256")},
		{def: "year", column: event.Column{Name: "y", Type: event.Year}, value: signed, values: []string{"0", "1901", "2024", "2155"}, tries: []string{"0", "70", "1901", "2024", "2155", "'2024'", "'24'", "2156", "1900", "2024.5"}},
		{def: "decimal(10,2)", column: event.Column{Name: "d2", Type: event.Decimal, Length: 10, Scale: 2}, value: asString, values: []string{"0", "0.01", "-0.01", "12.5", "-12.50", "99999999.99", "1", "100"}, tries: decimals},
		{def: "decimal(65,30)", column: event.Column{Name: "d30", Type: event.Decimal, Length: 65, Scale: 30}, value: asString, values: []string{"0", "1e-30", "-1e-30", "12.5", "123456789012345678901234567890.5", "0.000001"}, tries: decimals},
		{def: "float", query: "f+0e0", column: event.Column{Name: "f", Type: event.Float}, values: []string{"0", "0.1", "1.5", "-0.5", "3.4e38", "100"}, tries: append(slices.Clone(ints), "0.1", "1e-1", "100"),
			value: func(s string) (any, error) { v, err := strconv.ParseFloat(s, 64); return float32(v), err }},
		{def: "double", column: event.Column{Name: "g", Type: event.Double}, values: []string{"0", "0.1", "1.5", "-0.5", "1e300", "9007199254740993"}, tries: append(slices.Clone(big), "0.1", "1e-1"),
			value: func(s string) (any, error) { v, err := strconv.ParseFloat(s, 64); return v, err }},
		{def: "double(10,3)", column: event.Column{Name: "g3", Type: event.Double}, values: []string{"0", "0.1", "1.5", "-0.5", "0.123"}, tries: append(slices.Clone(ints), "0.1", "1e-1", "123e-3"),
			value: func(s string) (any, error) { v, err := strconv.ParseFloat(s, 64); return v, err }},
		date("da", "date", event.Date, 0, "'2024-02-29'", "'2024-02-28'", "'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2024-00-15'"),
		date("dt", "datetime", event.DateTime, 0, "'2024-02-29 12:30:45'", "'2024-02-29'", "'1000-01-01'", "'9999-12-31 23:59:59'", "'0000-00-00'"),
		date("dt6", "datetime(6)", event.DateTime, 6, "'2024-02-29 12:30:45.5'", "'2024-02-29 12:30:45.500001'", "'2024-02-29'", "'2024-02-29 12:30:45'"),
		date("ts", "timestamp", event.Timestamp, 0, "'2024-02-29 12:30:45'", "'2024-02-29'", "'2038-01-19 03:14:07'", "'1970-01-01 00:00:01'"),
		date("ts3", "timestamp(3)", event.Timestamp, 3, "'2024-02-29 12:30:45.5'", "'2024-02-29'", "'2024-02-29 12:30:45'"),
		{def: "time(3)", column: event.Column{Name: "ti", Type: event.Time, Length: 3}, value: asString, values: []string{"'00:00:00'", "'12:30:45.5'", "'-12:30:45.5'", "'838:59:59'", "'-00:00:00.5'"},
			tries: []string{"'00:00:00'", "'12:30:45.5'", "'12:30:45.500'", "'-12:30:45.500'", "'838:59:59'", "time '12:30:45.5'", "'12:30'", "123045", "'-00:00:00.5'"}},
		text("utf8mb4", "utf8mb4_bin", widest), text("utf8mb4", "utf8mb4_0900_bin", widest), text("utf8mb4", "utf8mb4_0900_ai_ci", widest),
		text("utf8mb4", "utf8mb4_general_ci", widest), text("utf8mb4", "utf8mb4_unicode_ci", widest),
		text("utf8mb3", "utf8mb3_general_ci", wide), text("utf8mb3", "utf8mb3_bin", wide), text("utf8mb3", "utf8mb3_unicode_ci", wide),
		text("latin1", "latin1_swedish_ci", words), text("latin1", "latin1_general_ci", words), text("latin1", "latin1_bin", words),
		text("ascii", "ascii_general_ci", words[:9]), text("ascii", "ascii_bin", words[:9]),
		{def: "varbinary(20)", column: event.Column{Name: "vb", Type: event.VarBinary}, value: func(s string) (any, error) { return []byte(s), nil },
			values: []string{"''", "'a'", "'a '", "'A'", "x'00'", "x'61'", "x'FF'"}, tries: []string{"''", "'a'", "'a '", "x'00'", "x'61'", "x'FF00'", "1"}},
		{def: "enum('new','Old','x,y','')", column: event.Column{Name: "en", Type: event.Enum, Charset: "utf8mb4", Collation: "utf8mb4_0900_ai_ci"}, value: asString,
			values: []string{"'new'", "'Old'", "'x,y'", "0"}, tries: []string{"'new'", "'NEW'", "'old'", "'x,y'", "''", "1", "'unknown'", "'1'", "'néw'"}},
		{def: "set('a','b','C')", column: event.Column{Name: "se", Type: event.Set, Charset: "utf8mb4", Collation: "utf8mb4_0900_ai_ci"}, value: asString,
			values: []string{"''", "'a'", "'a,b'", "'a,b,C'"}, tries: []string{"''", "'a'", "'A,b'", "'b,a'", "'a,b,c'", "1", "'unknown'"}},
	}
}

// TestWhereLikeMySQL makes random conditions and compares which rows match with what the server selects. A condition that is
// refused says nothing; one that is accepted must select the same rows.
func TestWhereLikeMySQL(t *testing.T) {
	conn := startMappingMySQL(t)
	columns := testColumns()
	random := rand.New(rand.NewPCG(1, uint64(*whereSeed)))
	table := &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Columns: []event.Column{{Name: "id", Type: event.Int}}, Key: []int{0}}
	defs, queries := []string{"id int primary key"}, []string{"id"}
	for _, c := range columns {
		defs = append(defs, "`"+c.column.Name+"` "+c.def)
		table.Columns = append(table.Columns, c.column)
		if c.query == "" {
			c.query = "`" + c.column.Name + "`"
		}
		queries = append(queries, c.query)
	}
	run(t, conn, "create table t ("+strings.Join(defs, ", ")+")")
	for id := range 200 {
		values := []string{strconv.Itoa(id)}
		for _, c := range columns {
			value := "NULL"
			if random.IntN(8) > 0 {
				value = c.values[random.IntN(len(c.values))]
			}
			values = append(values, value)
		}
		run(t, conn, "insert into t values ("+strings.Join(values, ", ")+")")
	}
	var rows []event.Row
	for _, texts := range rowsOf(t, conn, "select "+strings.Join(queries, ", ")+" from t order by id") {
		row := event.Row{Table: table, Op: event.Insert, After: make([]any, len(texts))}
		id, _ := strconv.Atoi(texts[0])
		row.After[0] = int32(id)
		for i, c := range columns {
			if texts[i+1] == "NULL" {
				continue
			}
			var err error
			if row.After[i+1], err = c.value(texts[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, row)
	}

	accepted, wrong := map[string]int{}, 0
	for range *whereTries {
		column := columns[random.IntN(len(columns))]
		where := randomCondition(random, columns, column)
		if random.IntN(5) == 0 {
			other := columns[random.IntN(len(columns))]
			where = fmt.Sprintf("%s %s (%s)", where, []string{"and", "or", "and not"}[random.IntN(3)], randomCondition(random, columns, other))
		}
		got, err := matching(where, rows)
		if err != nil {
			continue
		}
		accepted[column.column.Name]++
		var want []string
		for _, row := range rowsOf(t, conn, "select id from t where "+where+" order by id") {
			want = append(want, row[0])
		}
		if !slices.Equal(got, want) {
			if wrong++; wrong <= 25 {
				t.Errorf("where %s:\n got %v\nwant %v", where, got, want)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d conditions are wrong", wrong)
	}
	for _, c := range columns {
		if accepted[c.column.Name] < *whereTries/len(columns)/10 {
			t.Errorf("%s: only %d conditions were accepted", c.column.Name, accepted[c.column.Name])
		}
	}
}

var (
	whereSeed  = flag.Int("where-seed", 1, "seed of the random conditions")
	whereTries = flag.Int("where-tries", 4000, "number of random conditions")
)

func matching(where string, rows []event.Row) ([]string, error) {
	m, err := mapping.Compile("t", mapping.Config{SQL: "select id as _id from t where " + where, Index: "t"}, "shop")
	if err != nil {
		return nil, err
	}
	changes, err := m.Map(rows)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range changes {
		if c.Err != nil {
			return nil, c.Err
		}
		ids = append(ids, c.ID)
	}
	return ids, nil
}

func randomCondition(random *rand.Rand, columns []testColumn, c testColumn) string {
	name := "`" + c.column.Name + "`"
	try := func() string {
		if random.IntN(12) == 0 {
			return []string{"null", "1", "'1'", "'a'", "1.5", "'2024-02-29'"}[random.IntN(6)]
		}
		return c.tries[random.IntN(len(c.tries))]
	}
	not := []string{"", "not "}[random.IntN(2)]
	switch random.IntN(10) {
	case 0:
		var list []string
		for range 1 + random.IntN(4) {
			list = append(list, try())
		}
		return fmt.Sprintf("%s %sin (%s)", name, not, strings.Join(list, ", "))
	case 1:
		return fmt.Sprintf("%s %sbetween %s and %s", name, not, try(), try())
	case 2:
		return fmt.Sprintf("%s is %snull", name, not)
	case 3:
		if c.like {
			return fmt.Sprintf("%s %slike %s", name, not, randomPattern(random, c))
		}
		return []string{name, "not " + name, name + " is true", name + " is not false"}[random.IntN(4)]
	case 4:
		other := columns[random.IntN(len(columns))]
		return fmt.Sprintf("%s %s `%s`", name, []string{"=", "<", "<=>"}[random.IntN(3)], other.column.Name)
	case 5:
		return fmt.Sprintf("(%s %s %s) is %strue", name, []string{"=", "<", "<=>"}[random.IntN(3)], try(), not)
	}
	op := []string{"=", "<>", "!=", "<", "<=", ">", ">=", "<=>"}[random.IntN(8)]
	if random.IntN(4) == 0 {
		return fmt.Sprintf("%s %s %s", try(), op, name)
	}
	return fmt.Sprintf("%s %s %s", name, op, try())
}

// randomPattern puts wildcards into one of the column's values.
func randomPattern(random *rand.Rand, c testColumn) string {
	text := strings.Trim(c.values[random.IntN(len(c.values))], "'")
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range text {
		switch random.IntN(6) {
		case 0:
			b.WriteByte('_')
		case 1:
			b.WriteByte('%')
		case 2:
			b.WriteString("%")
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	if random.IntN(3) == 0 {
		b.WriteByte('%')
	}
	pattern := strings.TrimSuffix(b.String(), "\\") + "'"
	if random.IntN(6) == 0 {
		pattern += " escape '|'"
	}
	return pattern
}
