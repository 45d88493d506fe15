package mapping_test

import (
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// TestLinksOfOtherKinds: a row's value is written as what the join sees that compares it with a column of another type, character set or collation.
func TestLinksOfOtherKinds(t *testing.T) {
	text := func(set, collation string) event.Column {
		return event.Column{Type: event.Char, Charset: set, Collation: collation}
	}
	label := event.Column{Type: event.Enum, Charset: "utf8mb4", Collation: "utf8mb4_general_ci", Labels: []string{"a", "b"}}
	flags := label
	flags.Type = event.Set
	broken := label
	broken.Labels = []string{"a", "\xff\x80"}
	general, binary, latin1 := text("utf8mb4", "utf8mb4_general_ci"), text("utf8mb4", "utf8mb4_bin"), text("latin1", "latin1_swedish_ci")
	for _, tt := range []struct {
		name     string
		column   event.Column
		value    any
		opposite event.Column
		want     string
	}{
		{"label and text", label, "b", general, "_utf8mb4 X'62'"},
		{"label and label", label, "b", label, "_utf8mb4 X'62'"},
		{"label and number", label, "b", event.Column{Type: event.Int}, "2"},
		{"label that is no text", broken, "\xff\x80", general, "2"},
		{"labels and text", flags, "a,b", general, "_utf8mb4 X'612c62'"},
		{"labels and number", flags, "a,b", event.Column{Type: event.Decimal}, "3"},
		{"text and text", general, "ü", general, "_utf8mb4 X'c3bc'"},
		{"wider text", general, "ü", latin1, "CONVERT(_utf8mb4 X'c3bc' USING utf8mb4) COLLATE utf8mb4_general_ci"},
		{"narrower text", latin1, "ü", general, "_utf8mb4 X'c3bc'"},
		{"exact text", binary, "ü", general, "CONVERT(_utf8mb4 X'c3bc' USING utf8mb4) COLLATE utf8mb4_bin"},
		{"text and exact text", general, "ü", binary, "_utf8mb4 X'c3bc'"},
		{"text and bytes", latin1, "ü", event.Column{Type: event.VarBinary}, "CONVERT(_utf8mb4 X'c3bc' USING latin1)"},
		{"date and text", event.Column{Type: event.Date}, "2024-01-05", general, "CAST('2024-01-05' AS DATE)"},
		{"date and date", event.Column{Type: event.Date}, "2024-01-05", event.Column{Type: event.Date}, "'2024-01-05'"},
		{"moment and text", event.Column{Type: event.DateTime}, "2024-01-05 10:00:00", general, "CAST('2024-01-05 10:00:00' AS DATETIME(6))"},
		{"time and text", event.Column{Type: event.Time, Length: 3}, "01:02:03.000", general, "CAST('01:02:03.000' AS TIME(3))"},
	} {
		table := func(name string, c event.Column) *event.Table {
			c.Name = "k"
			return &event.Table{Name: event.TableName{Schema: "shop", Name: name}, Columns: []event.Column{{Name: "id", Type: event.Int}, c}}
		}
		r := compileRule(t, "select o.id as _id, s.k from orders o left join setting s on s.k = o.k")
		orders, setting := table("orders", tt.opposite), table("setting", tt.column)
		if err := r.CheckKeys(orders, setting); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Result(orders, []event.Column{{Name: "k", Type: event.Char}, {Name: "key id", Type: event.Int}}); err != nil {
			t.Fatal(err)
		}
		var touched mapping.Touched
		if _, err := r.Touch(&event.Row{Table: setting, Op: event.Insert, After: []any{int32(1), tt.value}}, &touched); err != nil {
			t.Fatal(err)
		}
		if got := touched.Links[1]; len(got) != 1 || got[0][0] != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, got, tt.want)
		}
	}
}
