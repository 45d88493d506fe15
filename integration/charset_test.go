//go:build integration

package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"canalgo/charset"
	"canalgo/event"
	"canalgo/integration/component"
	"canalgo/packed"
	"canalgo/snapshot"
)

var updateCharsets = flag.Bool("update-charsets", false, "write charset/tables.bin from the server")

// TestCharacterSets asks the server for every code of every character set. With -update-charsets it writes the tables first.
func TestCharacterSets(t *testing.T) {
	c := codeServer(t, ownServer(t), "cte_max_recursion_depth")
	if *updateCharsets {
		writeCharsets(t, c)
		t.Fatal("tables.bin is written: run the test again without -update-charsets")
	}
	if known := serverCharsets(t, c); !slices.Equal(charset.Names(), known) {
		t.Errorf("got the character sets %v, the server has %v", charset.Names(), known)
	}
	sameCodes(t, c, charset.Names())
}

// TestMariaDBCharacterSets: its tables are the same, for the sets that it has.
func TestMariaDBCharacterSets(t *testing.T) {
	c := codeServer(t, ownMariaDB(t), "max_recursive_iterations")
	known := serverCharsets(t, c)
	sameCodes(t, c, slices.DeleteFunc(charset.Tabled(), func(name string) bool { return !slices.Contains(known, name) }))
}

