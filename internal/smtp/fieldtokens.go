package smtp

import "strings"

// A fieldToken is a word, a special or a domain literal of a structured header
// field (RFC 5322 sections 3.2 and 4.1).
type fieldToken struct {
	kind       byte // 'w', '"' a quoted word, '[' a literal, 0 the end, or the special itself
	text       string
	start, end int
}

// nextFieldToken returns the first token of s from i on, and the index behind
// it. Blanks, line ends and comments stand between tokens. What has no end (a
// quote, a comment, a literal) takes the rest.
func nextFieldToken(s string, i int) (t fieldToken, next int) {
	i, whole := skipBlanks(s, i)
	switch {
	case !whole:
		return fieldToken{kind: ')', text: s[i:], start: i, end: len(s)}, len(s) // as a special that nothing begins with
	case i == len(s):
		return fieldToken{start: i, end: i}, i
	}
	t = fieldToken{kind: s[i], start: i, end: i + 1}
	switch {
	case t.kind == '"':
		if t.text, t.end, whole = unquote(s, i); !whole {
			t.kind = ')' // as a special that nothing begins with
		}
		return t, t.end
	case t.kind == '[':
		if n := strings.IndexByte(s[i:], ']'); n >= 0 {
			t.end = i + n + 1
		} else {
			t.end = len(s)
		}
	case isWordOctet(t.kind):
		t.kind = 'w'
		for t.end < len(s) && isWordOctet(s[t.end]) {
			t.end++
		}
	case t.kind == 0:
		t.kind = ')' // a NUL is not the end
	}
	t.text = s[i:t.end]
	return t, t.end
}

// skipBlanks returns the index of the next octet that is neither blank nor in
// a comment. whole is false for a comment that has no end, at i.
func skipBlanks(s string, i int) (next int, whole bool) {
	for i < len(s) {
		switch s[i] {
		case ' ', '\t', '\r', '\n':
			i++
		case '(':
			end, whole := skipComment(s, i)
			if !whole {
				return i, false
			}
			i = end
		default:
			return i, true
		}
	}
	return i, true
}

// isWordOctet takes octets outside ASCII for letters: display names and
// addresses have them.
func isWordOctet(c byte) bool { return isAtextUTF8(c) }

// skipComment returns the index behind the comment at i; whole is false if it
// has no end.
func skipComment(s string, i int) (next int, whole bool) {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1, true
			}
		case '\\':
			i++
		}
	}
	return len(s), false
}

// unquote returns the content of the quoted string at i, without line ends,
// and the index behind it; whole is false if it has no end.
func unquote(s string, i int) (text string, next int, whole bool) {
	var b strings.Builder
	for i++; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i + 1, true
		case '\r', '\n':
			continue
		case '\\':
			if i++; i == len(s) {
				return "", i, false
			}
		}
		b.WriteByte(s[i])
	}
	return "", len(s), false
}
