package mapping

import (
	"cmp"
	"strconv"
	"strings"
)

// maxDecimalDigits is how many digits MySQL's DECIMAL has.
const maxDecimalDigits = 65

// A decimal is an exact number.
type decimal struct {
	neg   bool
	whole string // digits before the point, without leading zeros
	frac  string // digits behind the point, without trailing zeros
	mag   uint64 // whole as a number
	big   bool   // whole does not fit in mag
}

// parseDecimal reads digits with at most one point and an optional sign. It allocates nothing.
func parseDecimal(s string) (decimal, bool) {
	var d decimal
	rest, neg := strings.CutPrefix(s, "-")
	d.neg = neg
	whole, frac, _ := strings.Cut(rest, ".")
	if whole == "" && frac == "" || !allDigits(whole) || !allDigits(frac) {
		return decimal{}, false
	}
	d.whole = strings.TrimLeft(whole, "0")
	d.frac = strings.TrimRight(frac, "0")
	if d.isZero() {
		d.neg = false
	}
	if len(d.whole) > 20 {
		d.big = true
		return d, true
	}
	for i := 0; i < len(d.whole); i++ {
		digit := uint64(d.whole[i] - '0')
		if d.mag > (1<<64-1-digit)/10 {
			d.big = true
			return d, true
		}
		d.mag = d.mag*10 + digit
	}
	return d, true
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (d decimal) isZero() bool { return d.whole == "" && d.frac == "" }

// compare returns -1, 0 or 1 for d before, at or after e.
func (d decimal) compare(e decimal) int {
	if d.neg != e.neg {
		return sign(d.neg)
	}
	c := cmp.Or(cmp.Compare(len(d.whole), len(e.whole)), strings.Compare(d.whole, e.whole), strings.Compare(d.frac, e.frac))
	if d.neg {
		return -c
	}
	return c
}

// compareInt compares the integer of that sign and magnitude with d.
func (d decimal) compareInt(neg bool, mag uint64) int {
	if neg != d.neg {
		return sign(neg)
	}
	c := -1
	if !d.big {
		c = cmp.Compare(mag, d.mag)
		if c == 0 && d.frac != "" {
			c = -1
		}
	}
	if neg {
		return -c
	}
	return c
}

func sign(neg bool) int {
	if neg {
		return -1
	}
	return 1
}

func formatInt(v int64) string     { return strconv.FormatInt(v, 10) }
func formatUint(v uint64) string   { return strconv.FormatUint(v, 10) }
func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
