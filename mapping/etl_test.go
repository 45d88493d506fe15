package mapping_test

import (
	"errors"
	"strings"
	"testing"

	"canalgo/mapping"
)

func TestLoadCondition(t *testing.T) {
	const plain, joined = "select u.id as _id from user u", "select u.id as _id, o.n from user u join other o on o.id = u.id"
	for _, tt := range []struct {
		sql, condition string
		params         []string
		want           string
	}{
		{plain, "where u.c >= {}", []string{"2024-01-01"}, "`u`.`c`>='2024-01-01'"},
		{plain, " WHERE c >= {} and c < {} ", []string{"1", "x'y\\z"}, "`u`.`c`>='1' AND `u`.`c`<'x''y\\\\z'"},
		{plain, "where(c=1 or d is null)", nil, "(`u`.`c`=1 OR `u`.`d` IS NULL)"},
		{plain, "where c > now() - interval 30 day", nil, "`u`.`c`>DATE_SUB(NOW(), INTERVAL 30 DAY)"},
		{"select id as _id from user", "where user.c >= {}", []string{"{}"}, "`user`.`c`>='{}'"},
		{joined, "where u.c >= {}", []string{"5"}, "`u`.`c`>='5'"},
		{joined, "where c >= {}", []string{"5"}, "`u`.`c`>='5'"},
		{plain, "where u.c >= {}", nil, `error: etlCondition: "where u.c >= {}": want 1 parameters, one for each {}, got 0`},
		{plain, "where u.c >= 3", []string{"1"}, `error: etlCondition: "where u.c >= 3": want 0 parameters, one for each {}, got 1`},
		{plain, "", []string{"1"}, "error: " + mapping.ErrNoCondition.Error()},
	} {
		m := compile(t, mapping.Config{SQL: tt.sql, EtlCondition: tt.condition})
		got, err := m.LoadCondition(tt.params)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.condition, got, tt.want)
		}
	}
}

func TestLoadConditionsThatAreRefused(t *testing.T) {
	const joined = "select u.id as _id, o.n from user u join other o on o.id = u.id"
	for condition, want := range map[string]string{
		"u.c >= {}":                               `want "where CONDITION", for example "where u.created >= {}", got "u.c >= {}"`,
		"where":                                   `want "where CONDITION"`,
		"where u.c = 1 limit 5":                   `want "where CONDITION"`,
		"where u.c = 1 group by u.c":              `want "where CONDITION"`,
		"where u.c = 1; delete from user":         `want "where CONDITION"`,
		"where u.c = 1 union select 2":            `want "where CONDITION"`,
		"where u.c >= '{}'":                       `a parameter stands as {}, without quotes around it`,
		"where u.c >= {0}":                        `a parameter stands as {}, without quotes around it`,
		"where o.c >= {}":                         "o.c is not of u: a load goes through the rows of that table, whose columns make the id; write u.COLUMN",
		"where shop.u.c >= {}":                    "shop.u.c is not of u",
		"where u.c in (select 1)":                 "a sub-query; write a condition of columns of u",
		"where u.c = @x":                          "a variable; write the value, or {}",
		"where max(u.c) = 1":                      "the aggregate function max; write a condition of columns of u",
		"where u.c = " + strings.Repeat("9", 200): "cannot be parsed",
	} {
		_, err := mapping.Compile("m", mapping.Config{SQL: joined, Index: "i", EtlCondition: condition}, "shop")
		var place *mapping.SQLError
		if err == nil || errors.As(err, &place) || !strings.HasPrefix(err.Error(), "mapping m: etlCondition: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", condition, err, want)
		}
	}
	for n, want := range map[int]string{-1: "commitBatch: want 1 to 10000, or 0 for as many as are best, got -1", 10001: "commitBatch: want 1 to 10000"} {
		if _, err := mapping.Compile("m", mapping.Config{SQL: joined, Index: "i", CommitBatch: n}, "shop"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestPartOfARule: the condition chooses documents, not which of their rows are in them.
func TestPartOfARule(t *testing.T) {
	r := compile(t, mapping.Config{SQL: "select g as _id, sum(n) as total from user where n > 1 group by g"}).Rule()
	const where = "`user`.`c`>5"
	keys := "SELECT DISTINCT `user`.`g` FROM `shop`.`user` AS `user` WHERE (" + where + ") AND (`user`.`g` > 3)"
	if got := r.Keys([]string{"3"}, 7, where); !strings.HasPrefix(strings.ReplaceAll(got, "((", "("), strings.ReplaceAll(keys, "((", "(")) {
		t.Errorf("keys: %s", got)
	}
	got := r.Between([]string{"3"}, nil, where)
	if !strings.Contains(got, "`user`.`g` IN (SELECT `user`.`g` FROM `shop`.`user` AS `user` WHERE ("+where+")") || strings.Contains(got, "GROUP BY") == false {
		t.Errorf("documents: %s", got)
	}
}

func FuzzLoadCondition(f *testing.F) {
	for _, text := range []string{"where u.c >= {} and d < {0}", "where '{}' = \"{}\" or `{}` = {}", "where c in (1, date '2024-01-01') -- {}", "where ((", "WHERE\n{}"} {
		f.Add(text, "p'\\")
	}
	f.Fuzz(func(t *testing.T, text, param string) {
		m, err := mapping.Compile("m", mapping.Config{SQL: "select u.id as _id from user u", Index: "i", EtlCondition: text}, "shop")
		if err != nil {
			return
		}
		for params := []string{}; len(params) < 4; params = append(params, param) {
			if where, err := m.LoadCondition(params); err == nil && where == "" {
				t.Error("a condition without text")
			}
		}
	})
}
