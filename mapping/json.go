package mapping

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Invalid UTF-8 is an error, never a replacement character.
func appendString(dst []byte, s string) ([]byte, error) {
	start := len(dst)
	dst = append(dst, '"')
	dst, ok := appendEscaped(dst, s)
	if !ok {
		return dst[:start], errNoUTF8
	}
	return append(dst, '"'), nil
}

// appendEscaped appends text as it stands between the quotes of a JSON string; ok is false when it is not UTF-8.
func appendEscaped(dst []byte, s string) (out []byte, ok bool) {
	plain := 0 // where what was not yet copied begins
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				return dst, false
			}
			i += size
			continue
		}
		dst = append(dst, s[plain:i]...)
		dst = appendEscape(dst, c)
		i++
		plain = i
	}
	return append(dst, s[plain:]...), true
}

// appendEscape appends the escape of a quote, a backslash or a control character.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendJSON appends a JSON text in one canonical form, so that MySQL's text and the decoder's, which differ in blanks,
// escapes and the spelling of floating-point numbers, give the same bytes. The order of keys stays. An empty text is
// MySQL's empty document (INSERT IGNORE makes it) and becomes null.
func appendJSON(dst []byte, s string) ([]byte, error) {
	if s == "" {
		return append(dst, "null"...), nil
	}
	p := jsonText{text: s, out: dst}
	p.blanks()
	if err := p.value(0); err != nil {
		return dst, fmt.Errorf("JSON text: %w", err)
	}
	if p.blanks(); p.at < len(s) {
		return dst, fmt.Errorf("JSON text: something follows the value at byte %d", p.at)
	}
	return p.out, nil
}

// maxJSONDepth is above what MySQL stores, which is 100.
const maxJSONDepth = 200

// A jsonText is read from text at at and written to out.
type jsonText struct {
	text string
	at   int
	out  []byte
}

func (p *jsonText) blanks() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// peek returns the next byte, 0 at the end.
func (p *jsonText) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *jsonText) unexpected() error {
	if p.at >= len(p.text) {
		return errors.New("it ends too early")
	}
	return fmt.Errorf("unexpected %q at byte %d", p.text[p.at], p.at)
}

func (p *jsonText) value(depth int) error {
	if depth > maxJSONDepth {
		return fmt.Errorf("nested deeper than %d", maxJSONDepth)
	}
	switch c := p.peek(); {
	case c == '{':
		return p.list('}', func() error {
			if p.peek() != '"' {
				return p.unexpected()
			}
			if err := p.str(); err != nil {
				return err
			}
			if p.blanks(); p.peek() != ':' {
				return p.unexpected()
			}
			p.at++
			p.out = append(p.out, ':')
			p.blanks()
			return p.value(depth + 1)
		})
	case c == '[':
		return p.list(']', func() error { return p.value(depth + 1) })
	case c == '"':
		return p.str()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(p.text[p.at:], word) {
			p.at += len(word)
			p.out = append(p.out, word...)
			return nil
		}
	}
	return p.unexpected()
}

// list reads an object or an array up to its end.
func (p *jsonText) list(end byte, element func() error) error {
	p.out = append(p.out, p.text[p.at])
	p.at++
	for first := true; ; first = false {
		p.blanks()
		if p.peek() == end && first {
			break
		}
		if !first {
			if p.peek() == end {
				break
			}
			if p.peek() != ',' {
				return p.unexpected()
			}
			p.at++
			p.out = append(p.out, ',')
			p.blanks()
		}
		if err := element(); err != nil {
			return err
		}
	}
	p.at++
	p.out = append(p.out, end)
	return nil
}

// str reads a string and writes it with the escapes that appendEscaped uses.
func (p *jsonText) str() error {
	p.at++
	p.out = append(p.out, '"')
	for {
		plain := p.at
		for p.at < len(p.text) && p.text[p.at] != '"' && p.text[p.at] != '\\' {
			p.at++
		}
		var ok bool
		if p.out, ok = appendEscaped(p.out, p.text[plain:p.at]); !ok {
			return errors.New("invalid UTF-8")
		}
		if p.at == len(p.text) {
			return p.unexpected()
		}
		p.at++
		if p.text[p.at-1] == '"' {
			p.out = append(p.out, '"')
			return nil
		}
		if err := p.escape(); err != nil {
			return err
		}
	}
}

