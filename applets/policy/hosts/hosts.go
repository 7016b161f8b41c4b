package hosts

import (
	"net/netip"
	"os"
	"strconv"
	"strings"

	"postoffice/internal/smtp"
)

// Client is what is known of one who connects.
type Client struct {
	Addr   netip.Addr // never IPv4-mapped
	Name   string     // verified: it leads back to Addr; "" is none
	Forged bool       // Addr has a name that doesn't lead back
	Unsure bool       // what name Addr has is not known now
	Server netip.Addr // the address of ours that was connected to
}

// A Verdict is what the two files say of a client.
type Verdict struct {
	Denied bool
	Unsure bool   // it is denied, and what is not known now may let it in: its name, or what a file says (B38)
	Reason string // of a rule's WHY or DENY, its % sequences expanded; "" is none
	Cut    bool   // the reason was given as DENY: the connection is to end with it
	Deny   bool   // the rule stands in hosts.deny
	Line   int    // of the rule; 0: no rule matches
}

// Judge says whether a client may connect: the first rule of allow that matches
// grants it, else the first of deny denies it, else it may (hosts_access(5)). A
// rule with the option allow or deny says so itself. A nil table has no rules.
// Who has a name that isn't known now has none for a rule, and for UNKNOWN has one.
func Judge(allow, deny *Table, c Client) Verdict {
	c.Name = smtp.Fold(strings.TrimSuffix(c.Name, "."))
	unsure := false
	for _, t := range []struct {
		table *Table
		deny  bool
	}{{allow, false}, {deny, true}} {
		i := t.table.find(c)
		unsure = unsure || t.table.mayGrant(i, t.deny, c.Unsure)
		if i == t.table.count() {
			continue
		}
		r := &t.table.rules[i]
		v := Verdict{Denied: r.denies(t.deny), Deny: t.deny, Line: r.line}
		if v.Denied {
			v.Reason, v.Cut = expand(r.why, c), r.cut
			v.Unsure = unsure || c.Unsure && r.byName
		}
		return v
	}
	return Verdict{}
}

// expand replaces the % sequences of hosts_access(5). All that they stand for is
// known by address, or verified.
func expand(text string, c Client) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "%")
		b.WriteString(before)
		if !found || after == "" {
			return b.String()
		}
		b.WriteString(sequence(after[0], c))
		text = after[1:]
	}
}

// sequence returns what %x stands for; of letters without a meaning, themselves.
func sequence(x byte, c Client) string {
	host := c.Name
	if host == "" {
		host = c.Addr.String()
	}
	switch x {
	case 'a':
		return c.Addr.String()
	case 'A':
		return c.Server.String()
	case 'c', 'h':
		return host
	case 'd':
		return Service
	case 'H':
		return c.Server.String()
	case 'n':
		switch {
		case c.Name != "":
			return c.Name
		case c.Forged:
			return "paranoid"
		}
		return "unknown"
	case 'p':
		return strconv.Itoa(os.Getpid())
	case 's':
		return Service + "@" + c.Server.String()
	case 'u':
		return "unknown"
	}
	return string(x)
}
