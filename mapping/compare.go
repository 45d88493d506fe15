package mapping

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/opcode"

	"canalgo/event"
)

func (p logicPredicate) bind(b *binder) (condition, error) {
	left, err := p.left.bind(b)
	if err != nil {
		return nil, err
	}
	right, err := p.right.bind(b)
	return logicCondition{p.or, left, right}, err
}

func (p notPredicate) bind(b *binder) (condition, error) {
	operand, err := p.operand.bind(b)
	return notCondition{operand}, err
}

func (p truthPredicate) bind(b *binder) (condition, error) {
	operand, err := p.operand.bind(b)
	return truthCondition{operand, p.want}, err
}

func (p constPredicate) bind(*binder) (condition, error) { return constCondition(p), nil }

func (p nullPredicate) bind(b *binder) (condition, error) {
	i, _, err := b.column(p.column)
	return nullCondition{i}, err
}

func (p boolPredicate) bind(b *binder) (condition, error) {
	zero := constant{kind: numberConstant, text: "0", at: p.column.at}
	i, c, err := b.column(p.column)
	if err != nil {
		return nil, err
	}
	if classOf(c) != integerClass && classOf(c) != decimalClass && classOf(c) != floatClass {
		return nil, b.cannotCompare(p.column, c, "used as a condition by itself", "compare it with a value")
	}
	order, err := b.order(p.column, c, opcode.EQ, zero)
	return compareCondition{i, opcode.NE, order}, err
}

func (p comparePredicate) bind(b *binder) (condition, error) {
	i, c, err := b.column(p.column)
	if err != nil {
		return nil, err
	}
	if p.constant.kind == nullConstant {
		if p.op == opcode.NullEQ {
			return nullCondition{i}, nil
		}
		return constCondition{unknown}, nil
	}
	order, err := b.order(p.column, c, p.op, p.constant)
	return compareCondition{i, p.op, order}, err
}

func (p inPredicate) bind(b *binder) (condition, error) {
	i, c, err := b.column(p.column)
	if err != nil {
		return nil, err
	}
	if err := b.checkMixture(p.column, c, p.list); err != nil {
		return nil, err
	}
	in := inCondition{column: i}
	for _, member := range p.list {
		if member.kind == nullConstant {
			in.hasNull = true
			continue
		}
		order, err := b.order(p.column, c, opcode.EQ, member)
		if err != nil {
			return nil, err
		}
		in.orders = append(in.orders, order)
	}
	return in, nil
}

func (p betweenPredicate) bind(b *binder) (condition, error) {
	_, c, err := b.column(p.column)
	if err != nil {
		return nil, err
	}
	if err := b.checkMixture(p.column, c, []constant{p.low, p.high}); err != nil {
		return nil, err
	}
	return logicPredicate{left: comparePredicate{p.column, opcode.GE, p.low}, right: comparePredicate{p.column, opcode.LE, p.high}}.bind(b)
}

// exactFloat is the first integer that shares its floating-point number with another: 2^53.
const exactFloat = 1 << 53

// checkMixture refuses a list of numbers of different kinds for an integer column, such as (1, 2.5) or (1, '2'), when one of
// them is so large, or negative for an unsigned column, that the kind MySQL compares them all as makes a difference.
func (b *binder) checkMixture(ref columnRef, c *event.Column, list []constant) error {
	isInteger := func(k constant) bool { // what needs more than 64 bits is a decimal
		d, ok := parseDecimal(k.text)
		return k.kind == numberConstant && ok && !strings.Contains(k.text, ".") && !d.big && (!d.neg || d.mag <= 1<<63)
	}
	if classOf(c) != integerClass || !slices.ContainsFunc(list, func(k constant) bool { return k.kind != nullConstant && !isInteger(k) }) {
		return nil
	}
	for _, k := range list {
		if d, ok := parseDecimal(k.text); k.kind == numberConstant && (!ok || d.big || d.mag >= exactFloat || d.neg && c.Unsigned) {
			return b.cannotCompare(ref, c, "compared with "+k.String()+" in one list with a number of another kind", "write all numbers of the list as integers")
		}
	}
	return nil
}

// class is a way of comparing.
type class uint8

