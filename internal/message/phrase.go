package message

import (
	"strings"
	"unicode/utf8"
)

// An encoded word has at most 75 octets, its ends included (RFC 2047 section
// 2).
const (
	wordStart = "=?utf-8?q?"
	wordEnd   = "?="
	wordRoom  = 75 - len(wordStart) - len(wordEnd)
)

// Phrase writes a name as the display name of an address (RFC 5322 section
// 3.4): in quotes or, if it has octets outside ASCII, in encoded words, in which
// nothing stands that could end the phrase (RFC 2047 section 5). What is no
// UTF-8 becomes "?", and controls become spaces, so that a name is never more
// than a name.
func Phrase(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		return encodedWords(name)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// encodedWords writes text in the Q encoding, a word a line, none of which ends
// within a character.
func encodedWords(text string) string {
	var b strings.Builder
	b.WriteString(wordStart)
	room := wordRoom
	for len(text) > 0 {
		_, n := utf8.DecodeRuneInString(text)
		q := quoted(text[:n])
		if len(q) > room {
			b.WriteString(wordEnd + "\n " + wordStart)
			room = wordRoom
		}
		b.WriteString(q)
		room -= len(q)
		text = text[n:]
	}
	b.WriteString(wordEnd)
	return b.String()
}

// quoted is one character in the Q encoding, as a phrase may have it.
func quoted(char string) string {
	const hex = "0123456789ABCDEF"
	c := char[0]
	switch {
	case c == ' ':
		return "_"
	case 'a' <= c|0x20 && c|0x20 <= 'z' && c < 0x80, '0' <= c && c <= '9', strings.IndexByte("!*+-/", c) >= 0:
		return char
	}
	var b strings.Builder
	for i := range len(char) {
		b.Write([]byte{'=', hex[char[i]>>4], hex[char[i]&15]})
	}
	return b.String()
}
