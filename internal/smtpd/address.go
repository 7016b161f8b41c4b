package smtpd

import "bufio"

// completeAddresses writes an address field (RFC 5322 section 3.4), complete
// with name, folds and final line end, to w, with "@host" behind each address
// that is a bare local part. What it does not understand it leaves alone.
func completeAddresses(w *bufio.Writer, field []byte, host string) error {
	s := addressScanner{w: w, field: field, host: host}
	for s.pos < len(field) && field[s.pos] != ':' {
		s.pos++
	}
	s.pos++
	for s.pos < len(field) {
		s.step()
	}
	s.endAddress()
	_, err := w.Write(field[min(s.done, len(field)):])
	return err
}

// addressScanner goes through a field once, forwards, and holds nothing of it:
// smtp.Mailboxes, which reads the same (FuzzAddresses compares them), may hold
// a hundred octets for each of a field's, more than a session is allowed.
type addressScanner struct {
	w     *bufio.Writer
	field []byte
	host  string
	pos   int // next octet
	done  int // octets written

	words  int  // of the address or display name, or of what stands in < >
	end    int  // of the last of them
	inWord bool // the octet before belongs to a word
	at     bool // an @, a route or something strange was met: complete, or not ours
	angle  bool // within < >
}

// step takes one octet, quoted string, comment or domain literal.
func (s *addressScanner) step() {
	switch c := s.field[s.pos]; c {
	case ' ', '\t', '\n':
		s.inWord = false
		s.pos++
	case '(':
		s.inWord = false
		s.skip('(', ')')
	case '"':
		s.word()
		s.skip(0, '"')
		s.end = s.pos
	case '[':
		s.word()
		s.skip(0, ']')
		s.at = true
	case '<':
		s.fresh()
		s.angle = true
		s.pos++
	case '>':
		s.endAddress()
		s.angle = false
		s.at = true // what follows up to the comma is no address
		s.pos++
	case ',', ';':
		s.separator()
	case ':':
		s.fresh() // what stood before names a group, or is a route
		s.pos++
	case '@':
		s.at = true
		s.pos++
	default:
		s.word()
		s.pos++
		s.end = s.pos
	}
}

// word counts a word where it begins.
func (s *addressScanner) word() {
	if !s.inWord {
		s.words++
		s.inWord = true
	}
}

// separator takes a comma or semicolon.
func (s *addressScanner) separator() {
	if !s.angle { // else it is part of a route
		s.endAddress()
		s.fresh()
	}
	s.pos++
}

// fresh forgets the words before.
func (s *addressScanner) fresh() {
	s.words, s.inWord, s.at = 0, false, false
}

// endAddress completes the address that ends here, if it is one word.
func (s *addressScanner) endAddress() {
	if s.words == 1 && !s.at {
		s.w.Write(s.field[s.done:s.end])
		s.w.WriteString("@")
		s.w.WriteString(s.host)
		s.done = s.end
	}
}

// skip passes over what begins here and ends with close; open nests, and a
// backslash takes the octet behind it. Without an end it is the field's rest,
// and nothing of that is ours.
func (s *addressScanner) skip(open, close byte) {
	depth := 1
	for s.pos++; s.pos < len(s.field); s.pos++ {
		switch c := s.field[s.pos]; {
		case c == '\\':
			s.pos++
		case c == close:
			if depth--; depth == 0 {
				s.pos++
				return
			}
		case c == open && open != 0:
			depth++
		}
	}
	s.pos = len(s.field)
	s.at = true
}
