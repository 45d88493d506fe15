//go:build integration

package integration

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"canalgo/event"
	"canalgo/integration/component"
)

// loggedJSON compares the text of random JSON documents from the log with what SELECT prints of them (M13).
func loggedJSON(t *testing.T, db *component.MySQL) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const documents, columns = 3000, "SELECT id, j FROM json.t ORDER BY id"
	s := newSource(t, db, nil)
	exec(t, db, "DROP DATABASE IF EXISTS json", "CREATE DATABASE json", "CREATE TABLE json.t (id INT PRIMARY KEY, j JSON)")
	from := resolve(t, s, "current")
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Zero and impossible dates can only get in without the strict mode.
	if _, err := c.Execute("SET SESSION sql_mode = '', time_zone = '+05:30'"); err != nil {
		t.Fatal(err)
	}
	// What the server keeps of a time, date or number in JSON depends on how it got there: as an expression, or as a column.
	if _, err := c.Execute(`CREATE TEMPORARY TABLE json.typed (d DATE, t TIME(6), dt DATETIME(6), ts TIMESTAMP(6) NULL, y YEAR, n DECIMAL(65,30), f FLOAT, b BIT(64), bl BLOB, e ENUM('a','b'))`); err != nil {
		t.Fatal(err)
	}
	for _, values := range []string{"('0000-00-00', '00:00:00', '0000-00-00 00:00:00', NULL, 0, 0, 0, 0, '', 1)",
		"('2024-00-00', '-838:59:59', '2024-02-00 10:00:00.000001', '1970-01-02 00:00:00', 1901, -0.000000000000000000000000000001, 0.1, ~0, x'00ff', 2)",
		"('9999-12-31', '838:59:58.999999', '9999-12-31 23:59:59.999999', '2038-01-18 00:00:00.5', 2155, 99999999999999999999999999999999999.999999999999999999999999999999, 3e38, 1, REPEAT(x'ab', 100), 1)"} {
		if _, err := c.Execute("INSERT INTO json.typed VALUES " + values); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Execute("INSERT INTO json.t SELECT 1000000 + ROW_NUMBER() OVER (), JSON_OBJECT('d', d, 't', t, 'dt', dt, 'ts', ts, 'y', y, 'n', n, 'f', f, 'b', b, 'bl', bl, 'e', e) FROM json.typed"); err != nil {
		t.Fatal(err)
	}
	for id := 0; id < documents; {
		var rows []string
		for range 100 {
			rows = append(rows, fmt.Sprintf("(%d, %s)", id, randomJSON(r, 0)))
			id++
		}
		if _, err := c.Execute("INSERT INTO json.t VALUES " + strings.Join(rows, ", ")); err != nil {
			t.Fatalf("%v: %s", err, clipped(strings.Join(rows, ", ")))
		}
	}
	logged := map[string]any{}
	for _, row := range decode(t, read(t, s, from, resolve(t, s, "current"), inSchema("json"))) {
		logged[fmt.Sprint(row.After[0])] = row.After[1]
	}
	table, err := s.Describe(t.Context(), event.TableName{Schema: "json", Name: "t"})
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	err = s.Select(t.Context(), event.Position{}, columns, table.Columns, func(values []any) error {
		id := fmt.Sprint(values[0])
		if logged[id] != values[1] {
			t.Errorf("document %s: the log gives %s, SELECT %s", id, clipped(logged[id]), clipped(values[1]))
		}
		compared++
		return nil
	})
	if err != nil || compared != documents+3 {
		t.Errorf("%d of %d documents compared: %v", compared, documents+3, err)
	}
}