// serverCharsets returns the names of the character sets that are text, sorted.
func serverCharsets(t *testing.T, c *client.Conn) []string {
	t.Helper()
	r, err := c.Execute("SELECT character_set_name FROM information_schema.character_sets WHERE character_set_name <> 'binary' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(r.Values))
	for i := range names {
		names[i], _ = r.GetString(i, 0)
	}
	return names
}

func sameCodes(t *testing.T, c *client.Conn, names []string) {
	t.Helper()
	for _, name := range names {
		if name == "utf8mb4" || name == "utf8mb3" {
			continue // as they stand
		}
		t.Run(name, func(t *testing.T) {
			set, wrong, characters := charset.Lookup(name), 0, 0
			codes(t, c, name, func(code []byte, want string, isText, same bool) {
				got, ok := set.Text(code)
				if isText {
					characters++
				}
				if ok != isText || ok && (got != want || set.OneCode(got) && !same) {
					if wrong++; wrong < 10 {
						t.Errorf("%x: got %q %t, the server has %q %t, and makes the same code of it: %t", code, got, ok, want, isText, same)
					}
				}
			})
			if wrong > 0 || characters < 127 {
				t.Errorf("%d codes are wrong, %d are text", wrong, characters)
			}
		})
	}
}

// notText are bytes that the server takes for a set and that are none of its characters.
var notText = map[string]string{"big5": "a3c0", "cp1250": "81", "cp1251": "98", "cp1256": "8a", "cp1257": "81", "cp932": "81ad", "dec8": "a4", "eucjpms": "a9a1", "euckr": "c9a1",
	"gb2312": "a2a1", "gbk": "a2ab", "geostd8": "ff", "greek": "ae", "hebrew": "a1", "hp8": "ff", "sjis": "81ad", "swe7": "80", "tis620": "db", "ujis": "a9a1"}

// loggedCharsets: columns of every character set have the same texts in the log and by SELECT, which are those that the server converts to
// utf8mb4, and bytes that are not text of their set are the same bytes in both.
func loggedCharsets(t *testing.T, db *component.MySQL) {
	s := newSource(t, db, nil)
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run := func(format string, args ...any) {
		t.Helper()
		if _, err := c.Execute(fmt.Sprintf(format, args...)); err != nil {
			t.Fatalf(format+": %v", append(args, err)...)
		}
	}
	run("SET NAMES utf8mb4")
	run("SET sql_mode = ''")
	run("CREATE DATABASE sets")
	from := resolve(t, s, "current")
	const sample = "plain Äé€ łő ąė Яж Ї αθ א ئ ฿ก Ա ა 中文 、かなｱ 한글 € ≒ 😀 \\\\ ~ "
	for _, set := range charset.Names() {
		run("CREATE TABLE sets.%s (k VARCHAR(60) PRIMARY KEY, c CHAR(60), v VARCHAR(400), t TEXT, m LONGTEXT, e ENUM('plain', 'Ä', '中', 'Я', 'θ', 'あ'), s SET('plain', 'é', '文', 'ж', 'α', 'か')) CHARSET %[1]s", set)
		run("INSERT INTO sets.%s VALUES ('1', '%s', '%[2]s', '%[2]s', REPEAT('%[2]s', 99), 'plain', 'plain'), ('2', '', '', '', '', 2, 2), ('%[2]s', 'x  ', 'x  ', NULL, NULL, 6, 63), ('3', NULL, NULL, NULL, NULL, 3, 5)", set, sample)
		if raw := notText[set]; raw != "" {
			run("INSERT INTO sets.%s VALUES ('4', x'%s', x'%[2]s', x'41%[2]s', x'%[2]s', 0, 0), (x'%[2]s', NULL, NULL, NULL, NULL, 1, 1)", set, raw)
		}
	}
	rows := map[string][]event.Row{}
	for _, row := range decode(t, read(t, s, from, resolve(t, s, "current"), inSchema("sets"))) {
		rows[row.Table.Name.Name] = append(rows[row.Table.Name.Name], row)
	}
	for _, set := range charset.Names() {
		name := event.TableName{Schema: "sets", Name: set}
		described, err := s.Describe(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		undeclared(described)
		logged := map[string][]any{}
		for _, row := range rows[set] {
			if !reflect.DeepEqual(row.Table, described) {
				t.Fatalf("decoded %+v, described %+v", row.Table, described)
			}
			logged[fmt.Sprintf("%q", row.After[0])] = row.After
		}
		selected, bare := 0, 0
		for _, row := range rows[set] {
			key, err := snapshot.Key(described, row.After)
			if err != nil { // a character of two codes
				if text, _ := row.After[0].(string); charset.Lookup(set).OneCode(text) {
					t.Error(err)
				}
				continue
			}
			found, err := c.Execute("SELECT COUNT(*) FROM sets." + set + " WHERE k = " + key[0])
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := found.GetInt(0, 0); n != 1 {
				t.Errorf("%s: %d rows have the key %s, which is that of one", set, n, key[0])
			}
		}
		err = s.Select(t.Context(), event.Position{}, "SELECT k, c, v, t, m, e, s FROM sets."+set, described.Columns, func(values []any) error {
			selected++
			for i, v := range values {
				if got := logged[fmt.Sprintf("%q", values[0])]; got == nil || !reflect.DeepEqual(got[i], v) {
					t.Errorf("%s, row %q, column %s: SELECT gives %s, the log %q", set, values[0], described.Columns[i].Name, clipped(v), got)
				}
				if _, ok := v.([]byte); ok {
					bare++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if notText[set] != "" {
			want = 5
		}
		if selected != len(rows[set]) || bare != want {
			t.Errorf("%s: %d rows by SELECT, %d in the log; %d values are no text, want %d", set, selected, len(rows[set]), bare, want)
		}
		r, err := c.Execute("SELECT k, c, v, t, m, e, s FROM sets." + set + " WHERE c IS NULL OR HEX(c) <> '" + strings.ToUpper(notText[set]) + "'")
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Values {
			key, _ := r.GetString(i, 0)
			for j := 1; j < 7 && logged[fmt.Sprintf("%q", key)] != nil; j++ {
				text, _ := r.GetString(i, j)
				isNull, _ := r.IsNull(i, j)
				if got := logged[fmt.Sprintf("%q", key)][j]; isNull != (got == nil) || !isNull && got != text {
					t.Errorf("%s, row %q, column %s: got %q, the server has %q", set, key, described.Columns[j].Name, got, text)
				}
			}
		}
	}
}

// codeServer returns a connection with a table of the numbers from 0 to 65535.
func codeServer(t *testing.T, db *component.MySQL, recursions string) *client.Conn {
	t.Helper()
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for _, s := range []string{"SET NAMES utf8mb4", "CREATE DATABASE codes", "USE codes", "SET " + recursions + " = 65537", "CREATE TABLE n (n INT PRIMARY KEY)",
		"INSERT INTO n WITH RECURSIVE r (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r WHERE n < 65535) SELECT n FROM r"} {
		if _, err := c.Execute(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return c
}

// codes calls each with every sequence of bytes that can be one character of a set, and some that cannot: what the server converts it
// to, whether it stands for a character, and whether the server converts it back to the same bytes.
func codes(t *testing.T, c *client.Conn, set string, each func(code []byte, text string, isText, same bool)) {
	t.Helper()
	number := func(bytes int) string { return fmt.Sprintf("SELECT UNHEX(LPAD(HEX(n), %d, '0')) b FROM n", 2*bytes) }
	queries := []string{number(1) + " WHERE n < 256"}
	allUnicode := set == "gb18030" || strings.HasPrefix(set, "ut") || set == "ucs2"
	switch set {
	case "ucs2", "utf16", "utf16le":
		// Every unit, and every pair of surrogates: D800 to DFFF each, so those in the wrong order too.
		queries = []string{number(2), "SELECT CONCAT(h.b, l.b) b FROM (" + number(2) + " WHERE n >> 11 = 27) h, (" + number(2) + " WHERE n >> 11 = 27) l"}
		if set == "utf16le" {
			queries[1] = strings.ReplaceAll(queries[1], "LPAD(HEX(n), 4, '0')", "CONCAT(RIGHT(HEX(n), 2), LEFT(HEX(n), 2))")
		}
	case "utf32":
		queries = []string{"SELECT CONCAT(h.b, l.b) b FROM (" + number(2) + " WHERE n <= 17) h, (" + number(2) + ") l"}
	case "ujis", "eucjpms":
		queries = append(queries, "SELECT CONCAT(x'8f', b) b FROM ("+number(2)+") x")
	case "gb18030":
		pairs := number(2) + " WHERE n >= 0x8130 AND n < 0xff00 AND n & 0xff BETWEEN 0x30 AND 0x39"
		queries = append(queries, "SELECT CONCAT(h.b, l.b) b FROM ("+pairs+") h, ("+pairs+") l")
	}
	if len(queries) > 1 || slices.Contains([]string{"gb2312", "gbk", "big5", "euckr", "sjis", "cp932"}, set) {
		queries = append(queries, number(2)+" WHERE n > 255")
	}
	for _, codes := range queries {
		// In hexadecimal, because the server gives b itself out in the set that it was converted to.
		query := fmt.Sprintf("SELECT HEX(b), CONVERT(CONVERT(b USING %s) USING utf8mb4), HEX(CONVERT(CONVERT(CONVERT(b USING %[1]s) USING utf8mb4) USING %[1]s)), CHAR_LENGTH(CONVERT(b USING %[1]s)) "+
			"FROM (%s) codes", set, codes)
		var r mysql.Result
		if err := c.ExecuteSelectStreaming(query, &r, func(row []mysql.FieldValue) error {
			code, err := hex.DecodeString(string(row[0].AsString()))
			if err != nil {
				return err
			}
			text := string(row[1].AsString())
			// It converts what stands for nothing to a question mark, to U+FFFD or, where eucjpms is cut short, to nothing.
			isText := row[1].Type != mysql.FieldValueTypeNull && int64(utf8.RuneCountInString(text)) == row[3].AsInt64() &&
				(allUnicode || !strings.ContainsRune(text, '\ufffd')) && strings.Count(text, "?") <= bytes.Count(code, []byte("?"))
			each(code, text, isText, bytes.Equal(row[0].AsString(), row[2].AsString()))
			return nil
		}, nil); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

// writeCharsets writes tables.bin in the form that charset/table.go describes.
func writeCharsets(t *testing.T, c *client.Conn) {
	t.Helper()
	var data []byte
	for _, name := range charset.Tabled() {
		characters := map[int]rune{}
		codes(t, c, name, func(code []byte, text string, isText, _ bool) {
			if runes := []rune(text); isText && len(runes) == 1 {
				characters[charset.Number(code)] = runes[0]
			}
		})
		var numbers []int
		for n := range characters {
			numbers = append(numbers, n)
		}
		slices.Sort(numbers)
		var runs []byte
		count, number, character := 0, 0, rune(0)
		for i := 0; i < len(numbers); count++ {
			first := i
			for i++; i < len(numbers) && numbers[i] == numbers[i-1]+1 && characters[numbers[i]] == characters[numbers[i-1]]+1; i++ {
			}
			runs = binary.AppendUvarint(runs, uint64(numbers[first]-number))
			runs = binary.AppendVarint(runs, int64(characters[numbers[first]]-character))
			runs = binary.AppendUvarint(runs, uint64(i-first-1))
			number, character = numbers[i-1]+1, characters[numbers[i-1]]+1
		}
		data = append(binary.AppendUvarint(data, uint64(count)), runs...)
		t.Logf("%s: %d characters in %d runs", name, len(numbers), count)
	}
	if err := packed.WriteFile("../charset/tables.bin", data); err != nil {
		t.Fatal(err)
	}
}
