package snapshot

import (
	"fmt"
	"strings"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sqltext"
)

// A query builds the SELECTs of the rows that documents are made of. A key holds a literal for each key column; nil is the start, or
// the end.
type query interface {
	// next returns the query for at most limit rows behind key, or of their keys alone.
	next(key []string, limit int) string
	// upTo returns the query for all rows behind key up to last, in their order.
	upTo(key, last []string) string
	// exactly returns the query for the row with that key.
	exactly(key []string) string
}

// A ruleQuery asks for the rows that the server renders. How many there are for some keys is not known before.
type ruleQuery struct {
	*mapping.Rule
	part Part
}

func (q ruleQuery) next(key []string, limit int) string { return q.Keys(key, limit, q.part.Where) }
func (q ruleQuery) upTo(key, last []string) string      { return q.Between(key, last, q.part.Where) }
func (q ruleQuery) exactly(key []string) string         { return q.Documents([][]string{key}) }

// A chunkQuery builds the SELECT for the next rows of a table in the order of its primary key.
type chunkQuery struct {
	table   *event.Table
	columns []int
	part    Part
	lock    bool // FOR SHARE: the server has no GTIDs to wait for
}

func (q chunkQuery) next(key []string, limit int) string {
	return q.between(key, nil) + fmt.Sprintf(" LIMIT %d", limit) + q.suffix()
}

// first returns the query for one row, which needs no key.
func (q chunkQuery) first() string {
	if len(q.table.Key) > 0 {
		return q.next(nil, 1)
	}
	return q.selectFrom() + " LIMIT 1"
}

func (q chunkQuery) upTo(key, last []string) string { return q.between(key, last) + q.suffix() }

func (q chunkQuery) between(key, last []string) string {
	var b strings.Builder
	b.WriteString(q.selectFrom())
	word := " WHERE "
	if q.part.Where != "" {
		b.WriteString(word + "(" + q.part.Where + ")")
		word = " AND "
	}
	if len(key) > 0 {
		b.WriteString(word + "(" + q.behind(key) + ")")
		word = " AND "
	}
	if len(last) > 0 {
		b.WriteString(word + "NOT (" + q.behind(last) + ")")
	}
	b.WriteString(" ORDER BY " + strings.Join(q.keyExprs(), ", "))
	return b.String()
}

// behind is the condition that a row's key is greater.
func (q chunkQuery) behind(key []string) string { return sqltext.Behind(q.keyExprs(), key) }

func (q chunkQuery) keyExprs() []string {
	exprs := make([]string, len(q.table.Key))
	for i := range exprs {
		exprs[i] = q.keyExpr(i)
	}
	return exprs
}

func (q chunkQuery) exactly(key []string) string {
	var b strings.Builder
	b.WriteString(q.selectFrom())
	for i := range q.table.Key {
		word := " AND "
		if i == 0 {
			word = " WHERE "
		}
		fmt.Fprintf(&b, "%s%s = %s", word, q.keyExpr(i), key[i])
	}
	return b.String() + q.suffix()
}

func (q chunkQuery) selectFrom() string {
	names := make([]string, len(q.columns))
	for i, c := range q.columns {
		names[i] = sqltext.Quote(q.table.Columns[c].Name)
	}
	from := "SELECT " + strings.Join(names, ", ") + " FROM " + sqltext.Table(q.table.Name)
	if q.part.Where != "" {
		from += " AS " + sqltext.Quote(q.part.Called)
	}
	return from
}

func (q chunkQuery) suffix() string {
	if q.lock {
		return " FOR SHARE"
	}
	return ""
}

// keyExpr is how the i-th key column is compared: an ENUM or SET is ordered by its number, not its label.
func (q chunkQuery) keyExpr(i int) string {
	c := q.table.Columns[q.table.Key[i]]
	if c.Type == event.Enum || c.Type == event.Set {
		return sqltext.Quote(c.Name) + "+0"
	}
	return sqltext.Quote(c.Name)
}

// KeyTable is a table of the columns of another one's key, in the key's order.
func KeyTable(t *event.Table) *event.Table {
	keys := &event.Table{Name: t.Name}
	for i, k := range t.Key {
		keys.Columns, keys.Key = append(keys.Columns, t.Columns[k]), append(keys.Key, i)
	}
	return keys
}

// Key returns the literals of a row's primary key; values stand in the order of t.Columns.
func Key(t *event.Table, values []any) ([]string, error) {
	key := make([]string, len(t.Key))
	for i, k := range t.Key {
		lit, err := sqltext.Literal(t.Columns[k], values[k])
		if err != nil {
			return nil, fmt.Errorf("key of %s: %w", t.Name, err)
		}
		key[i] = lit
	}
	return key, nil
}
