package smtp

import "strings"

// fieldTokens cuts the body of a structured header field into its tokens,
// without blanks, line ends and comments (RFC 5322 sections 3.2 and 4.1). What
// has no end (a quote, a comment, a literal) takes the rest.
func fieldTokens(s string) []fieldToken {
	var toks []fieldToken
	for i := 0; i < len(s); {
		start := i
		t := fieldToken{kind: s[i]}
		switch {
		case strings.IndexByte(" \t\r\n", s[i]) >= 0:
			i++
			continue
		case s[i] == '(':
			i = skipComment(s, i)
			continue
		case s[i] == '"':
			var whole bool
			if t.text, i, whole = unquote(s, i); !whole {
				t.kind = ')' // as a special that nothing begins with
			}
		case s[i] == '[':
			if n := strings.IndexByte(s[i:], ']'); n >= 0 {
				i += n + 1
			} else {
				i = len(s)
			}
			t.text = s[start:i]
		case isWordOctet(s[i]):
			for i < len(s) && isWordOctet(s[i]) {
				i++
			}
			t.kind, t.text = 'w', s[start:i]
		default:
			i++
			t.text = s[start:i]
		}
		if t.kind == 0 {
			t.kind = 1 // a NUL is not the end
		}
		t.start, t.end = start, i
		toks = append(toks, t)
	}
	return toks
}

// isWordOctet takes octets outside ASCII for letters: display names have them,
// and addresses with them fall out later.
func isWordOctet(c byte) bool { return isAtext(c) || c >= 0x80 }

// skipComment returns the index behind the comment at i.
func skipComment(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		case '\\':
			i++
		}
	}
	return len(s)
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
