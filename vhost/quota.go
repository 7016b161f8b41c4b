package vhost

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"postoffice/internal/smtp"
)

// The words behind passwd(5)'s fields that say how much a mailbox may have, as Dovecot
// reads them: to 2.3 a rule, where storage is counted in KiB, from 2.4 on a size.
const (
	ruleWord = "userdb_quota_rule="
	sizeWord = "userdb_quota_storage_size="
)

// Quota is how many octets the user's mailbox may have by the line; 0: it says nothing;
// Unbound.
func (u User) Quota() (octets int64, err error) {
	for _, w := range u.extra() {
		ok := true
		n := int64(0)
		if rule, is := strings.CutPrefix(w, ruleWord); is {
			n, ok = ruleSize(rule)
		} else if size, is := strings.CutPrefix(w, sizeWord); is {
			n, ok = sizeOf(size, 1)
		}
		if !ok {
			return 0, fmt.Errorf("%q says no size, want %s*:storage=1G or %s1G", smtp.Printable(w, 100), ruleWord, sizeWord)
		}
		if n != 0 {
			octets = n
		}
	}
	return octets, nil
}

// ruleSize reads a rule such as *:storage=1G:messages=1000. Those of single folders say
// nothing, and neither does a number of messages.
func ruleSize(rule string) (octets int64, ok bool) {
	folder, limits, ok := strings.Cut(rule, ":")
	if folder != "*" {
		return 0, ok
	}
	for _, limit := range strings.Split(limits, ":") {
		name, value, _ := strings.Cut(limit, "=")
		n, known := int64(0), true
		switch smtp.Fold(name) {
		case "storage":
			n, known = sizeOf(value, 1<<10)
		case "bytes":
			n, known = sizeOf(value, 1)
		case "ignore":
			n = Unbound
		}
		if !known {
			return 0, false
		}
		if n != 0 {
			octets = n
		}
	}
	return octets, ok
}

// QuotaSize is a size as people write it, in octets or with a letter, as each of the words
// above has it; 0 is no bound.
func QuotaSize(text string) (string, error) {
	n, ok := sizeOf(text, 1)
	switch {
	case !ok:
		return "", fmt.Errorf("%q is no size, want one such as 500M or 2G, or 0 for no bound", smtp.Printable(text, 40))
	case n == Unbound:
		return "0", nil
	case strings.Trim(text, "0123456789") == "":
		return text + "B", nil
	}
	return text, nil
}

// sizeOf reads a number with a letter behind it, in units without one; 0 is Unbound.
func sizeOf(s string, unit int64) (octets int64, ok bool) {
	letters := strings.TrimLeft(s, "0123456789")
	switch smtp.Fold(letters) {
	case "":
	case "b":
		unit = 1
	case "k", "kb", "kib":
		unit = 1 << 10
	case "m", "mb", "mib":
		unit = 1 << 20
	case "g", "gb", "gib":
		unit = 1 << 30
	case "t", "tb", "tib":
		unit = 1 << 40
	default:
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(s, letters), 10, 63)
	switch {
	case err != nil || n > math.MaxInt64/uint64(unit):
		return 0, false
	case n == 0:
		return Unbound, true
	}
	return int64(n) * unit, true
}
