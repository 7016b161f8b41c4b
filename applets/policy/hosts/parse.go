package hosts

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"postoffice/internal/nearest"
	"postoffice/internal/smtp"
)

const (
	// Service and its other name are what rules call us.
	Service     = "smtpd"
	otherName   = "smtp"
	maxRules    = 1_000_000 // rules of a file
	maxIncluded = 64        // files of patterns that a file names
)

// A Problem is something in a file that is not as its author means it.
type Problem struct {
	Line  int
	Err   error
	Fatal bool // the line does not count, or asks for what is never done
}

// A rule is a line that may concern us.
type rule struct {
	line    int
	servers *list[server]
	clients *list[pattern]
	byName  bool // whom it matches hangs on the client's name
	says    answer
	why     string
	cut     bool
}

// answer is what a rule says by itself, whichever file it stands in.
type answer uint8

const (
	grants answer = iota + 1
	denies
)

// denies reports whether the rule keeps out whom it matches. deny: it stands in
// hosts.deny.
func (r *rule) denies(deny bool) bool {
	if r.says != 0 {
		return r.says == denies
	}
	return deny
}

// A server is a pattern for us: a service's name, and which of its addresses.
type server struct {
	service string // folded; with * and ?; "" is any
	at      *pattern
}

// parser reads one file.
type parser struct {
	line     int // that is read now
	read     func(path string) (string, error)
	files    map[string][]string // words of the files of patterns that it names
	table    *Table
	problems []Problem
}

// Parse reads the text of hosts.allow or hosts.deny. read returns the text of a
// file of patterns that a rule names by its path.
func Parse(text string, read func(path string) (string, error)) (*Table, []Problem) {
	p := &parser{read: read, files: map[string][]string{}, table: &Table{unread: [2]int{math.MaxInt, math.MaxInt}}}
	number := 0
	for text != "" && len(p.table.rules) < maxRules {
		first := number + 1
		var line string
		line, text = logicalLine(text, &number)
		if strings.HasPrefix(line, "#") || strings.TrimLeft(line, " \t\r") == "" {
			continue
		}
		p.rule(first, line)
	}
	if text != "" {
		p.tell(number, true, fmt.Errorf("there are more than %d rules: the others don't count", maxRules))
	}
	p.table.index()
	return p.table, p.problems
}