// TestPartialJSON changes random documents at random paths under binlog_row_value_options=PARTIAL_JSON, which has the log hold the changes
// instead of the documents, and wants of each update the documents that a copy of the row, written behind it as a whole, has.
func TestPartialJSON(t *testing.T) {
	db := ownServer(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	const documents, updates = 60, 600
	s := newSource(t, db, nil)
	exec(t, db, "CREATE DATABASE parts", "CREATE TABLE parts.t (id INT PRIMARY KEY, a JSON, n INT NOT NULL DEFAULT 0, b JSON, text TEXT, c JSON NOT NULL)",
		"CREATE TABLE parts.copy (turn INT PRIMARY KEY, id INT, a JSON, b JSON, c JSON)")
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	do := func(statement string) {
		t.Helper()
		if _, err := c.Execute(statement); err != nil {
			t.Fatalf("%v: %.500s", err, statement)
		}
	}
	do("SET SESSION sql_mode = '', time_zone = '+05:30', binlog_row_value_options = PARTIAL_JSON")
	for id := range documents {
		do(fmt.Sprintf("INSERT INTO parts.t (id, a, b, text, c) VALUES (%d, %s, %s, 'x', %s)", id, nestedJSON(r, 0), []string{"NULL", nestedJSON(r, 0)}[min(id%9, 1)], nestedJSON(r, 0)))
	}
	from := resolve(t, s, "current")
	for turn := range updates {
		do("SET SESSION binlog_transaction_compression = " + []string{"OFF", "ON"}[turn/100%2])
		var sets []string
		for _, column := range []string{"a", "b", "c"} {
			if r.IntN(2) == 0 {
				sets = append(sets, column+" = "+changeOfJSON(r, column))
			}
		}
		first := r.IntN(documents)
		// Some rows at once, of which each comes with its own changes.
		where := fmt.Sprintf(" WHERE id BETWEEN %d AND %d", first, first+r.IntN(2)*r.IntN(4))
		do("BEGIN")
		do("UPDATE parts.t SET " + strings.Join(append(sets, "n = n + 1"), ", ") + where)
		do(fmt.Sprintf("INSERT INTO parts.copy SELECT %d + id, id, a, b, c FROM parts.t", turn*10-first) + where)
		do("COMMIT")
	}
	batches := read(t, s, from, resolve(t, s, "current"), inSchema("parts"))
	partial := 0
	for _, b := range batches {
		for _, e := range b.Events {
			const partialUpdate = 39
			if e.Kind == event.Rows && e.Raw[4] == partialUpdate {
				partial++
			}
		}
	}
	latest := map[any][]any{}
	rows, wrong := 0, 0
	for _, row := range decode(t, batches) {
		if row.Table.Name.Name == "t" {
			if was := latest[row.After[0]]; was != nil && fmt.Sprint(row.Before) != fmt.Sprint(was) {
				t.Errorf("row %v was %v, before the next change it is %v", row.After[0], was, row.Before)
			}
			latest[row.After[0]] = row.After
			continue
		}
		rows++
		got := latest[row.After[1]]
		for i, column := range map[int]int{2: 1, 3: 3, 4: 5} { // of the copy, of the table
			if got[column] != row.After[i] && wrong < 10 {
				wrong++
				t.Errorf("turn %v, row %v, column %d:\n%s\nthe row has\n%s", row.After[0], row.After[1], i, clipped(got[column]), clipped(row.After[i]))
			}
		}
	}
	// Without the document before, nobody but the source can tell the new one.
	from = resolve(t, s, "current")
	do("SET SESSION binlog_row_image = MINIMAL, binlog_transaction_compression = OFF")
	do(`UPDATE parts.t SET a = CAST('{"k": 1, "long": "so that the change is shorter than the document"}' AS JSON) WHERE id = 1`)
	do("UPDATE parts.t SET a = JSON_SET(a, '$.k', 2) WHERE id = 1")
	lacking := decode(t, read(t, s, from, resolve(t, s, "current"), inSchema("parts")))
	if len(lacking) != 2 || !lacking[1].Partial || lacking[1].After[1] != event.Absent {
		t.Errorf("changes of a document that the log does not have: %+v", lacking)
	}
	if partial < updates/3 || rows < updates {
		t.Errorf("%d events with changes of documents, %d rows: the test says nothing", partial, rows)
	}
	t.Logf("%d rows, %d events with changes of documents", rows, partial)
}

// nestedJSON returns an SQL expression of a document whose paths are likely to be met by changeOfJSON.
func nestedJSON(r *rand.Rand, depth int) string {
	if depth > 3 || depth > 0 && r.IntN(3) == 0 {
		return randomJSON(r, 4)
	}
	var parts []string
	object := r.IntN(3) > 0
	for i := range 1 + r.IntN(5) {
		value := nestedJSON(r, depth+1)
		if object {
			value = "'" + jsonNames[(i+r.IntN(3))%len(jsonNames)][0] + "', " + value
		}
		parts = append(parts, value)
	}
	if r.IntN(8) == 0 { // room for changes in place, and the large format
		parts = append(parts, map[bool]string{true: "'filler', ", false: ""}[object]+fmt.Sprintf("REPEAT('x', %d)", []int{50, 500, 70000}[r.IntN(3)]))
	}
	return map[bool]string{true: "JSON_OBJECT(", false: "JSON_ARRAY("}[object] + strings.Join(parts, ", ") + ")"
}

// jsonNames are names of members as they stand in an SQL text, plainly and quoted in a path.
var jsonNames = [][2]string{{"a", "a"}, {"b", "b"}, {"key", "key"}, {"ä", "ä"}, {"two words", "two words"}, {`qu"ote`, `qu\\"ote`}, {"0", "0"},
	{"longer name", "longer name"}, {"", ""}, {`back\\slash`, `back\\\\slash`}, {"$", "$"}}

// changeOfJSON returns an SQL expression of a column's document with changes at random paths.
func changeOfJSON(r *rand.Rand, column string) string {
	path := func() string {
		var b strings.Builder
		b.WriteString("'$")
		for range 1 + r.IntN(3) {
			if r.IntN(3) > 0 {
				b.WriteString(`."` + jsonNames[r.IntN(len(jsonNames))][1] + `"`)
				continue
			}
			b.WriteString([]string{"[0]", "[1]", "[2]", "[7]", "[last]", "[last-1]"}[r.IntN(6)])
		}
		return b.String() + "'"
	}
	expression := column
	for range 1 + r.IntN(3) {
		switch kind := r.IntN(5); kind {
		case 0, 1:
			expression = "JSON_REMOVE(" + expression + ", " + path() + ")"
		default:
			var pairs []string
			for range 1 + r.IntN(2) {
				value := randomJSON(r, 4)
				switch r.IntN(6) {
				case 0:
					value = nestedJSON(r, 2)
				case 1:
					value = fmt.Sprintf("REPEAT('y', %d)", r.IntN(300))
				}
				pairs = append(pairs, path()+", "+value)
			}
			expression = []string{"JSON_SET(", "JSON_SET(", "JSON_REPLACE("}[kind-2] + expression + ", " + strings.Join(pairs, ", ") + ")"
		}
	}
	return expression
}

// randomJSON returns an SQL expression of a JSON value.
func randomJSON(r *rand.Rand, depth int) string {
	if kind := r.IntN(4); depth == 0 || depth < 4 && kind < 2 {
		var parts []string
		for range r.IntN(6) {
			value := randomJSON(r, depth+1)
			if kind%2 == 0 {
				value = randomText(r) + ", " + value
			}
			parts = append(parts, value)
		}
		if r.IntN(200) == 0 { // a document of the large format
			parts = append(parts, strings.Repeat("'wide', ", 1-kind%2)+"REPEAT('x', 70000)")
		}
		return []string{"JSON_OBJECT(", "JSON_ARRAY("}[kind%2] + strings.Join(parts, ", ") + ")"
	}
	switch r.IntN(14) {
	case 0:
		return []string{"NULL", "TRUE", "FALSE", "CAST('null' AS JSON)"}[r.IntN(4)]
	case 1:
		return fmt.Sprint(int64(r.Uint64()) >> r.IntN(64))
	case 2:
		return fmt.Sprint(r.Uint64())
	case 3: // any double; what is none is left out
		for {
			if f := math.Float64frombits(r.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
				return fmt.Sprintf("%.17e", f)
			}
		}
	case 4: // of few digits, near where the exponent begins to be printed
		return fmt.Sprintf("%s%de%d", []string{"", "-"}[r.IntN(2)], r.IntN(100000), r.IntN(44)-22)
	case 5:
		return fmt.Sprintf("%de0 / %d", r.Int64N(1e15), 1+r.IntN(1000))
	case 6:
		return fmt.Sprintf("CAST(%d.%d AS DECIMAL(%d,%d))", r.Uint64()>>r.IntN(64), r.Uint32(), 31+r.IntN(34), r.IntN(31))
	case 7:
		return fmt.Sprintf("CAST('%04d-%02d-%02d' AS DATE)", 1+r.IntN(9999), 1+r.IntN(12), 1+r.IntN(28))
	case 8:
		return fmt.Sprintf("CAST('%s%d:%02d:%02d.%06d' AS TIME(%d))", []string{"", "-"}[r.IntN(2)], r.IntN(839), r.IntN(59), r.IntN(59), r.IntN(1e6), r.IntN(7))
	case 9:
		return fmt.Sprintf("CAST('%04d-%02d-%02d %02d:%02d:%02d.%06d' AS DATETIME(%d))", 1+r.IntN(9998), 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(59), r.IntN(1e6), r.IntN(7))
	case 10:
		return []string{"CAST('00:00:00' AS TIME)", "CAST('0000-00-00' AS DATE)", "CAST('0000-00-00 00:00:00' AS DATETIME(6))", "CAST('2024-00-00' AS DATE)"}[r.IntN(4)]
	case 11:
		return fmt.Sprintf("REPEAT(x'%02x%02x', %d)", r.IntN(256), r.IntN(256), r.IntN(200))
	case 12:
		return fmt.Sprintf("CAST(%d AS YEAR)", 1901+r.IntN(200))
	}
	return randomText(r)
}

// randomText returns an SQL string, often of what JSON escapes.
func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString([]string{"a", "key", `\\`, `\"`, "/", `\n`, `\t`, "\x01", "\x1f", "\x7f", "<&>", "ä", "中", "😀", "\u2028", `''`}[r.IntN(16)])
	}
	return "'" + b.String() + "'"
}