const (
	integerClass class = iota + 1
	yearClass
	decimalClass
	floatClass
	dateClass // DATE, DATETIME, TIMESTAMP
	timeClass
	textClass
	labelClass // ENUM, SET
	bytesClass
	noClass
)

func classOf(c *event.Column) class {
	switch c.Type {
	case event.TinyInt, event.SmallInt, event.MediumInt, event.Int, event.BigInt, event.Bit:
		return integerClass
	case event.Year:
		return yearClass
	case event.Decimal:
		return decimalClass
	case event.Float, event.Double:
		return floatClass
	case event.Date, event.DateTime, event.Timestamp:
		return dateClass
	case event.Time:
		return timeClass
	case event.Char, event.Text:
		if c.Charset == "binary" {
			return bytesClass
		}
		return textClass
	case event.Enum, event.Set:
		return labelClass
	case event.Binary, event.VarBinary, event.Blob:
		return bytesClass
	}
	return noClass
}

// cannotCompare says that a comparison would not be certain to give what MySQL gives.
func (b *binder) cannotCompare(ref columnRef, c *event.Column, what, fix string) error {
	return &undecidedError{b.stopAt(ref.at, fmt.Sprintf("column %s of %s is a %s and is %s", c.Name, b.table.Name, strings.ToUpper(c.Type.String()), what), fix)}
}

// order fixes how values of a column are compared with a constant that is not NULL. Where MySQL would convert one side, it
// is allowed only when the result is the same for every value.
func (b *binder) order(ref columnRef, c *event.Column, op opcode.Op, k constant) (order, error) {
	switch classOf(c) {
	case integerClass:
		return b.integerOrder(ref, c, k)
	case yearClass:
		return b.yearOrder(ref, c, k)
	case decimalClass:
		if k.kind == numberConstant {
			if want, ok := parseDecimal(k.text); ok {
				return func(v any) (int, error) { return compareDecimal(v, want) }, nil
			}
		}
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), "write a number without quotes and without an exponent; MySQL compares the others as floating-point numbers")
	case floatClass:
		return b.floatOrder(ref, c, k)
	case dateClass:
		return b.dateOrder(ref, c, k)
	case timeClass:
		if k.kind == textConstant || k.kind == timeConstant {
			if want, ok := parseTime(k.text); ok {
				return func(v any) (int, error) { return compareTime(v, want) }, nil
			}
		}
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), "write '23:59:59'")
	case textClass, labelClass:
		return b.textOrder(ref, c, op, k)
	case bytesClass:
		if k.kind == bytesConstant || k.kind == textConstant {
			return func(v any) (int, error) { return compareBytes(v, k.text) }, nil
		}
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), "write bytes as x'00FF'")
	}
	return nil, b.cannotCompare(ref, c, "compared with "+k.String(), "only IS NULL and IS NOT NULL can be asked of it")
}

// String quotes the constant in a refusal.
func (k constant) String() string {
	switch k.kind {
	case numberConstant, floatConstant:
		return "the number " + k.text
	case bytesConstant:
		return fmt.Sprintf("x'%X'", k.text)
	case textConstant:
		return "the text '" + k.text + "'"
	}
	return "'" + k.text + "'"
}

func (b *binder) integerOrder(ref columnRef, c *event.Column, k constant) (order, error) {
	const fix = "write a number without quotes"
	text := k.text
	switch k.kind {
	case textConstant: // MySQL converts it to an integer when it is one, else it compares as floating-point numbers
		if c.Type == event.Bit || !isWholeNumber(text) {
			return nil, b.cannotCompare(ref, c, "compared with "+k.String(), fix)
		}
	case floatConstant:
		if c.Type == event.BigInt || c.Type == event.Bit {
			return nil, b.cannotCompare(ref, c, "compared with "+k.String(), fix+" and without an exponent")
		}
		limit, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, b.cannotCompare(ref, c, "compared with "+k.String(), fix)
		}
		return func(v any) (int, error) {
			neg, mag, err := splitInt(v)
			f := float64(mag) // at most 32 bits, so exact
			if neg {
				f = -f
			}
			return cmp.Compare(f, limit), err
		}, nil
	case bytesConstant:
		if c.Type != event.Bit || len(text) > 8 {
			return nil, b.cannotCompare(ref, c, "compared with "+k.String(), fix)
		}
		var n uint64
		for i := range len(text) {
			n = n<<8 | uint64(text[i])
		}
		text = formatUint(n)
	case numberConstant:
	default:
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), fix)
	}
	want, ok := parseDecimal(text)
	if !ok {
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), fix)
	}
	return func(v any) (int, error) {
		neg, mag, err := splitInt(v)
		return want.compareInt(neg, mag), err
	}, nil
}

