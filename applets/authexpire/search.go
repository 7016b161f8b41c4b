package authexpire

import (
	"context"
	"net/netip"
	"strings"

	"postoffice/applets/cmdline"
	"postoffice/applets/smtpd/greylist"
	"postoffice/internal/smtp"
)

// query is whom somebody asks about.
type query struct {
	text   string     // as it was written
	key    string     // "" where the address of a client is meant
	user   string     // of the key, what stands before the last @
	client netip.Addr // of the key, or alone; none: an address of mail, a network or a pool
}

// readQuery reads a key, an address of mail, or one of a client.
func readQuery(text string) (query, error) {
	trimmed := strings.TrimSpace(text)
	if a, err := netip.ParseAddr(trimmed); err == nil {
		return query{text: text, client: a.Unmap()}, nil
	}
	if a, ok := smtp.ParseLiteral(trimmed); ok {
		return query{text: text, client: a}, nil
	}
	if len(trimmed) > maxKey || !strings.Contains(trimmed, "@") {
		return query{}, cmdline.Usagef("%.40q is no key as user@[ip], no address of mail, and no IP address", text)
	}
	q := query{text: text, key: greylist.Canonical(strings.Trim(trimmed, "<>"))}
	if strings.HasPrefix(trimmed, nullUser+"@") {
		q.key = greylist.Canonical(trimmed)
	}
	at := strings.LastIndexByte(q.key, '@')
	q.user = q.key[:at]
	q.client, _ = smtp.ParseLiteral(q.key[at+1:])
	return q, nil
}

// nullUser stands in a key for the null sender.
const nullUser = "<>"

// isAddress reports whether an address of mail is meant.
func (q query) isAddress() bool {
	return q.key != "" && !strings.HasPrefix(q.key[strings.LastIndexByte(q.key, '@')+1:], "[")
}

// find calls each with the records that are about a query.
func (q query) find(ctx context.Context, records greylist.Store, each func(key, value string) error) error {
	mine := q.user + "@["
	switch {
	case q.key == "":
		return under(ctx, records, "", q.holds, each)
	case q.client.IsValid(): // that address, a network around it, or a pool, whose addresses DNS knows
		err := under(ctx, records, "@[", q.holds, each) // of all new senders of an address that has too many
		if err != nil {
			return err
		}
		return under(ctx, records, mine, func(key string) bool {
			_, isNetwork := networkOf(key)
			return key == q.key || !isNetwork || q.holds(key)
		}, each)
	}
	value, there, err := records.Get(ctx, q.key)
	if err == nil && there {
		err = each(q.key, value)
	}
	if err != nil || strings.HasPrefix(q.key, mine) {
		return err
	}
	return under(ctx, records, mine, func(string) bool { return true }, each)
}

// under calls each with the records whose keys begin with a prefix and that are meant.
func under(ctx context.Context, records greylist.Store, prefix string, meant func(key string) bool, each func(key, value string) error) error {
	var failed error
	err := records.Scan(ctx, strings.TrimSuffix(prefix, "["), func(key, value string) bool {
		if key < prefix {
			return true
		}
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		if meant(key) {
			failed = each(key, value)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// holds reports whether a key has the client's address, or a network around it.
func (q query) holds(key string) bool {
	network, ok := networkOf(key)
	return ok && network.Contains(q.client)
}

// networkOf reads the address or the network in brackets at the end of a key; ok is false
// for the name of a pool, and for a domain.
func networkOf(key string) (netip.Prefix, bool) {
	literal, ok := strings.CutPrefix(key[strings.LastIndexByte(key, '@')+1:], "[")
	literal, end := strings.CutSuffix(literal, "]")
	network, is := smtp.ParseNetwork(strings.TrimPrefix(smtp.Fold(literal), "ipv6:"))
	return network, ok && end && is
}
