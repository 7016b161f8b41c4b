package preflight

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postoffice/applets/config"
)

const (
	longDelay   = 19 * time.Hour // five times that is the time after which senders give up (RFC 5321 section 4.5.4.1: four to five days)
	shortAge    = 36 * time.Hour // who writes once a day, at another hour each time, comes within that
	shortWindow = 5 * time.Hour  // longer than the pause between two tries of most servers (RFC 5321 section 4.5.4.1: 30 minutes and more, later two to three hours)
)

// Greylist finds what is odd in the options of a greylist that is used.
func Greylist(c *config.Config) (all []Finding) {
	if c.Greylist == config.GreylistOff {
		return nil
	}
	odd := func(is bool, option, hint, format string, args ...any) {
		if is {
			p := config.Path{Option: option, Where: c.Settings()[config.Index(option)].Origin}
			all = append(all, Found(Odd, p, fmt.Errorf(format, args...), hint))
		}
	}
	given := func(option string) bool { return c.Settings()[config.Index(option)].Origin != "default" }
	odd(c.Delay > longDelay, "delay", "an hour is enough", "the null sender from a client without a name waits five times %s, and servers give up after four or five days: reports would be lost", spanText(c.Delay))
	odd(c.GreylistAge < shortAge, "greylist-age", "write some days at least, as greylist-age=14d", "who writes once a day is forgotten before the next message, and waits each time")
	odd(c.GreylistNullWindow > 0 && c.GreylistNullWindow < shortWindow, "greylist-null-window", "0 lets it pass any time after its wait", "a server that tries again later than %s after the wait has to wait anew, and most pause for longer: reports may never come", spanText(c.GreylistNullWindow))
	odd(c.GreylistFrom && c.GreylistNetwork != "no", "greylist-network", "take one of the two out", "with greylist-from it counts for the null sender alone: others are known by their whole address, from wherever they come")
	odd(c.GreylistFrom && given("greylist-pools"), "greylist-pools", "take one of the two out", "with greylist-from pools count for the null sender alone: others are known by their whole address, from wherever they come")
	odd(c.ExemptsEverybody(), "greylist-exempt-clients", "name the networks of those who are to pass, or write greylist=off", "everybody passes, and the greylist is asked about nobody")
	for _, s := range c.GreylistSenders {
		_, domain, _ := strings.Cut(s, "@")
		odd(slices.Contains(c.LocalDomains, domain), "greylist-exempt-senders", "take it out: our own users log in, or are in trusted, and never wait", "anybody can claim %s, and junk does, since it is of a domain of ours", s)
	}
	for _, s := range c.GreylistRecipients {
		_, domain, _ := strings.Cut(s, "@")
		odd(s[0] == '@' && len(c.LocalDomains) == 1 && domain == c.LocalDomains[0], "greylist-exempt-recipients", "name single addresses, or write greylist=off", "%s is all that this server takes mail for, so that nobody waits", s)
	}
	return all
}

// spanText is a time as an option has it.
func spanText(d time.Duration) string {
	text := strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	if hours, is := strings.CutSuffix(text, "h0m"); is {
		return hours + "h"
	}
	return text
}