// isWholeNumber reports whether s is an integer as MySQL would print it, of a size that a floating-point number holds.
func isWholeNumber(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || !allDigits(digits) || digits[0] == '0' && s != "0" {
		return false
	}
	d, ok := parseDecimal(s)
	return ok && !d.big && d.mag < exactFloat
}

// splitInt returns sign and magnitude of an integer.
func splitInt(v any) (neg bool, mag uint64, err error) {
	var n int64
	switch v := v.(type) {
	case int64:
		n = v
	case int32:
		n = int64(v)
	case int16:
		n = int64(v)
	case int8:
		n = int64(v)
	case int:
		n = int64(v)
	case uint64:
		return false, v, nil
	case uint32:
		return false, uint64(v), nil
	case uint16:
		return false, uint64(v), nil
	case uint8:
		return false, uint64(v), nil
	default:
		return false, 0, unexpected(v)
	}
	if n < 0 {
		return true, -uint64(n), nil
	}
	return false, uint64(n), nil
}

func (b *binder) yearOrder(ref columnRef, c *event.Column, k constant) (order, error) {
	want, ok := parseDecimal(k.text)
	if (k.kind == numberConstant || k.kind == textConstant && len(k.text) == 4) && ok && want.frac == "" && want.mag >= 1901 && want.mag <= 2155 {
		return func(v any) (int, error) {
			neg, mag, err := splitInt(v)
			return want.compareInt(neg, mag), err
		}, nil
	}
	return nil, b.cannotCompare(ref, c, "compared with "+k.String(), "write a year from 1901 to 2155")
}

func compareDecimal(v any, want decimal) (int, error) {
	s, ok := v.(string)
	if !ok {
		return 0, unexpected(v)
	}
	d, ok := parseDecimal(s)
	if !ok {
		return 0, fmt.Errorf("%q is not a decimal number", s)
	}
	return d.compare(want), nil
}

// floatOrder compares as 64-bit floats. A column declared FLOAT(M,D) is compared by MySQL with a tolerance when the
// constant has digits behind the point, and the declaration is not in the log; so those are refused.
func (b *binder) floatOrder(ref columnRef, c *event.Column, k constant) (order, error) {
	want, err := strconv.ParseFloat(k.text, 64)
	if err != nil || math.IsInf(want, 0) || k.kind != floatConstant && (k.kind != numberConstant || strings.Contains(k.text, ".")) {
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), "write an integer, or a number with an exponent: 5e-1 for 0.5")
	}
	return func(v any) (int, error) {
		f, err := asFloat(v)
		return cmp.Compare(f, want), err
	}, nil
}

func asFloat(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case float32:
		return float64(v), nil
	}
	return 0, unexpected(v)
}

// dateOrder compares as text: dates of full width sort as they follow each other.
func (b *binder) dateOrder(ref columnRef, c *event.Column, k constant) (order, error) {
	const fix = "write '2024-02-29' or '2024-02-29 23:59:59', of a day that is in the calendar"
	if k.kind != textConstant && k.kind != dateConstant && k.kind != timestampConstant {
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), fix)
	}
	want, ok := parseDate(k.text)
	if !ok {
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), fix)
	}
	return func(v any) (int, error) {
		s, ok := v.(string)
		if !ok {
			return 0, unexpected(v)
		}
		return compareDates(s, want), nil
	}, nil
}

// parseDate reads a date or a date and time as MySQL prints them, at most to the microsecond.
func parseDate(s string) (string, bool) {
	const day, second = len("2024-02-29"), len("2024-02-29 23:59:59")
	if len(s) != day && len(s) < second || len(s) > len("2024-02-29 23:59:59.123456") {
		return "", false
	}
	pattern := "0000-00-00 00:00:00.000000"[:len(s)]
	for i := range len(s) {
		if digit := '0' <= s[i] && s[i] <= '9'; digit != (pattern[i] == '0') || !digit && s[i] != pattern[i] {
			return "", false
		}
	}
	if _, err := appendDate(nil, s, false); err != nil || s[len(s)-1] == '.' {
		return "", false
	}
	if len(s) >= second && (s[11:13] > "23" || s[14:16] > "59" || s[17:19] > "59") {
		return "", false
	}
	return s, true
}

