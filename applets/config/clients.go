package config

import (
	"fmt"
	"slices"
	"strings"

	"postoffice/internal/smtp"
)

// Everybody is what option trusted says where every client may relay. It is written as a
// word, so that no network that is mistyped says it.
const Everybody = "everybody"

// everyNetwork are the networks that Everybody stands for.
var everyNetwork = []string{"0.0.0.0/0", "::/0"}

// TrustsEverybody reports whether any client may relay.
func (c *Config) TrustsEverybody() bool { return isEverybody(c.Trusted) }

// ExemptsEverybody reports whether greylist-exempt-clients names the whole network.
func (c *Config) ExemptsEverybody() bool { return isEverybody(c.GreylistClients) }

func isEverybody(list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(everyNetwork, s) })
}

// clientsValue is a list of clients that are believed: none of its networks is as good as
// everybody.
type clientsValue struct {
	listValue
	word   string // that means everybody; "": nothing does
	danger string // what everybody could do
}

func clients(p *[]string, check func(string) (string, bool), want, word, danger string) value {
	return clientsValue{listValue{p, check, want}, word, danger}
}

func (v clientsValue) String() string {
	if !isEverybody(*v.p) {
		return v.listValue.String()
	}
	some := slices.DeleteFunc(slices.Clone(*v.p), func(s string) bool { return slices.Contains(everyNetwork, s) })
	return strings.Join(append(some, v.word), ",")
}

func (v clientsValue) set(s string) error {
	var good []string
	for _, item := range items(s) {
		if v.word != "" && smtp.EqualFold(item, v.word) {
			good = append(good, everyNetwork...)
			continue
		}
		one, ok := v.check(item)
		if p, is := smtp.ParseNetwork(item); is && tooWide(p) {
			return v.wide(item)
		}
		if _, is := smtp.ParseNetwork(item); !ok || !is && numeric(item) {
			return v.wrong(item)
		}
		good = append(good, one)
	}
	*v.p = append(*v.p, good...)
	return nil
}

// wide is the error for a network that is as good as everybody.
func (v clientsValue) wide(item string) error {
	but := ""
	if v.word != "" {
		but = fmt.Sprintf(", or write %s where nobody else can reach this machine", v.word)
	}
	return fmt.Errorf("%s is as good as everybody: %s; name the networks that are meant%s", item, v.danger, but)
}

// numeric reports whether a word is more like an address than like a name.
func numeric(item string) bool {
	address, _, _ := strings.Cut(item, "/")
	return strings.Trim(address, "0123456789.*-") == ""
}

// wrong is the error for a word that is no client.
func (v clientsValue) wrong(item string) error {
	if numeric(item) {
		return fmt.Errorf("%q is no address and no network: write all of an address, and of a network its length, as 192.0.2.0/24", item)
	}
	return wrong(v, item)
}
