package milter

import "strings"

// The steps that have macros, by the numbers that filters know them by (libmilter's
// SMFIM_…).
const (
	listConnect = iota
	listHelo
	listMail
	listRcpt
	listData
	listEnd
	listEndOfHeader
	lastList = iota - 1
)

// maxMacros bounds a filter's own list of macros for one step: sendmail takes 50
// names, and some forty are known.
const maxMacros = 100

// usual are the macros that go with a step where the filter hasn't asked for others:
// what sendmail and Postfix send by themselves, and the client's address and name.
// Names stand without their braces.
var usual = [lastList + 1]string{
	listConnect: "j v _ daemon_name daemon_addr daemon_port if_name if_addr client_addr client_name client_port client_ptr client_resolve",
	listHelo:    "tls_version cipher cipher_bits cert_subject cert_issuer verify",
	listMail:    "i auth_type auth_authen auth_author auth_ssf mail_mailer mail_host mail_addr",
	listRcpt:    "i rcpt_mailer rcpt_host rcpt_addr",
	listData:    "i",
	listEnd:     "i msg_id",

	listEndOfHeader: "i",
}

// writeMacros sends those of a step's macros that the filter wants, in the order of
// its list or the usual one. A step where there are none has no packet.
func (c *Conn) writeMacros(s Step, macros []Macro) error {
	list := table[s].list
	if list < 0 || len(macros) == 0 {
		return nil
	}
	var wanted [2*maxMacros + 2]string
	parts, size := wanted[:0], 2
	add := func(name string) {
		for _, m := range macros {
			more := len(m.Name) + len(m.Value) + 2
			if bare(m.Name) == name && len(parts) < 2*maxMacros && size+more <= c.terms.chunk {
				parts, size = append(parts, m.Name, m.Value), size+more
				return
			}
		}
	}
	if own := c.lists[list]; own != nil {
		for _, name := range own {
			add(bare(name))
		}
	} else {
		for name := range strings.SplitSeq(usual[list], " ") {
			add(name)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return c.write('D', []byte{table[s].command}, parts...)
}

// bare is a macro's name without its braces.
func bare(name string) string {
	if len(name) > 2 && name[0] == '{' && name[len(name)-1] == '}' {
		return name[1 : len(name)-1]
	}
	return name
}
