package filterline

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postoffice/internal/smtp"
)

// A Filter is one filter of option filter.
type Filter struct {
	Address string // /socket, host:port or [ipv6]:port
	Name    string // in log and replies; the address where none was given
	Connect time.Duration
	Command time.Duration
	Message time.Duration
	Fail    Failure
	Ports   []int          // of ours, to which a client came; none: all
	Clients []netip.Prefix // whose mail it sees; none: everybody's
	For     Mail
}

// Failure is what becomes of mail that a filter should have seen and can't.
type Failure string

// What may be given by fail=.
const (
	Open       Failure = "open" // it goes on without the filter
	Tempfail   Failure = "tempfail"
	Reject     Failure = "reject"
	Quarantine Failure = "quarantine" // it is taken, and held
)

// Mail is which mail a filter sees.
type Mail string

// What may be given by for=.
const (
	All       Mail = "all"
	Received  Mail = "received"  // from strangers
	Submitted Mail = "submitted" // from our own: trusted clients, and who has logged in
)

// Times of a filter where its line has none.
const (
	defConnect = 10 * time.Second
	defCommand = 10 * time.Second
	defMessage = 5 * time.Minute
)

// maxTime is the most that a line may give: a client waits so long behind its message (RFC
// 5321 section 4.5.3.2.6).
const maxTime = 10 * time.Minute

// Words is what Parse wants, for messages.
const Words = "/socket or host:port, and behind that name=, connect=, command=, message=, fail=open|tempfail|reject|quarantine, ports=, clients= or for=received|submitted|all"

// Parse reads filters: addresses, parted by blanks or commas, and behind each the words
// that are about it. address gives an address in its one form.
func Parse(text string, address func(string) (string, bool)) ([]Filter, error) {
	var all []Filter
	for word := range strings.FieldsSeq(text) {
		key, value, set := strings.Cut(word, "=")
		if !set || word[0] == '/' {
			for a := range strings.FieldsFuncSeq(word, func(r rune) bool { return r == ',' }) {
				good, ok := address(a)
				if !ok {
					return nil, fmt.Errorf("want %s, got %q", Words, a)
				}
				all = append(all, Filter{Address: good, Name: good, Connect: defConnect, Command: defCommand, Message: defMessage, Fail: Open, For: All})
			}
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("want an address in front of %s", word)
		}
		if err := all[len(all)-1].set(key, value); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// set takes a word.
func (f *Filter) set(key, value string) (err error) {
	switch smtp.Fold(key) {
	case "name":
		if !isName(value) {
			return fmt.Errorf("name=: want letters, digits, - and _, at most %d, got %q", maxName, value)
		}
		f.Name = value
	case "connect":
		f.Connect, err = span(key, value)
	case "command":
		f.Command, err = span(key, value)
	case "message":
		f.Message, err = span(key, value)
	case "fail":
		f.Fail, err = choice(key, value, Open, Tempfail, Reject, Quarantine)
	case "for":
		f.For, err = choice(key, value, All, Received, Submitted)
	case "ports":
		f.Ports = nil
		for p := range strings.SplitSeq(value, ",") {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return fmt.Errorf("ports=: want numbers of ports with commas between them, got %q", value)
			}
			f.Ports = append(f.Ports, int(n))
		}
	case "clients":
		f.Clients = nil
		for c := range strings.SplitSeq(value, ",") {
			p, ok := smtp.ParseNetwork(c)
			if !ok {
				return fmt.Errorf("clients=: want addresses and networks with commas between them, got %q", c)
			}
			f.Clients = append(f.Clients, p)
		}
	default:
		return fmt.Errorf("no word %s=: want %s", key, Words)
	}
	return err
}

// maxName bounds a name, which stands in each line of the log about its filter.
const maxName = 40

func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(smtp.Fold(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func span(key, value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < time.Millisecond || d > maxTime {
		return 0, fmt.Errorf("%s=: want a time as 10s or 5m, at most 10m, got %q", key, value)
	}
	return d, nil
}

func choice[T ~string](key, value string, all ...T) (T, error) {
	if v := T(smtp.Fold(value)); slices.Contains(all, v) {
		return v, nil
	}
	return "", fmt.Errorf("%s=: want one of %v, got %q", key, all, value)
}

// String is the filter as Parse reads it.
func (f Filter) String() string {
	var b strings.Builder
	b.WriteString(f.Address)
	add := func(differs bool, key, value string) {
		if differs {
			b.WriteString(" " + key + "=" + value)
		}
	}
	add(f.Name != f.Address, "name", f.Name)
	add(f.Connect != defConnect, "connect", f.Connect.String())
	add(f.Command != defCommand, "command", f.Command.String())
	add(f.Message != defMessage, "message", f.Message.String())
	add(f.Fail != Open, "fail", string(f.Fail))
	add(len(f.Ports) > 0, "ports", join(f.Ports, strconv.Itoa))
	add(len(f.Clients) > 0, "clients", join(f.Clients, netip.Prefix.String))
	add(f.For != All, "for", string(f.For))
	return b.String()
}

func join[T any](all []T, text func(T) string) string {
	var b strings.Builder
	for i, v := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(text(v))
	}
	return b.String()
}

// Twice returns a name that two filters have, "" if there is none.
func Twice(all []Filter) string {
	named := slices.SortedFunc(slices.Values(all), func(a, b Filter) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(named); i++ {
		if named[i].Name == named[i-1].Name {
			return named[i].Name
		}
	}
	return ""
}

// Has reports whether the filter sees mail of a client with that address, which came to
// that port of ours.
func (f *Filter) Has(client netip.Addr, port int) bool {
	if len(f.Ports) > 0 && !slices.Contains(f.Ports, port) {
		return false
	}
	in := func(p netip.Prefix) bool { return p.Contains(client.Unmap().WithZone("")) }
	return len(f.Clients) == 0 || slices.ContainsFunc(f.Clients, in)
}
