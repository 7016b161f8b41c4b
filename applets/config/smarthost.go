package config

import (
	"fmt"
	"slices"
	"strings"

	"postoffice/internal/filterline"
	"postoffice/internal/smarthost"
)

// smarthostValue is a smarthost. What is wrong is told without the text, in which
// somebody may have put a password.
type smarthostValue struct {
	scalar
	p *string
}

func (v smarthostValue) want() string {
	return "submissions://user@host, or host or [address] with :port"
}
func (v smarthostValue) String() string { return *v.p }

func (v smarthostValue) set(s string) error {
	if s == "" {
		*v.p = ""
		return nil
	}
	h, err := smarthost.Parse(s)
	if err != nil {
		return err
	}
	*v.p = h.String()
	return nil
}

// trustValue is which smarthost is the right one.
type trustValue struct {
	scalar
	p *string
}

func (v trustValue) want() string   { return "fingerprint:SHA256:DIGITS, absolute path or none" }
func (v trustValue) String() string { return *v.p }

func (v trustValue) set(s string) error {
	t, err := smarthost.ParseTrust(s)
	*v.p = t.String()
	return err
}

// filtersValue are mail filters.
type filtersValue struct{ p *[]filterline.Filter }

func (v filtersValue) clear()       { *v.p = nil }
func (v filtersValue) adds() bool   { return true }
func (v filtersValue) want() string { return filterline.Words }

func (v filtersValue) String() string {
	var all []string
	for _, f := range *v.p {
		all = append(all, f.String())
	}
	return strings.Join(all, " ")
}

func (v filtersValue) set(s string) error {
	more, err := filterline.Parse(s, filter)
	if err != nil {
		return err
	}
	all := slices.Concat(*v.p, more)
	if name := filterline.Twice(all); name != "" {
		return fmt.Errorf("two filters are called %s, want a name= for one of them", name)
	}
	*v.p = all
	return nil
}
