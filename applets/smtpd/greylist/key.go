package greylist

import (
	"net/netip"
	"strconv"
	"strings"

	"postoffice/internal/smtp"
)

// nullSender stands in a key for the sender <>.
const nullSender = "<>"

// Keys are those under which a question's records are, the one under which a first contact
// is written first: that of the pool that the client is of, or of its address; then that of
// its address, where records were before the pool was known; that of all new senders of the
// address, if it has too many; and last the whole sender, under which somebody may have
// allowed or forbidden it by hand.
func Keys(q Question, o Rules) []string {
	keys := make([]string, 0, 4)
	whole := smtp.Fold(q.Sender.String())
	switch {
	case q.Sender.IsNull():
		if q.Pool != "" {
			keys = append(keys, nullSender+"@["+q.Pool+"]")
		}
		return append(keys, nullSender+"@"+o.Network(q.Client))
	case o.From:
		return append(keys, whole, o.AddressKey(q.Client))
	}
	user := smtp.Fold(smtp.Path{Local: q.Sender.Local}.String())
	if q.Pool != "" {
		keys = append(keys, user+"@["+q.Pool+"]")
	}
	keys = append(keys, user+"@"+o.Network(q.Client), o.AddressKey(q.Client))
	if !smtp.IsLiteral(q.Sender.Domain) { // that would be another client's
		keys = append(keys, whole)
	}
	return keys
}

// AddressKey is the key of all new senders of an address that has too many of them. No
// sender has it.
func (o Rules) AddressKey(a netip.Addr) string { return "@" + o.Network(a) }

// Network is an address, or the network around it, as it stands in a key.
func (o Rules) Network(a netip.Addr) string {
	bits := o.Bits4
	if a.Is6() {
		bits = o.Bits6
	}
	if bits <= 0 || bits >= a.BitLen() {
		return smtp.Fold(smtp.FormatLiteral(a))
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return smtp.Fold(smtp.FormatLiteral(a)) // none of those that a client has
	}
	text := strings.TrimSuffix(smtp.FormatLiteral(p.Addr()), "]")
	return smtp.Fold(text + "/" + strconv.Itoa(bits) + "]")
}

// Canonical is a key as it stands in the store, of one that a person wrote: in lower case,
// and an address in brackets as smtp.FormatLiteral writes it.
func Canonical(key string) string {
	key = smtp.Fold(strings.TrimSpace(key))
	at := strings.LastIndexByte(key, '@')
	if at < 0 {
		return key
	}
	if a, ok := smtp.ParseLiteral(key[at+1:]); ok {
		return key[:at+1] + smtp.Fold(smtp.FormatLiteral(a))
	}
	return key
}

// Imported is a record of another store, as of the first postoffice's file, as it is kept
// here: there letter case counted, and strings ended with a NUL.
func Imported(key, value string) (string, string) {
	return Canonical(strings.TrimRight(key, "\x00")), strings.TrimRight(value, "\x00")
}

// Merged is what is known of a key that two records are about: what somebody decided by
// hand, a ban before an approval; then who has passed, then whose wait ends first. Text that
// is no record counts for nothing.
func Merged(a, b string) string {
	x, errX := ParseRecord(a)
	y, errY := ParseRecord(b)
	switch {
	case errY != nil:
		return a
	case errX != nil:
		return b
	}
	for _, first := range []func(Record) bool{
		func(r Record) bool { return r.Forbidden },
		func(r Record) bool { return r.Hand },
		Record.HasPassed,
	} {
		if first(x) != first(y) {
			if first(x) {
				return a
			}
			return b
		}
	}
	if x.Allowed <= y.Allowed {
		return a
	}
	return b
}

// IsNullKey reports whether a key is of the null sender.
func IsNullKey(key string) bool { return strings.HasPrefix(key, nullSender+"@") }
