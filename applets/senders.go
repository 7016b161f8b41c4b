package applets

import (
	"slices"
	"strconv"
	"strings"

	"postoffice/internal/config"
	"postoffice/internal/smtp"
	"postoffice/internal/smtpd"
)

// senders says whose word is taken for a reverse-path (original.md 1.1: -f).
type senders struct {
	trusted []string // account names
	domains []string // in which an account's name is its user's own address
}

func newSenders(conf *config.Config, self string) senders {
	return senders{
		trusted: append([]string{conf.ServerUser}, conf.TrustedUsers...),
		domains: append([]string{self, "localhost"}, conf.LocalDomains...),
	}
}

// own says whether the program's user may send as from without a word about it
// in the header: root and trusted users as anybody, all others as themselves.
func (s senders) own(c *smtpd.Client, from smtp.Path) bool {
	if c.UID == 0 || slices.Contains(s.trusted, c.User) {
		return true
	}
	// In a chroot without accounts sendmail knows the caller by number alone.
	himself := from.Local == c.User || from.Local == "uid-"+strconv.Itoa(c.UID)
	return himself && slices.ContainsFunc(s.domains, func(d string) bool { return strings.EqualFold(d, from.Domain) })
}
