package smtp

import "strings"

// A Mailbox is an address inside the body of a header field.
type Mailbox struct {
	Path       Path
	Start, End int // where its addr-spec stands in the body, in octets
}

// Mailboxes reads the body of an address field (To, Cc, From, …; RFC 5322
// section 3.4 with the obsolete forms) as far as it can be read, and returns
// the addresses in order: display names, comments, groups and source routes
// are skipped, as are empty members. A name without a domain is one if it
// stands alone between commas or in "<" and ">". What ParseAddress would not
// take, and the likes of a@b@c, is left out.
func Mailboxes(body string) []Mailbox {
	r := fieldReader{toks: fieldTokens(body)}
	for i := 0; i <= len(r.toks); {
		i = r.next(i)
	}
	return r.found
}

// A fieldToken is a word, a special or a domain literal.
type fieldToken struct {
	kind       byte // 'w', '"' a quoted word, '[' a literal, 0 the end, or the special itself
	text       string
	start, end int
}

type fieldReader struct {
	toks  []fieldToken
	found []Mailbox
	run   []fieldToken // words joined by dots that may be a local part
	taken bool         // this member has given an address, or is spoilt
	more  bool         // this member holds more than run
}

func (r *fieldReader) at(i int) fieldToken {
	if i >= len(r.toks) {
		return fieldToken{}
	}
	return r.toks[i]
}

// next reads the token at i, and what belongs to it, and returns the index
// behind that.
func (r *fieldReader) next(i int) int {
	switch t := r.at(i); t.kind {
	case ',', ';', 0:
		if !r.taken && !r.more {
			r.add(r.run, "", 0)
		}
		r.run, r.taken, r.more = nil, false, false
	case ':': // what stood before was the name of a group
		r.run, r.more = nil, false
	case '<':
		i = r.angle(i + 1)
		r.run, r.taken = nil, true
		return i
	case '@':
		domain, end, j := r.domain(i + 1)
		if len(r.run) == 0 || domain == "" || r.at(j).kind == '@' {
			j = r.skip(j, ",;")
		} else {
			r.add(r.run, domain, end)
		}
		r.run, r.taken = nil, true
		return j
	case 'w', '"', '.':
		if n := len(r.run); n > 0 && t.kind != '.' && r.run[n-1].kind != '.' {
			r.run, r.more = nil, true
		}
		r.run = append(r.run, t)
	default:
		r.run, r.more = nil, true
	}
	return i + 1
}

// angle reads what follows a "<".
func (r *fieldReader) angle(i int) int {
	if r.at(i).kind == '@' { // obs-route
		i = r.skip(i, ":>") + 1
	}
	i = min(i, len(r.toks))
	from := i
	for k := r.at(i).kind; k == 'w' || k == '"' || k == '.'; k = r.at(i).kind {
		i++
	}
	run, domain, end := r.toks[from:i], "", 0
	if r.at(i).kind == '@' {
		domain, end, i = r.domain(i + 1)
		if domain == "" {
			run = nil
		}
	}
	switch r.at(i).kind {
	case '>', ',', ';', 0: // a missing ">" is forgiven
		r.add(run, domain, end)
	default:
		i = r.skip(i, ">,;")
	}
	if r.at(i).kind == '>' {
		i++
	}
	return i
}

// domain reads a domain, or "", and returns its end in the body and the index
// behind it.
func (r *fieldReader) domain(i int) (name string, end, next int) {
	if t := r.at(i); t.kind == '[' {
		return t.text, t.end, i + 1
	}
	for dot := true; ; i++ {
		t := r.at(i)
		if t.kind != '.' && (t.kind != 'w' || !dot) {
			return name, end, i
		}
		dot = t.kind == '.'
		if len(name) <= maxDomain { // longer is wrong anyway
			name += t.text
		}
		end = t.end
	}
}

// skip returns the index of the next token of one of these kinds, or the end.
func (r *fieldReader) skip(i int, kinds string) int {
	for i < len(r.toks) && strings.IndexByte(kinds, r.toks[i].kind) < 0 {
		i++
	}
	return i
}

// add notes an address, if it is one; with a domain, end is the domain's.
func (r *fieldReader) add(run []fieldToken, domain string, end int) {
	if len(run) == 0 {
		return
	}
	var p Path
	word := false
	for _, t := range run {
		if t.kind != '.' && word || len(p.Local) > maxPath {
			return // two words side by side, or too long
		}
		word = t.kind != '.'
		p.Local += t.text
	}
	p.Domain = domain
	if domain == "" {
		end = run[len(run)-1].end
	}
	if again, err := ParseAddress(p.String()); err == nil && again == p {
		r.found = append(r.found, Mailbox{Path: p, Start: run[0].start, End: end})
	}
}
