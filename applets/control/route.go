package control

import (
	"context"
	"errors"
	"slices"
)

// maxAddress bounds an address that is asked about, in octets.
const maxAddress = 1000

// Step is one recipient that an address leads to, and what would become of it.
type Step struct {
	Depth     int    `json:"depth"`            // 0 is the address that was asked for; targets follow their alias one deeper
	Recipient string `json:"recipient"`        // an address, \user, or an item as it stands in an alias file
	File      string `json:"file,omitempty"`   // where it stands
	Line      int    `json:"line,omitempty"`   // in File, counted from 1
	How       string `json:"how"`              // alias, usermap, forward, list, mailbox, program, file, remote or failure
	Name      string `json:"name,omitempty"`   // of an alias, usermap or list; of a forward the user
	Again     bool   `json:"again,omitempty"`  // a list whose members stand above
	Hidden    bool   `json:"hidden,omitempty"` // its targets are not shown to who asks
	Sender    string `json:"sender"`           // the reverse-path it would go out with

	User      string `json:"user,omitempty"` // who writes the mailbox or file, or runs the program
	UID       int    `json:"uid"`            // the user's; -1: nobody's, or not known now
	Extension string `json:"extension,omitempty"`
	Way       string `json:"way,omitempty"` // of a mailbox elsewhere than in mail-dir: mailer, or what option mailbox says

	Quota int64 `json:"quota,omitempty"` // of a mailbox that has a bound: how many octets it may have
	Used  int64 `json:"used,omitempty"`  // and has, where that is known now

	RelayHost string `json:"relay_host,omitempty"` // the option, where it decides
	Routes    string `json:"routes,omitempty"`     // file and line of option routes, where that decides
	Hosts     []Host `json:"hosts,omitempty"`      // in the order in which they would be tried

	Code      int    `json:"code,omitempty"` // of a failure: reply code, enhanced status code, and why
	Status    string `json:"status,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Permanent bool   `json:"permanent,omitempty"` // it would go back to the sender at once
}

// Host is a machine that takes mail, with its addresses in their order.
type Host struct {
	Name  string   `json:"name"`
	Port  int      `json:"port"`
	Addrs []string `json:"addresses"`
}

// route sends the steps of an address as they are found.
func (s *server) route(ctx context.Context, a *answer, peer Peer, req Request) error {
	for step, err := range s.handler.Route(ctx, peer, req) {
		if err != nil {
			return err
		}
		if err := stepLines([]Step{step}, a.line); err != nil {
			return err
		}
	}
	return nil
}

func stepLines(some []Step, write func(line []byte) error) error {
	return inBatches(some, clipStep, write, func(some []Step) frame { return frame{Steps: some} })
}

func clipStep(s Step) Step {
	const most = 20 // hosts, with their addresses
	s.Recipient, s.File, s.Name, s.Sender, s.Reason = clip(s.Recipient), clip(s.File), clip(s.Name), clip(s.Sender), clip(s.Reason)
	s.User, s.Extension, s.RelayHost, s.Status = clip(s.User), clip(s.Extension), clip(s.RelayHost), clip(s.Status)
	s.Hosts = slices.Clone(s.Hosts[:min(len(s.Hosts), most)])
	for i, h := range s.Hosts {
		s.Hosts[i] = Host{Name: h.Name[:min(len(h.Name), 255)], Port: h.Port, Addrs: h.Addrs[:min(len(h.Addrs), most)]}
	}
	return s
}

// Route is where a message to an address, from a sender, would go, in the
// order of a tree that is written down. What can't be asked is an *Error.
func (c *Client) Route(ctx context.Context, address, sender string) ([]Step, error) {
	if max(len(address), len(sender)) > maxAddress {
		return nil, &Error{codeUsage, "the address is too long"}
	}
	var all []Step
	_, err := c.ask(ctx, Request{Do: Route, Address: address, Sender: sender}, collector{steps: func(some []Step) bool {
		all = append(all, some...)
		return true
	}})
	if err == nil && len(all) == 0 {
		err = errors.New("the server knows nothing of the address")
	}
	return all, err
}
