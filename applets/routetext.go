package applets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"postoffice/deliver"
	"postoffice/internal/control"
	"postoffice/internal/sysexits"
)

// route is what was found for one address, as JSON.
type route struct {
	Address     string         `json:"address"`
	Deliverable bool           `json:"deliverable"`
	Code        int            `json:"code"`            // exit code, sysexits(3): what would fail first
	Error       string         `json:"error,omitempty"` // why nothing could be found
	Steps       []control.Step `json:"steps,omitempty"`

	err error
}

// judge says what would come of a message.
func (r *route) judge() {
	if r.err != nil {
		r.Code, r.Error = exitStatus(r.err), r.err.Error()
		if e := (*control.Error)(nil); errors.As(r.err, &e) {
			r.Code = e.Code
		}
		return
	}
	for _, s := range r.Steps {
		if s.How == deliver.RouteFailure {
			r.Code = worse(r.Code, failureCode(s))
		}
	}
	r.Deliverable = r.Code == sysexits.OK
}

func failureCode(s control.Step) int {
	switch {
	case !s.Permanent:
		return sysexits.TempFail
	case isStranger(s.Status):
		return sysexits.NoUser
	}
	return sysexits.Unavailable
}

// worse is the one of two exit codes that says more.
func worse(a, b int) int {
	order := []int{sysexits.OK, sysexits.TempFail, sysexits.Usage, sysexits.NoUser, sysexits.Unavailable}
	if i, j := slices.Index(order, a), slices.Index(order, b); i >= 0 && i < j || j < 0 {
		return b
	}
	return a
}

// worseAddress is worse for -bt, which old scripts also give rules to try: what
// is no address is no failure.
func worseAddress(a, b int) int {
	if b == sysexits.Usage {
		return a
	}
	return worse(a, b)
}

func routeJSON(w io.Writer) func(route) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return func(r route) error { return out.Encode(r) }
}

// routeText writes routes as trees of sentences.
func routeText(w io.Writer) func(route) error {
	first := true
	return func(r route) error {
		var b strings.Builder
		if !first {
			b.WriteByte('\n')
		}
		first = false
		if r.err != nil {
			fmt.Fprintf(&b, "%s: %s\n", printed(r.Address), printed(r.Error))
		}
		var senders []string // of the steps above
		for _, s := range r.Steps {
			depth := max(min(s.Depth, len(senders)), 0)
			senders = senders[:depth]
			b.WriteString(strings.Repeat("  ", depth) + printed(sentence(s)))
			if depth > 0 && senders[depth-1] != s.Sender {
				b.WriteString("; reports go to " + printed(s.Sender))
			}
			b.WriteByte('\n')
			senders = append(senders, s.Sender)
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
}

// sentence says what becomes of one recipient.
func sentence(s control.Step) string {
	who := s.Recipient
	if s.File != "" {
		who += " (" + s.File + ":" + strconv.Itoa(s.Line) + ")"
	}
	hidden, again := "", ""
	if s.Hidden {
		hidden = ", for whom is not shown to you"
	}
	if s.Again {
		again = ", whose members stand above"
	}
	switch s.How {
	case deliver.RouteAlias:
		return who + ": alias " + s.Name + hidden
	case deliver.RouteUsermap:
		return who + ": mapped by usermap " + s.Name + hidden
	case deliver.RouteForward:
		return who + ": forwarded by " + s.Name + hidden
	case deliver.RouteList:
		return who + ": list" + again + hidden
	case deliver.RouteMailbox:
		if s.Way != "" {
			return who + ": mailbox of " + owner(s) + ", by " + s.Way
		}
		return who + ": mailbox of " + owner(s)
	case deliver.RouteProgram:
		return who + ": program, run as " + owner(s)
	case deliver.RouteFile:
		return who + ": file, written as " + owner(s)
	case deliver.RouteRemote:
		return who + ": " + elsewhere(s)
	}
	said := s.Reason
	if s.Code != 0 { // else nobody would have been asked
		said = strings.TrimSpace(fmt.Sprintf("%d %s", s.Code, s.Status)) + " " + said
	}
	if s.Permanent {
		return who + ": FAILS, and goes back to the sender: " + said
	}
	return who + ": can't be delivered now, and would be tried again: " + said
}

// owner is who does a local delivery.
func owner(s control.Step) string {
	who := s.User
	if s.UID >= 0 {
		who += " (uid " + strconv.Itoa(s.UID) + ")"
	}
	if s.Extension != "" {
		who += ", with the extension " + s.Extension
	}
	return who
}

// elsewhere says which machines would be tried.
func elsewhere(s control.Step) string {
	var hosts []string
	for _, h := range s.Hosts {
		hosts = append(hosts, fmt.Sprintf("%s port %d (%s)", h.Name, h.Port, strings.Join(h.Addrs, ", ")))
	}
	text := "sent to " + strings.Join(hosts, ", then ")
	if s.RelayHost != "" {
		text += ", as option relay-host says"
	}
	return text
}
