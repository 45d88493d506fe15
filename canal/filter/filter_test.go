package filter_test

import (
	"testing"

	"canalgo/canal/filter"
	"canalgo/event"
)

func TestFilter(t *testing.T) {
	for _, test := range []struct {
		list, schema, table string
		want                bool
	}{
		{"", "any", "table", true},
		{" , ", "any", "table", true},
		{`.*\..*`, "any", "table", true},
		{`shop\..*`, "shop", "orders", true},
		{`shop\..*`, "workshop", "orders", false},
		{`shop\.order`, "shop", "orders", false},
		{`shop.orders`, "shop", "orders", true},
		{`SHOP\.Orders`, "shop", "ORDERS", true},
		{`a\.b,shop\..*`, "shop", "orders", true},
		{`a\.b, shop\..* `, "shop", "orders", true},
		{`shop\.foo|shop\.foot`, "shop", "foot", true},
		{`shop\.t\d+`, "shop", "t17", true},
		{`shop\.t\d+`, "shop", "t", false},
		{`.*`, "shop", "with\nnewline", true},
		{`中\..*`, "中", "表", true},
	} {
		f, err := filter.Parse(test.list)
		if err != nil {
			t.Errorf("%q: %v", test.list, err)
			continue
		}
		if got := f.Wants(event.TableName{Schema: test.schema, Name: test.table}); got != test.want {
			t.Errorf("%q and %s.%s: %v, want %v", test.list, test.schema, test.table, got, test.want)
		}
	}
	for _, list := range []string{"(", `(?!a)b`} {
		if _, err := filter.Parse(list); err == nil {
			t.Errorf("%q is taken", list)
		}
	}
}
