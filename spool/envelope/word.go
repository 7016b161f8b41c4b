package envelope

import (
	"strconv"
	"strings"
	"time"

	"postoffice/internal/smtp"
)

// One encoder writes all values (A22): printable ASCII stands as it is, bare
// or in quotes; every other octet is \xNN. So no value holds a line end, a
// line has as many fields as its kind says, and each value has one form only:
// the reader encodes again what it understood and refuses a difference.

// bare reports whether c may stand in a word without quotes. Not "<@>": paths
// use them.
func bare(c byte) bool {
	return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '<' && c != '@' && c != '>'
}

// appendWord adds s.
func appendWord(b []byte, s string) []byte {
	plain := s != ""
	for i := 0; i < len(s) && plain; i++ {
		plain = bare(s[i])
	}
	if plain {
		return append(b, s...)
	}
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// scanner takes a line apart, from the left. After the first thing that does
// not fit, ok is false and stays so.
type scanner struct {
	s  string
	ok bool
}

// lit takes exactly text.
func (p *scanner) lit(text string) {
	rest, found := strings.CutPrefix(p.s, text)
	p.ok = p.ok && found
	p.s = rest
}

// more takes text if it is next.
func (p *scanner) more(text string) bool {
	rest, found := strings.CutPrefix(p.s, text)
	if !p.ok || !found {
		return false
	}
	p.s = rest
	return true
}

// token takes octets up to the first that stops: the raw text of a field that
// has no quotes.
func (p *scanner) token(stops string) string {
	n := strings.IndexAny(p.s, stops)
	if n < 0 {
		n = len(p.s)
	}
	t := p.s[:n]
	p.s = p.s[n:]
	p.ok = p.ok && t != ""
	return t
}

// word takes what appendWord wrote.
func (p *scanner) word() string {
	if !p.more(`"`) {
		n := 0
		for n < len(p.s) && bare(p.s[n]) {
			n++
		}
		p.ok = p.ok && n > 0
		w := p.s[:n]
		p.s = p.s[n:]
		return w
	}
	end := 0
	for end < len(p.s) && p.s[end] != '"' {
		if p.s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(p.s) {
		p.ok = false
		return ""
	}
	quoted := p.s[:end]
	p.s = p.s[end+1:]
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted
	}
	return p.unescape(quoted)
}

func (p *scanner) unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		if i++; s[i] != 'x' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			p.ok = false
			return ""
		}
		v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		p.ok = p.ok && err == nil
		b = append(b, byte(v))
		i += 2
	}
	return string(b)
}

// number takes decimal digits. A form that the writer does not use ("+1",
// "01") is caught when the line is encoded again.
func (p *scanner) number(stops string) int {
	n, err := strconv.Atoi(p.token(stops))
	p.ok = p.ok && err == nil && n >= 0
	return n
}

// AppendPath adds <local@domain>; the null path is <>.
func AppendPath(b []byte, p smtp.Path) []byte {
	b = append(b, '<')
	if !p.IsNull() {
		b = appendWord(b, p.Local)
	}
	if p.Domain != "" {
		b = appendWord(append(b, '@'), p.Domain)
	}
	return append(b, '>')
}

func (p *scanner) path() smtp.Path {
	var path smtp.Path
	p.lit("<")
	if p.more(">") {
		return path
	}
	path.Local = p.word()
	if p.more("@") {
		path.Domain = p.word()
	}
	p.lit(">")
	return path
}

// AppendParams adds a blank and NAME or NAME=value for each.
func AppendParams(b []byte, params []smtp.Param) []byte {
	for _, p := range params {
		b = append(append(b, ' '), p.Name...)
		if p.Value != "" {
			b = appendWord(append(b, '='), p.Value)
		}
	}
	return b
}

// params takes parameters to the end of the line.
func (p *scanner) params() []smtp.Param {
	var params []smtp.Param
	for p.more(" ") {
		param := smtp.Param{Name: p.token(" =")}
		if p.more("=") {
			param.Value = p.word()
		}
		p.ok = p.ok && keyword(param.Name)
		params = append(params, param)
	}
	return params
}

// ParsePath takes what AppendPath wrote from the front of s.
func ParsePath(s string) (path smtp.Path, rest string, ok bool) {
	p := scanner{s: s, ok: true}
	path = p.path()
	return path, p.s, p.ok
}

// ParseParams takes what AppendParams wrote, which must be all of s.
func ParseParams(s string) (params []smtp.Param, ok bool) {
	p := scanner{s: s, ok: true}
	params = p.params()
	return params, p.ok && p.s == ""
}

// keyword reports whether s is an esmtp-keyword (RFC 5321 section 4.1.2).
func keyword(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		alnum := s[i] >= '0' && s[i] <= '9' || c >= 'a' && c <= 'z'
		if !alnum && (s[i] != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

// timeForm is how a time is written: always UTC.
const timeForm = "2006-01-02T15:04:05.000000Z"

func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, timeForm)
}

func (p *scanner) time(stops string) time.Time {
	t, err := time.Parse(timeForm, p.token(stops))
	p.ok = p.ok && err == nil
	return t
}

// validTime reports whether t has the form's four digits of year.
func validTime(t time.Time) bool {
	y := t.UTC().Year()
	return y >= 0 && y <= 9999
}
