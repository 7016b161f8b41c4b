package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"postoffice/applets/cmdline"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
	"postoffice/internal/message"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// letter is a message with its envelope, as sendmail sends it.
type letter struct {
	o      SendOptions
	from   smtp.Path
	params []smtp.Param
	to     []smtp.Recipient
	head   message.Header // as far as it was read
	body   *replay        // what follows
	// unparted says that the body's first line follows, and no empty line.
	unparted bool
}

// letter reads the command line, and of standard input what it needs of the
// header.
func (o SendOptions) letter(env *cmdline.Env) (letter, error) {
	l := letter{o: o}
	var err error
	if l.from, err = o.from(); err != nil {
		return l, err
	}
	ofMail, ofRcpt, err := o.DSN.params()
	if err != nil {
		return l, err
	}
	l.params = ofMail
	if o.later() {
		l.params = append(l.params, smtp.Param{Name: smtp.ParamQueue})
	}
	body := bufio.NewReaderSize(newInput(env.Stdin, o.Dots), 32<<10)
	to := addressees{env: env}
	for _, arg := range env.Args {
		to.read(arg)
	}
	if o.FromHeader || o.FullName.Given {
		if l.head, err = readHeader(body); err != nil {
			return l, fmt.Errorf("read the message: %w", err)
		}
		next, _ := body.Peek(1) // an error comes again when more is read
		l.unparted = len(next) > 0 && next[0] != '\n'
		if o.FromHeader {
			to = recipients(env, l.head)
			to.header = true
		}
	}
	l.to, l.body = asRecipients(to.paths, ofRcpt), &replay{src: body}
	return l, to.missing()
}

// text is the message from its start, with its header as it goes out: Bcc stays
// here where its addresses were read, and -F names the author where nobody else
// has. An error says that the message was read before and can't be read again.
func (l letter) text() (io.Reader, error) {
	body, err := l.body.start()
	if err != nil {
		return nil, err
	}
	head := l.head
	if l.o.FromHeader {
		head = head.Without("Bcc", "Resent-Bcc")
	}
	text := head.String()
	if l.o.FullName.Given && !head.Has("From") {
		author, err := l.author()
		if err != nil {
			return nil, err
		}
		text += author
		if l.unparted { // the body's first line must not become a part of that
			text += "\n"
		}
	}
	return io.MultiReader(strings.NewReader(text), body), nil
}

// author is the From field of -F. The null reverse-path wrote nothing: it was
// the caller.
func (l letter) author() (string, error) {
	from := l.from
	if from.IsNull() {
		login, err := server.Login(os.Getuid())
		if err != nil {
			return "", err
		}
		from.Local = login
	}
	if l.o.FullName.Value == "" {
		return "From: " + from.String() + "\n", nil
	}
	return "From: " + message.Phrase(l.o.FullName.Value) + " <" + from.String() + ">\n", nil
}

// own says whether the sender is the caller: nobody else was given.
func (o SendOptions) own() bool { return !o.Sender.Given }

// later says whether the message waits for the next run of the queue.
func (o SendOptions) later() bool { return o.Delivery.Value == "q" || o.Delivery.Value == "d" }

// from is the envelope sender: -f, else the caller's login name.
func (o SendOptions) from() (smtp.Path, error) {
	if o.own() {
		login, err := server.Login(os.Getuid())
		return smtp.Path{Local: login}, err
	}
	p, err := readSender(o.Sender.Value)
	if err != nil {
		return p, cmdline.Usagef("-f %q: %v", o.Sender.Value, err)
	}
	return p, nil
}

// readSender reads an address as people write it: alone, in brackets, with a
// name in front or a comment behind it (RFC 5322 section 3.4). Nothing, and
// "<>", are the null reverse-path; blanks of other alphabets are something.
func readSender(text string) (smtp.Path, error) {
	text = strings.Trim(text, " \t\r\n")
	bare := text
	if inner, ok := strings.CutPrefix(text, "<"); ok {
		bare = strings.TrimSuffix(inner, ">")
	}
	if bare == "" {
		return smtp.Path{}, nil
	}
	p, err := smtp.ParseAddress(bare)
	if err == nil || strings.ContainsFunc(text, unicode.IsControl) {
		return p, err
	}
	all := slices.Collect(smtp.EachMember(text))
	if len(all) == 1 && all[0].Err == nil {
		return all[0].Path, nil
	}
	return smtp.Path{}, err
}

