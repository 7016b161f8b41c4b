package masquerade

import (
	"log/slog"
	"net/netip"

	"postoffice/internal/smtp"
	"postoffice/internal/watched"
	"postoffice/spool/envelope"
)

// Options are the settings of Names.
type Options struct {
	Domain string                   // stands for this machine's names; "" none does
	File   string                   // of option sender-map; "" none
	OurOwn func(domain string) bool // whether a domain is a name of this machine
	Ours   func(netip.Addr) bool    // whether an address is one of this machine's
	Log    *slog.Logger
}

// Names say which address stands for which.
type Names struct {
	o    Options
	file watched.File[table]
}

// New returns Names; nil where no option asks for any.
func New(o Options) *Names {
	if o.Domain == "" && o.File == "" {
		return nil
	}
	n := &Names{o: o}
	n.file.Path, n.file.Most, n.file.Missed, n.file.Must = o.File, maxFile, missed, true
	return n
}

const missed = "senders stay as they are"

// Check tells of the lines of a file that can't be understood, with their numbers. The
// error says why the file can't be read, what that means and what to do.
func Check(file string, tell func(line int, what string)) error {
	text, err := watched.Check(file, maxFile, missed, true)
	if err == nil {
		parse(text, tell)
	}
	return err
}

// Own reports whether a message came into being here: a program of this machine has
// submitted it, over a socket or a port, or it is a report of ours, whose client is no
// address of the network.
func (n *Names) Own(client string) bool {
	if n == nil {
		return false
	}
	if _, ok := envelope.ClientUID(client); ok {
		return true
	}
	a, ok := envelope.ClientAddr(client)
	return !ok || a.IsLoopback() || n.o.Ours(a)
}

// Path returns what stands for a sender, which may be the same.
func (n *Names) Path(p smtp.Path) smtp.Path {
	if n == nil || p.IsNull() {
		return p
	}
	own := p.Domain == "" || n.o.OurOwn(p.Domain)
	if to, ok := n.table().find(p, own); ok {
		return to
	}
	if own && n.o.Domain != "" {
		p.Domain = n.o.Domain
	}
	return p
}

// table is what the file says now.
func (n *Names) table() table {
	if n.o.File == "" {
		return table{}
	}
	t, _ := n.file.Get(func(text string) table { return parse(text, n.tell) }, func(err error, advice string) {
		n.tell(0, err.Error()+": "+advice)
	})
	return t
}
