package smtp

import (
	"cmp"
	"errors"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"postoffice/internal/idn"
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
// commas or in "<" and ">". One dot behind a domain is not part of it, and a
// domain outside ASCII is given as A-labels (RFC 5891). What ParseAddress would
// not take, and the likes of a@b@c, is left out: EachMember tells of that.
func EachMailbox(body string) iter.Seq[Mailbox] {
	return func(yield func(Mailbox) bool) {
		for m := range EachMember(body) {
			if m.Err == nil && !yield(m.Mailbox) {
				return
			}
		}
	}
}

// A Member is what EachMember gives: an address, or what is none.
type Member struct {
	Mailbox        // zero with Err
	Text    string // with Err: the member of the list as it stands, without its commas
	Err     error  // nil: an address; ErrBeside: Text holds words beside addresses that were given; else why it gave none
}

// ErrBeside is a member of a list that holds more than the addresses that it
// gave, as where a comma or brackets are missing.
var ErrBeside = errors.New("words that are no address")

// EachMember is EachMailbox that tells of what is left out too. Empty members,
// empty groups and "<>" are nothing.
func EachMember(body string) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		r := fieldReader{src: body}
		r.advance()
		for more := true; more; {
			more = r.next()
			if r.found.End > 0 && !yield(Member{Mailbox: r.found}) {
				return
			}
			if r.left != nil && !yield(Member{Text: strings.Trim(r.text, " \t\r\n"), Err: r.left}) {
				return
			}
			r.found, r.left = Mailbox{}, nil
		}
	}
}

// A fieldReader goes through the tokens of an address field.
type fieldReader struct {
	src   string
	pos   int        // behind tok
	tok   fieldToken // not yet used
	found Mailbox    // what the last call of next found; End 0: nothing
	left  error      // what the last call of next left out of text; nil: nothing
	text  string     // the member that has ended
	run   fieldRun   // what may be a local part
	taken bool       // this member has given an address, or is spoilt
	more  bool       // this member holds more than run

	start  int   // of this member
	full   bool  // it is not empty
	gave   bool  // it has given an address
	null   bool  // it holds "<>"
	beside bool  // it holds words beside its address
	why    error // it holds what can't be read
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
		r.close(t.start)
		r.run, r.taken, r.more = fieldRun{}, false, false
	case t.kind == ':': // what stood before was the name of a group
		r.run, r.more, r.start, r.full = fieldRun{}, false, t.end, false
	case t.kind == '<':
		r.full = true
		r.angle()
		r.run, r.taken = fieldRun{}, true
	case t.kind == '@':
		r.full = true
		domain, end := r.domain()
		if r.run.end == 0 || domain == "" || r.tok.kind == '@' {
			r.spoil(errJunk)
			r.skip(",;")
		} else {
			r.beside = r.beside || r.more
			r.add(r.run, domain, end)
		}
		r.run, r.taken = fieldRun{}, true
	case t.inLocal():
		r.full = true
		if r.run.word && t.kind != '.' {
			r.run, r.more = fieldRun{}, true
		}
		r.run.add(t)
	default:
		r.run, r.more, r.full = fieldRun{}, true, true
	}
	return t.kind != 0
}

// close ends the member that goes to end, and says what it leaves out.
func (r *fieldReader) close(end int) {
	switch {
	case r.why != nil:
		r.left = r.why
	case r.full && !r.gave && !r.null:
		r.left = errJunk
	case r.gave && (r.beside || r.taken && r.run.end > 0):
		r.left = ErrBeside
	}
	r.text = r.src[r.start:end]
	r.start, r.full, r.gave, r.null, r.beside, r.why = min(end+1, len(r.src)), false, false, false, false, nil
}

// spoil notes the first reason why a part of the member can't be read.
func (r *fieldReader) spoil(err error) { r.why = cmp.Or(r.why, err) }

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
		r.null = r.null || run.end == 0 && domain == ""
		r.add(run, domain, end)
	default:
		r.spoil(errJunk)
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
	switch {
	case run.end == 0 && domain == "":
		return
	case run.end == 0 || run.bad:
		r.spoil(errJunk)
		return
	}
	if domain == "" {
		end = run.end
	}
	p := Path{run.local, AsHost(domain)}
	switch again, err := ParseAddress(p.String()); {
	case err != nil:
		r.spoil(err)
	case again != p:
		r.spoil(errJunk)
	default:
		r.found, r.gave = Mailbox{Path: p, Start: run.start, End: end}, true
	}
}

// AsHost returns a domain as people write it, in files and on command lines, in the
// form that a path has: less one dot behind it, and with A-labels (RFC 5891) for
// labels outside ASCII. What can't be made so stays as it is, and is no domain.
func AsHost(domain string) string {
	if name, dotted := strings.CutSuffix(domain, "."); dotted && name != "" {
		domain = name
	}
	if IsASCII(domain) {
		return domain
	}
	name, err := idn.ToASCII(domain)
	if err != nil {
		return domain
	}
	return name
}

// IsASCII reports whether s has no octet above 0x7f.
func IsASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}
