package collate

import (
	"slices"
	"unicode/utf8"
)

// Pattern returns a function that matches text with a pattern of LIKE: % is any text, _ any character, and a character
// behind escape stands for itself; escape 0 is none. As in MySQL, characters are compared one by one, and blanks at the end
// count.
func (c *Collation) Pattern(pattern string, escape byte) func(s string) bool {
	parts := parsePattern(pattern, escape)
	same := func(a, b rune) bool { return a == b }
	if c.table != nil {
		t := c.table()
		same = func(a, b rune) bool {
			if a == b {
				return true
			}
			x, ok1 := t.likeEntry(a)
			y, ok2 := t.likeEntry(b)
			return ok1 && ok2 && slices.Equal(x, y)
		}
	}
	return func(s string) bool { return like(s, parts, same) }
}

// A token is one part of a pattern.
type token struct {
	kind tokenKind
	r    rune // of a literal
}

type tokenKind uint8

const (
	literal tokenKind = iota + 1
	anyCharacter
	anyText
)

func parsePattern(pattern string, escape byte) []token {
	var tokens []token
	escaped := false
	for i, r := range pattern {
		switch {
		case !escaped && escape != 0 && r == rune(escape) && i+1 < len(pattern):
			escaped = true
			continue
		case !escaped && r == '%':
			tokens = append(tokens, token{kind: anyText})
		case !escaped && r == '_':
			tokens = append(tokens, token{kind: anyCharacter})
		default:
			tokens = append(tokens, token{literal, r})
		}
		escaped = false
	}
	return tokens
}

// like matches from left to right; when it fails behind a %, that % takes one character more.
func like(s string, tokens []token, same func(a, b rune) bool) bool {
	at := 0
	retryToken, retryText := -1, ""
	for {
		switch {
		case at < len(tokens) && tokens[at].kind == anyText:
			at++
			retryToken, retryText = at, s
			continue
		case at == len(tokens) && s == "":
			return true
		case at < len(tokens) && s != "":
			r, size := utf8.DecodeRuneInString(s)
			if tokens[at].kind == anyCharacter || same(r, tokens[at].r) {
				at++
				s = s[size:]
				continue
			}
		}
		if retryToken < 0 || retryText == "" {
			return false
		}
		_, size := utf8.DecodeRuneInString(retryText)
		retryText = retryText[size:]
		at, s = retryToken, retryText
	}
}