// compareDates compares dates of different width: what is missing is midnight and zeros.
func compareDates(a, b string) int {
	const full = "0000-00-00 00:00:00.000000"
	shared := min(len(a), len(b))
	if c := strings.Compare(a[:shared], b[:shared]); c != 0 {
		return c
	}
	return cmp.Or(strings.Compare(a[shared:], full[shared:max(shared, min(len(a), len(full)))]),
		-strings.Compare(b[shared:], full[shared:max(shared, min(len(b), len(full)))]))
}

func compareTime(v any, want int64) (int, error) {
	s, ok := v.(string)
	if !ok {
		return 0, unexpected(v)
	}
	got, ok := parseTime(s)
	if !ok {
		return 0, fmt.Errorf("%q is not a time", s)
	}
	return cmp.Compare(got, want), nil
}

// parseTime returns the microseconds of a TIME as MySQL prints it.
func parseTime(s string) (int64, bool) {
	text, neg := strings.CutPrefix(s, "-")
	clock, frac, hasFrac := strings.Cut(text, ".")
	hours, rest, ok := strings.Cut(clock, ":")
	if !ok || len(hours) < 2 || len(hours) > 3 || len(rest) != len("59:59") || rest[2] != ':' || len(frac) > 6 || hasFrac && frac == "" ||
		!allDigits(hours) || !allDigits(rest[:2]) || !allDigits(rest[3:]) || !allDigits(frac) {
		return 0, false
	}
	h, m, sec := number(hours), number(rest[:2]), number(rest[3:])
	if h > 838 || m > 59 || sec > 59 {
		return 0, false
	}
	micros := int64(h*3600+m*60+sec)*1e6 + int64(number((frac + "000000")[:6]))
	if micros > (838*3600+59*60+59)*1e6 {
		return 0, false
	}
	if neg {
		micros = -micros
	}
	return micros, true
}

func compareBytes(v any, want string) (int, error) {
	switch v := v.(type) {
	case []byte:
		return strings.Compare(string(v), want), nil
	case string:
		return strings.Compare(v, want), nil
	}
	return 0, unexpected(v)
}

// bind of two columns: only of one class, and of text only with one collation.
func (p columnsPredicate) bind(b *binder) (condition, error) {
	l, lc, err := b.column(p.left)
	if err != nil {
		return nil, err
	}
	r, rc, err := b.column(p.right)
	if err != nil {
		return nil, err
	}
	out := columnsCondition{left: l, right: r, op: p.op}
	lk, rk := classOf(lc), classOf(rc)
	switch {
	case lk == integerClass && rk == integerClass:
		out.order = compareInts
	case lk == decimalClass && rk == decimalClass:
		out.order = func(l, r any) (int, error) {
			s, ok := r.(string)
			if !ok {
				return 0, unexpected(r)
			}
			want, _ := parseDecimal(s)
			return compareDecimal(l, want)
		}
	case lk == dateClass && lc.Type == rc.Type:
		out.order = func(l, r any) (int, error) {
			ls, ok1 := l.(string)
			rs, ok2 := r.(string)
			if !ok1 || !ok2 {
				return 0, unexpected(l)
			}
			return compareDates(ls, rs), nil
		}
	default:
		return nil, b.cannotCompare(p.left, lc, fmt.Sprintf("compared with the column %s, a %s", rc.Name, strings.ToUpper(rc.Type.String())),
			"two integers, two decimals, or two dates of one type can be compared; anything else only with constants")
	}
	return out, nil
}

func compareInts(l, r any) (int, error) {
	lneg, lmag, err := splitInt(l)
	if err != nil {
		return 0, err
	}
	rneg, rmag, err := splitInt(r)
	if lneg != rneg {
		return sign(lneg), err
	}
	if lneg {
		return cmp.Compare(rmag, lmag), err
	}
	return cmp.Compare(lmag, rmag), err
}
