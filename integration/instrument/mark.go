package instrument

import (
	"fmt"
	"regexp"
)

var (
	markLine    = regexp.MustCompile(`(?m)^[ \t]*//failpoint ([a-z]+\.[a-z_]+)(?: ([a-zA-Z.]+))?$`)
	packageLine = regexp.MustCompile(`(?m)^package \w+`)
)

// mark turns a file's marks into calls, each on the mark's own line, so that lines keep their numbers. It returns the failpoints' names.
func mark(text string) (string, []string) {
	var names []string
	text = markLine.ReplaceAllStringFunc(text, func(line string) string {
		m := markLine.FindStringSubmatch(line)
		names = append(names, m[1])
		if m[2] == "" {
			return fmt.Sprintf("failpoint.Hit(%q)", m[1])
		}
		return fmt.Sprintf("failpoint.Hit(%q, &%s)", m[1], m[2])
	})
	return text, names
}

// imports adds one of the packages below this one to what a file imports, on the line of its package clause.
func imports(text, pkg string) string {
	at := packageLine.FindStringIndex(text)
	return text[:at[1]] + fmt.Sprintf("; import %q", module+"/integration/instrument/"+pkg) + text[at[1]:]
}
