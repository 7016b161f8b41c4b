package applets

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
	"postoffice/deliver/route"
	"postoffice/internal/smtp"
)

var routeApplet = cmdline.Applet{
	Name:  "route",
	Usage: "[--json] [--from sender] [address ...]",
	Short: "say where a message for an address would go, and send nothing",
	Run: func(ctx context.Context, env *cmdline.Env) error {
		asJSON := env.Flags.Bool("json", false, "one JSON object per address")
		var from cmdline.Text
		env.Flags.Var(&from, "from", "`sender` the envelope sender; empty or <> is the null sender")
		if err := env.Parse(); err != nil {
			return err
		}
		return showRoutes(ctx, env, from, *asJSON, worse)
	},
}

// showRoutes is route, and sendmail's -bv and -bt: the addresses are arguments,
// or else lines of standard input. sum makes one exit code of two.
func showRoutes(ctx context.Context, env *cmdline.Env, from cmdline.Text, asJSON bool, sum func(a, b int) int) error {
	sender := strings.TrimSpace(from.Value)
	if !from.Given {
		var err error
		if sender, err = server.Login(os.Getuid()); err != nil {
			return err
		}
	}
	ask, err := client.Routes(ctx, env)
	if err != nil {
		return err
	}
	warnOfAliases(env)
	return showEach(ctx, env, ask, sender, asJSON, sum)
}

// showEach asks about each address and shows the answers. Where no server can be
// started to ask, which has said why, there is nothing to show.
func showEach(ctx context.Context, env *cmdline.Env, ask server.Router, sender string, asJSON bool, sum func(a, b int) int) error {
	show := routeText(env.Stdout)
	if asJSON {
		show = routeJSON(env.Stdout)
	}
	code := sysexits.OK
	one := func(address string) error {
		found := routeFound{Address: address}
		found.Steps, found.err = ask(ctx, address, sender)
		if errors.Is(found.err, cmdline.ErrAnswered) {
			return found.err
		}
		found.judge()
		code = sum(code, found.Code)
		return show(found)
	}
	if err := addresses(env, one); err != nil {
		return err
	}
	if code != sysexits.OK {
		return cmdline.ExitWith(code, cmdline.ErrAnswered)
	}
	return nil
}

// addresses calls one with each address that is asked about. On a terminal it
// asks for them.
func addresses(env *cmdline.Env, one func(address string) error) error {
	for _, arg := range env.Args {
		n := 0
		for m := range smtp.EachMember(arg) {
			n++
			if errors.Is(m.Err, smtp.ErrBeside) {
				continue
			}
			text := m.Text // what is no address is asked about too
			if m.Err == nil {
				text = m.Path.String()
			}
			if err := one(text); err != nil {
				return err
			}
		}
		if n == 0 {
			if err := one(arg); err != nil {
				return err
			}
		}
	}
	if len(env.Args) > 0 {
		return nil
	}
	prompt := func() {}
	if isTerminal(env.Stdin) {
		prompt = func() { io.WriteString(env.Stdout, "> ") }
	}
	lines := bufio.NewScanner(env.Stdin)
	for prompt(); lines.Scan(); prompt() {
		if address := strings.TrimSpace(lines.Text()); address != "" {
			if err := one(address); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read addresses: %w", err)
	}
	return nil
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// routeFound is what was found for one address, as JSON.
type routeFound struct {
	Address     string         `json:"address"`
	Deliverable bool           `json:"deliverable"`
	Code        int            `json:"code"`            // exit code, sysexits(3): what would fail first
	Error       string         `json:"error,omitempty"` // why nothing could be found
	Steps       []control.Step `json:"steps,omitempty"`

	err error
}

// judge says what would come of a message.
func (r *routeFound) judge() {
	if r.err != nil {
		r.Code, r.Error = cmdline.ExitStatus(r.err), r.err.Error()
		if e := (*control.Error)(nil); errors.As(r.err, &e) {
			r.Code = e.Code
		}
		return
	}
	for _, s := range r.Steps {
		if s.How == route.HowFailure {
			r.Code = worse(r.Code, failureCode(s))
		}
	}
	r.Deliverable = r.Code == sysexits.OK
}

func failureCode(s control.Step) int {
	switch {
	case !s.Permanent:
		return sysexits.TempFail
	case smtp.UnknownMailbox(s.Status):
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

func routeJSON(w io.Writer) func(routeFound) error {
	return func(r routeFound) error {
		var b bytes.Buffer
		out := json.NewEncoder(&b)
		out.SetEscapeHTML(false)
		err := out.Encode(r)
		_, werr := w.Write(cmdline.Escaped(b.Bytes()))
		return errors.Join(err, werr)
	}
}

// routeText writes routes as trees of sentences.
func routeText(w io.Writer) func(routeFound) error {
	first := true
	return func(r routeFound) error {
		var b strings.Builder
		if !first {
			b.WriteByte('\n')
		}
		first = false
		if r.err != nil {
			fmt.Fprintf(&b, "%s: %s\n", cmdline.Printed(r.Address), cmdline.Printed(r.Error))
		}
		var senders []string // of the steps above
		for _, s := range r.Steps {
			depth := max(min(s.Depth, len(senders)), 0)
			senders = senders[:depth]
			b.WriteString(strings.Repeat("  ", depth) + cmdline.Printed(sentence(s)))
			if depth > 0 && senders[depth-1] != s.Sender {
				b.WriteString("; reports go to " + cmdline.Printed(s.Sender))
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
	circle := ""
	if s.Reason != "" {
		circle = "; " + s.Reason
	}
	switch s.How {
	case route.HowAlias:
		return who + ": alias " + s.Name + hidden + circle
	case route.HowUsermap:
		return who + ": mapped by usermap " + s.Name + hidden
	case route.HowForward:
		return who + ": forwarded by " + s.Name + hidden
	case route.HowList:
		return who + ": list" + again + hidden
	case route.HowMailbox:
		if s.Way != "" {
			return who + ": mailbox of " + owner(s) + ", by " + s.Way + bound(s)
		}
		return who + ": mailbox of " + owner(s) + bound(s)
	case route.HowProgram:
		return who + ": program, run as " + owner(s)
	case route.HowFile:
		return who + ": file, written as " + owner(s)
	case route.HowRemote:
		return who + ": " + elsewhere(s)
	case route.HowCut:
		return fmt.Sprintf("%s and whatever comes behind it: not looked at, since %d recipients were", who, route.MaxDrySteps)
	}
	said := s.Reason
	if s.Code != 0 { // else nobody would have been asked
		said = strings.TrimSpace(fmt.Sprintf("%d %s", s.Code, s.Status)) + " " + said
	}
	if s.Routes != "" {
		said += ", as option routes says (" + s.Routes + ")"
	}
	if s.Permanent {
		return who + ": FAILS, and goes back to the sender: " + said
	}
	return who + ": can't be delivered now, and would be tried again: " + said
}

// bound is what a mailbox has of what it may have.
func bound(s control.Step) string {
	switch {
	case s.Quota == 0:
		return ""
	case s.Used == 0:
		return fmt.Sprintf(", with at most %d octets", s.Quota)
	}
	return fmt.Sprintf(", which has %d octets of the %d that it may have", s.Used, s.Quota)
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
	if s.Routes != "" {
		text += ", as option routes says (" + s.Routes + ")"
	}
	return text
}
