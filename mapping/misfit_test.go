package mapping_test

import (
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

func TestMisfits(t *testing.T) {
	table := &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Key: []int{0}, Columns: []event.Column{
		{Name: "id", Type: event.BigInt}, {Name: "u", Type: event.BigInt, Unsigned: true}, {Name: "d", Type: event.Decimal, Length: 20, Scale: 2},
		{Name: "s", Type: event.Char, Charset: "utf8mb4", Collation: "utf8mb4_bin"}, {Name: "at", Type: event.DateTime}, {Name: "j", Type: event.JSON}, {Name: "f", Type: event.Double}}}
	m := compile(t, mapping.Config{SQL: "select id _id, id as n, u, d, s, at, j, f, s as `o.p` from t"})
	for _, c := range []struct {
		name, properties string
		want             []string // FIELD always or FIELD some, and a part of the reason
	}{
		{"fits", `"n":{"type":"long"},"u":{"type":"unsigned_long"},"d":{"type":"double"},"s":{"type":"keyword"},"at":{"type":"date"},"j":{"type":"object"},"f":{"type":"float"},"o":{"properties":{"p":{"type":"text"}}}`, nil},
		{"numbers too large", `"n":{"type":"integer"},"u":{"type":"long"},"d":{"type":"long"}`, []string{"n some -2147483648 to 2147483647 would", "u some 9223372036854775807 would be refused; column u is bigint unsigned"}},
		{"not if malformed ones are ignored", `"u":{"type":"long","ignore_malformed":true},"s":{"type":"long","ignore_malformed":"true"}`, nil},
		{"text", `"s":{"type":"long"},"at":{"type":"integer"},"o":{"properties":{"p":{"type":"date"}}}`, []string{"s some text that is no number", "at always text that is no number", "o.p some text that is no date"}},
		{"dates", `"at":{"type":"date","format":"epoch_millis"}`, []string{`at always of the format "epoch_millis"`}},
		{"objects", `"j":{"type":"keyword"},"s":{"properties":{"x":{"type":"long"}}},"n":{"type":"boolean"}`, []string{"n always boolean", "s always takes only objects", "j some takes no objects"}},
		{"not looked at", `"s":{"type":"object","enabled":false}`, nil},
	} {
		misfits, err := m.Misfits(table, []byte(`{"properties":{`+c.properties+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		check(t, c.name, misfits, c.want)
	}
	table.Columns = append(table.Columns, event.Column{Name: "z", Type: event.Timestamp})
	m = compile(t, mapping.Config{SQL: "select id _id, id as n, u, u as w, d, at, z from t", Fields: map[string]mapping.FieldConfig{
		"n": {Type: "byte", OnOverflow: "clip"}, "u": {OnOverflow: "null"}, "w": {OnOverflow: "string"}, "d": {Type: "long", OnOverflow: "string", Decimal: "string"}, "at": {OnInvalid: "string"}}})
	for _, c := range []struct {
		name, properties string
		want             []string
	}{
		{"what is clipped fits", `"n":{"type":"byte"},"u":{"type":"long"},"d":{"type":"keyword"},"at":{"type":"keyword"},"z":{"type":"date_nanos"}`, nil},
		{"what is text does not", `"u":{"type":"integer"},"w":{"type":"long"},"d":{"type":"integer"},"at":{"type":"date_nanos"}`, []string{"u some -2147483648 to", "w some numbers other than", "d some numbers other than", "at some dates of no calendar"}},
		{"what is ignored does", `"d":{"type":"long","ignore_malformed":true},"at":{"type":"date","ignore_malformed":true}`, nil},
	} {
		misfits, err := m.Misfits(table, []byte(`{"properties":{`+c.properties+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		check(t, c.name, misfits, c.want)
	}
	m = compile(t, mapping.Config{SQL: "select id _id, id as n, u, d, s, at, j, f, s as `o.p` from t"})
	misfits, err := m.Misfits(table, []byte(`{"properties":{"n":{"type":"short"},"at":{"type":"date_nanos"},"u":{"type":"long"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "settings", misfits, []string{"n some -32768 to 32767", "u some -9223372036854775808 to", "at some years before 1970"})
	for i, want := range []string{`type = "short" and on_overflow`, `type = "long" and on_overflow`, `type = "date_nanos" and on_overflow`} {
		if misfits[i].Settings != want {
			t.Errorf("settings: got %q, want %q", misfits[i].Settings, want)
		}
	}
	misfits, err = m.Misfits(table, []byte(`{"dynamic":"strict","properties":{"n":{"type":"long"},"u":{"type":"keyword"},"d":{"type":"keyword"},"s":{"type":"text"},"j":{"type":"object"},"f":{"type":"float"},"o":{"dynamic":"true","properties":{}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "strict", misfits, []string{"at always dynamic is strict"})
}

func check(t *testing.T, name string, misfits []mapping.Misfit, want []string) {
	t.Helper()
	if len(misfits) != len(want) {
		t.Errorf("%s: got %+v, want %q", name, misfits, want)
		return
	}
	for i, m := range misfits {
		when := " some "
		if m.Always {
			when = " always "
		}
		field, text, _ := strings.Cut(want[i], when)
		if m.Field != field || !strings.Contains(m.Reason, text) {
			t.Errorf("%s: got %+v, want %s", name, m, want[i])
		}
	}
}
