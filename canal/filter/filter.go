// Package filter is how canal's clients say which tables they want.
package filter

import (
	"fmt"
	"regexp"
	"strings"

	"canalgo/event"
)

// A Filter lets tables through. The zero Filter lets all through.
type Filter struct{ any []*regexp.Regexp }

// Parse reads a list of regular expressions, separated by commas, of which one has to match the whole of schema.table, in any letter case.
// No expression can hold a comma. An empty list lets all through.
func Parse(list string) (Filter, error) {
	var f Filter
	for _, text := range strings.Split(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		re, err := regexp.Compile("(?is)^(?:" + text + ")$")
		if err != nil {
			return Filter{}, fmt.Errorf("filter %q: %w; look-ahead, look-behind and references to groups are not known here", text, err)
		}
		f.any = append(f.any, re)
	}
	return f, nil
}

// Wants reports whether a table is let through.
func (f Filter) Wants(t event.TableName) bool {
	if len(f.any) == 0 {
		return true
	}
	name := t.String()
	for _, re := range f.any {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}
