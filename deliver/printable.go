package deliver

import "strings"

// printable returns s with every octet outside printable ASCII as \xNN, cut
// at max octets (hostile.md A25, A61).
func printable(s string, max int) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if b.Len() >= max {
			b.WriteString("...")
			break
		}
		if c := s[i]; c >= ' ' && c <= '~' {
			b.WriteByte(c)
		} else {
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// saidLines returns what a peer said as at most 10 lines of 500 octets
// (hostile.md A61).
func saidLines(text string) []string {
	const lines, octets = 10, 500
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if len(out) == lines {
			return append(out, "(and more)")
		}
		out = append(out, printable(strings.TrimRight(line, "\r "), octets))
	}
	return out
}
