package smtp

import (
	"iter"
	"slices"
	"strings"
)

// A Mailbox is an address inside the body of a header field.
type Mailbox struct {
	Path       Path
	Start, End int // where its addr-spec stands in the body, in octets
}

// Mailboxes returns what EachMailbox finds.
func Mailboxes(body string) []Mailbox { return slices.Collect(EachMailbox(body)) }

// EachMailbox reads the body of an address field (To, Cc, From, …; RFC 5322
// section 3.4 with the obsolete forms) as far as it can be read, and gives the
// addresses in order, at a cost in memory that does not depend on the body:
// display names, comments, groups and source routes are skipped, as are empty
// members. A name without a domain is an address if it stands alone between
// commas or in "<" and ">". What ParseAddress would not take, and the likes of
// a@b@c, is left out.
func EachMailbox(body string) iter.Seq[Mailbox] {
	return func(yield func(Mailbox) bool) {
		r := fieldReader{src: body}
		r.advance()
		for more := true; more; {
			more = r.next()
			if r.found.End > 0 && !yield(r.found) {
				return
			}
			r.found = Mailbox{}
		}
	}
}

// A fieldReader goes through the tokens of an address field.
type fieldReader struct {
	src   string
	pos   int        // behind tok
	tok   fieldToken // not yet used
	found Mailbox    // what the last call of next found; End 0: nothing
	run   fieldRun   // what may be a local part
	taken bool       // this member has given an address, or is spoilt
	more  bool       // this member holds more than run
}

func (r *fieldReader) advance() { r.tok, r.pos = nextFieldToken(r.src, r.pos) }

// A fieldRun is words with dots between them.
type fieldRun struct {
	local      string
	start, end int  // end 0: nothing yet
	word       bool // the last token was a word
	bad        bool // two words side by side, or too long
}

// add takes a further token.
func (f *fieldRun) add(t fieldToken) {
	word := t.kind != '.'
	if f.end == 0 {
		f.start = t.start
	}
	f.bad = f.bad || f.word && word || len(f.local) > maxPath
	if !f.bad {
		f.local += t.text
	}
	f.word, f.end = word, t.end
}

func (t fieldToken) inLocal() bool { return t.kind == 'w' || t.kind == '"' || t.kind == '.' }

// next uses the next token and what belongs to it; false at the end.
func (r *fieldReader) next() bool {
	t := r.tok
	r.advance()
	switch {
	case t.kind == 0 || t.kind == ',' || t.kind == ';':
		if !r.taken && !r.more {
			r.add(r.run, "", 0)
		}
		r.run, r.taken, r.more = fieldRun{}, false, false
	case t.kind == ':': // what stood before was the name of a group
		r.run, r.more = fieldRun{}, false
	case t.kind == '<':
		r.angle()
		r.run, r.taken = fieldRun{}, true
	case t.kind == '@':
		domain, end := r.domain()
		if r.run.end == 0 || domain == "" || r.tok.kind == '@' {
			r.skip(",;")
		} else {
			r.add(r.run, domain, end)
		}
		r.run, r.taken = fieldRun{}, true
	case t.inLocal():
		if r.run.word && t.kind != '.' {
			r.run, r.more = fieldRun{}, true
		}
		r.run.add(t)
	default:
		r.run, r.more = fieldRun{}, true
	}
	return t.kind != 0
}

// angle reads what follows a "<".
func (r *fieldReader) angle() {
	if r.tok.kind == '@' { // obs-route
		r.skip(":>")
		if r.tok.kind != 0 {
			r.advance()
		}
	}
	var run fieldRun
	for ; r.tok.inLocal(); r.advance() {
		run.add(r.tok)
	}
	domain, end := "", 0
	if r.tok.kind == '@' {
		r.advance()
		domain, end = r.domain()
		run.bad = run.bad || domain == ""
	}
	switch r.tok.kind {
	case '>', ',', ';', 0: // a missing ">" is forgiven
		r.add(run, domain, end)
	default:
		r.skip(">,;")
	}
	if r.tok.kind == '>' {
		r.advance()
	}
}

// domain reads a domain, or "", and returns its end in the body.
func (r *fieldReader) domain() (name string, end int) {
	if t := r.tok; t.kind == '[' {
		r.advance()
		return t.text, t.end
	}
	for dot := true; r.tok.kind == '.' || r.tok.kind == 'w' && dot; r.advance() {
		dot = r.tok.kind == '.'
		if len(name) <= maxDomain { // longer is wrong anyway
			name += r.tok.text
		}
		end = r.tok.end
	}
	return name, end
}

// skip goes to the next token of one of these kinds, or the end.
func (r *fieldReader) skip(kinds string) {
	for r.tok.kind != 0 && strings.IndexByte(kinds, r.tok.kind) < 0 {
		r.advance()
	}
}

// add notes an address, if it is one; with a domain, end is the domain's.
func (r *fieldReader) add(run fieldRun, domain string, end int) {
	if run.end == 0 || run.bad {
		return
	}
	if domain == "" {
		end = run.end
	}
	p := Path{run.local, domain}
	if again, err := ParseAddress(p.String()); err == nil && again == p {
		r.found = Mailbox{Path: p, Start: run.start, End: end}
	}
}