// escape reads what follows a backslash.
func (p *jsonText) escape() error {
	c := p.peek()
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 && c != 0 {
		p.at++
		if c == '/' {
			p.out = append(p.out, '/')
		} else {
			p.out = append(p.out, '\\', c)
		}
		return nil
	}
	if c != 'u' {
		return p.unexpected()
	}
	r, err := p.hex()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		if p.peek() != '\\' || p.at+1 >= len(p.text) || p.text[p.at+1] != 'u' {
			return errors.New("half a surrogate pair")
		}
		p.at++
		low, err := p.hex()
		if err != nil {
			return err
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return errors.New("half a surrogate pair")
		}
	}
	p.out, _ = appendEscaped(p.out, string(r))
	return nil
}

// hex reads u and four hexadecimal digits.
func (p *jsonText) hex() (rune, error) {
	if p.at+5 > len(p.text) {
		return 0, errors.New("it ends too early")
	}
	n, err := strconv.ParseUint(p.text[p.at+1:p.at+5], 16, 16)
	if err != nil {
		return 0, p.unexpected()
	}
	p.at += 5
	return rune(n), nil
}

// number reads a number. Integers stay as they are. Others are written by their digits, without going through a float: a
// JSON DECIMAL may have more digits than a float holds.
func (p *jsonText) number() error {
	start := p.at
	neg := p.peek() == '-'
	if neg {
		p.at++
	}
	whole := p.digits()
	if whole == "" || len(whole) > 1 && whole[0] == '0' {
		p.at = start
		return p.unexpected()
	}
	frac, isInteger := "", true
	if p.peek() == '.' {
		p.at++
		isInteger = false
		if frac = p.digits(); frac == "" {
			return p.unexpected()
		}
	}
	exponent := 0
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		isInteger = false
		sign := 1
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
			if c == '-' {
				sign = -1
			}
		}
		digits := p.digits()
		if digits == "" || len(digits) > 4 {
			return p.unexpected()
		}
		exponent = sign * number(digits)
	}
	if isInteger {
		p.out = append(p.out, p.text[start:p.at]...)
		return nil
	}
	p.out = appendScientific(p.out, neg, whole, frac, exponent)
	return nil
}

func (p *jsonText) digits() string {
	start := p.at
	for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
		p.at++
	}
	return p.text[start:p.at]
}

// appendScientific appends whole.frac × 10^exponent: plainly between 1e-6 and 1e17, with an exponent beyond. There is always a
// point or an exponent, so that a float stays one.
func appendScientific(dst []byte, neg bool, whole, frac string, exponent int) []byte {
	digits := whole + frac
	point := len(whole) + exponent // the point stands before digits[point]
	trimmed := strings.TrimLeft(digits, "0")
	point -= len(digits) - len(trimmed)
	digits = strings.TrimRight(trimmed, "0")
	if neg {
		dst = append(dst, '-')
	}
	switch {
	case digits == "":
		return append(dst, "0.0"...)
	case point <= -6 || point > 17:
		dst = append(dst, digits[0])
		if len(digits) > 1 {
			dst = append(dst, '.')
			dst = append(dst, digits[1:]...)
		}
		dst = append(dst, 'e')
		return strconv.AppendInt(dst, int64(point-1), 10)
	case point <= 0:
		dst = append(dst, "0."...)
		for range -point {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	case point >= len(digits):
		dst = append(dst, digits...)
		for range point - len(digits) {
			dst = append(dst, '0')
		}
		return append(dst, ".0"...)
	}
	dst = append(dst, digits[:point]...)
	dst = append(dst, '.')
	return append(dst, digits[point:]...)
}