// addressees are the recipients of a message.
type addressees struct {
	env    *cmdline.Env
	paths  []smtp.Path // in their order, each once
	seen   map[smtp.Path]bool
	good   int      // how many addresses were read
	header bool     // they are the header's
	spoilt []string // members of lists that give no address; they are in paths too
}

// read takes the addresses of a list, as an address field or an argument has
// them. A member that gives none, or holds words beside one, which may have been
// meant for another, becomes a recipient too, one that nobody is: the sender hears
// of it as of any other that can't be reached (S3).
func (a *addressees) read(list string) {
	for m := range smtp.EachMember(list) {
		switch {
		case m.Err == nil && envelope.CheckRecipient(m.Path) == nil:
			a.good++
			a.add(m.Path)
		case m.Err == nil:
			a.spoil(m.Path.String())
		default:
			a.spoil(m.Text)
		}
	}
}

// spoil takes what is no address.
func (a *addressees) spoil(text string) {
	a.spoilt = append(a.spoilt, smtp.Printable(text, maxSpoilt))
	a.add(nobody(text))
}

func (a *addressees) add(p smtp.Path) {
	if a.seen == nil {
		a.seen = map[smtp.Path]bool{}
	}
	if !a.seen[p] {
		a.seen[p], a.paths = true, append(a.paths, p)
	}
}

// missing is the error where there is no address at all.
func (a *addressees) missing() error {
	switch {
	case a.good > 0:
		return nil
	case len(a.spoilt) > 0:
		for _, text := range a.spoilt {
			a.env.Say(fmt.Sprintf("%q is no address", text))
		}
		return cmdline.ExitWith(sysexits.NoUser, errors.New("no recipient is an address"))
	}
	hint := "name them on the command line, or use -t to take them from To, Cc and Bcc"
	if a.header {
		hint = "-t takes them from To, Cc and Bcc alone, which name nobody here; those on the command line count without it"
	}
	return cmdline.ExitWith(sysexits.NoUser, errors.New("the message has no recipients"), hint)
}

// maxSpoilt is how much of what is no address is shown, in octets.
const maxSpoilt = 100

// nobody is a local name that shows what was to be an address. As it has an @
// in it no alias, account or pattern is meant by it.
func nobody(text string) smtp.Path {
	text = smtp.Printable(strings.Join(strings.Fields(text), " "), maxSpoilt)
	if text == "" || strings.IndexByte("|/:", text[0]) >= 0 {
		text = "?" + text // no program, file or list either
	}
	if !strings.Contains(text, "@") {
		text += "@"
	}
	return smtp.Path{Local: text}
}

// recipients are the addresses of To, Cc and Bcc; where the message is sent
// again (Resent- fields, RFC 5322 section 3.6.6) those of the Resent- fields
// alone.
func recipients(env *cmdline.Env, h message.Header) addressees {
	fields := []string{"Resent-To", "Resent-Cc", "Resent-Bcc"}
	if !slices.ContainsFunc(fields, h.Has) {
		fields = []string{"To", "Cc", "Bcc"}
	}
	to := addressees{env: env}
	for value := range h.Values(fields...) {
		to.read(value)
	}
	return to
}

// asRecipients gives each address the same parameters.
func asRecipients(to []smtp.Path, params []smtp.Param) []smtp.Recipient {
	all := make([]smtp.Recipient, len(to))
	for i, p := range to {
		all[i] = smtp.Recipient{Path: p, Params: params}
	}
	return all
}

// maxHeader bounds the header that sendmail -t and -F hold in memory, in octets: a
// million recipients have room in it.
const maxHeader = 64 << 20

// readHeader takes the header from the front of r. What it leaves there is the
// empty line and the body, or a first line that is no header field.
func readHeader(r *bufio.Reader) (message.Header, error) {
	h, err := message.ReadHeader(r, maxHeader)
	if errors.Is(err, message.ErrTooLong) {
		err = cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("the message's header is longer than %d octets", maxHeader),
			"is an empty line missing between header and body?")
	}
	return h, err
}