// logicalLine takes a line off a text, with those that it goes on in behind a
// backslash, and counts them.
func logicalLine(text string, number *int) (line, rest string) {
	for {
		*number++
		part, after, _ := strings.Cut(text, "\n")
		part = strings.TrimSuffix(part, "\r")
		text = after
		more, goesOn := strings.CutSuffix(part, `\`)
		line += more
		if !goesOn || text == "" {
			return line, text
		}
	}
}

func (p *parser) tell(line int, fatal bool, err error) {
	p.problems = append(p.problems, Problem{line, err, fatal})
}

// rule reads a line. One for other services is looked at no further than that: it
// may hold what only they understand.
func (p *parser) rule(number int, line string) {
	fields := splitFields(line)
	r := rule{line: number}
	p.line = number
	servers, err := parseList(fields[0], p.server)
	if err != nil {
		p.tell(number, true, fmt.Errorf("services: %w", err))
		return
	}
	if !servers.has(func(s *server) bool { return s.isUs() }) {
		return
	}
	r.servers = servers
	if len(fields) < 2 {
		p.tell(number, true, errors.New("want SERVICES : CLIENTS, with a colon"))
		return
	}
	r.clients, err = parseList(fields[1], p.patterns)
	unread := (*unreadError)(nil)
	if err != nil {
		p.tell(number, true, fmt.Errorf("clients: %w", err))
		if !errors.As(err, &unread) {
			return
		}
	}
	for _, option := range fields[2:] {
		if err := p.option(&r, strings.TrimSpace(option)); err != nil {
			p.tell(number, true, err)
			return
		}
	}
	if unread != nil {
		p.missed(&r)
		return
	}
	r.byName = r.clients.any(func(c *pattern) bool { return c.kind != all && c.kind != network })
	p.table.rules = append(p.table.rules, r)
}

// unreadError is why a file of patterns can't be read.
type unreadError struct{ error }

func (e *unreadError) Unwrap() error { return e.error }

// missed notes a rule whose clients are not known: it doesn't count, and who is
// denied behind it may be one whom it lets in.
func (p *parser) missed(r *rule) {
	for of, deny := range []bool{false, true} {
		if !r.denies(deny) {
			p.table.unread[of] = min(p.table.unread[of], len(p.table.rules))
		}
	}
}

// splitFields splits a line at its colons, but those within brackets or behind a
// backslash.
func splitFields(line string) []string {
	var fields []string
	var b strings.Builder
	depth := 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == ':':
			i++
			b.WriteByte(':')
		case c == ':' && depth == 0:
			fields = append(fields, b.String())
			b.Reset()
		default:
			switch c {
			case '[':
				depth++
			case ']':
				depth = max(depth-1, 0)
			}
			b.WriteByte(c)
		}
	}
	return append(fields, b.String())
}

// server reads a word of the list of services: a name, or name@host. One that is told may
// have been meant for us.
func (p *parser) server(word string) ([]server, error) {
	name, host, at := strings.Cut(word, "@")
	s := server{service: smtp.Fold(name)}
	if s.service == "all" {
		s.service = ""
	}
	if at {
		of, err := parsePattern(host)
		if err != nil {
			return nil, err
		}
		s.at = &of
	}
	if s.isUs() {
		return []server{s}, nil
	}
	if near := nearest.Within(1, s.service, []string{Service, otherName, "all", "except"}); near != "" {
		p.tell(p.line, false, fmt.Errorf("%s is another service: is %s meant?", name, near))
	} else if slices.Contains(mailServers, s.service) {
		p.tell(p.line, false, fmt.Errorf("%s is another service: rules for this server are for %s", name, Service))
	}
	return []server{s}, nil
}

// mailServers are names under which rules for a mail server may stand from before.
var mailServers = []string{"postoffice", "sendmail", "postfix", "exim", "exim4", "qmail-smtpd", "opensmtpd", "submission", "smtps", "msp", "msps"}

// isUs reports whether the pattern can mean us.
func (s *server) isUs() bool {
	return s.service == "" || globs(s.service, Service) || globs(s.service, otherName)
}

// patterns reads a word of the list of clients, which may be the path of a file of
// such words.
func (p *parser) patterns(word string) ([]pattern, error) {
	if !strings.HasPrefix(word, "/") {
		one, err := parsePattern(word)
		p.doubt(word, one)
		return []pattern{one}, err
	}
	inside, ok := p.files[word]
	if !ok {
		if len(p.files) == maxIncluded {
			return nil, fmt.Errorf("%s: more than %d files are named", word, maxIncluded)
		}
		text, err := p.read(word)
		if err != nil {
			return nil, &unreadError{err}
		}
		inside = strings.Fields(text)
		p.files[word] = inside
		p.table.Files = append(p.table.Files, word)
	}
	patterns := make([]pattern, 0, len(inside))
	for _, w := range inside {
		if strings.HasPrefix(w, "/") {
			return nil, fmt.Errorf("%s: a file of patterns names another one", word)
		}
		one, err := parsePattern(w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		p.doubt(w, one)
		patterns = append(patterns, one)
	}
	return patterns, nil
}

// doubt tells of a word that is a host's name and looks as if something else were meant.
// It counts: what else stands in its line does too.
func (p *parser) doubt(word string, one pattern) {
	if one.kind != exact {
		return
	}
	near := nearest.Within(1, word, []string{"all", "local", "known", "unknown", "paranoid", "except"})
	switch {
	case strings.Trim(word[strings.LastIndexByte(word, '.')+1:], "0123456789") == "":
		p.tell(p.line, false, fmt.Errorf("%s is no address, and no host has such a name: write the beginning of an address with a dot at its end, as in 192.0.2. for a network", word))
	case near != "":
		p.tell(p.line, false, fmt.Errorf("%s is a host's name: is %s meant?", word, near))
	case strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "":
		p.tell(p.line, false, fmt.Errorf("%s is a host's name: the words are ALL, LOCAL, KNOWN, UNKNOWN, PARANOID and EXCEPT", word))
	}
}

// option reads one of the fields behind the list of clients.
func (p *parser) option(r *rule, text string) error {
	name, value := text, ""
	if i := strings.IndexAny(text, " \t="); i >= 0 {
		name, value = text[:i], strings.TrimLeft(text[i:], " \t")
		value = strings.TrimSpace(strings.TrimPrefix(value, "=")) // "option = value" is the same
	}
	switch name = smtp.Fold(name); name {
	case "":
	case "allow":
		r.says = grants
	case "deny":
		r.says = denies
	case "setenv":
		variable, text, _ := strings.Cut(value, " ")
		if variable != "WHY" && variable != "DENY" {
			p.tell(r.line, false, fmt.Errorf("setenv %s means nothing here: the reasons are WHY and DENY", variable))
			return nil
		}
		r.why, r.cut = strings.TrimSpace(text), variable == "DENY"
	case "twist":
		r.says = denies
		p.tell(r.line, true, errors.New("no command is run from here: the client is refused; setenv WHY gives it a reason"))
	case "spawn":
		p.tell(r.line, true, errors.New("no command is run from here: take spawn away, or watch the log"))
	case "severity", "keepalive", "linger", "rfc931", "banners", "nice", "umask", "user", "group", "aclexec":
		p.tell(r.line, false, fmt.Errorf("%s means nothing here", name))
	default:
		p.tell(r.line, true, errors.New("what stands behind the clients is no option; commands are not run from here, and an address of IPv6 stands in [ and ]"))
	}
	return nil
}
