package message

import "strings"

// AuthServID is who says to have looked, in the value of an Authentication-Results field:
// what stands in front of the first version or semicolon (RFC 8601 section 2.2), without
// comments and quotes. ok is false where nobody could say what that is.
func AuthServID(value string) (id string, ok bool) {
	if value, ok = skipBlank(value); !ok || value == "" {
		return "", false
	}
	if value[0] != '"' {
		n := strings.IndexAny(value, " \t\r\n;()\"")
		if n < 0 {
			n = len(value)
		}
		id, value = value[:n], value[n:]
	} else if id, value, ok = unquote(value[1:]); !ok {
		return "", false
	}
	rest, ok := skipBlank(value)
	return id, ok && id != "" && (rest == "" || rest[0] == ';' || rest[0] >= '0' && rest[0] <= '9')
}

// unquote reads a quoted string behind its first quote.
func unquote(s string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// skipBlank skips blanks, line ends and comments, which may stand in each other (RFC 5322
// section 3.2.2). ok is false where a comment has no end.
func skipBlank(s string) (rest string, ok bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth == 0 && !strings.ContainsRune(" \t\r\n", rune(c)):
			return s[i:], true
		}
	}
	return "", depth == 0
}
