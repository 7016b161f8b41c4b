package checkrelay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/deliver/remote/login"
	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
	"postoffice/resolver"
)

// Finding is the exit code of a check that has found what is to be mended.
const Finding = 1

// Do does the check of each smarthost and says in sentences what works, and at the end what
// doesn't: the error's exit code is Finding, or that of what may pass by itself.
func (t Task) Do(ctx context.Context, out io.Writer) error {
	conf, err := config.Decode(t.Settings)
	if err != nil {
		return err
	}
	code := sysexits.OK
	for i, h := range t.Hosts {
		err := h.try(ctx, conf, out, t.Verbose)
		if len(t.Hosts) == 1 {
			return err
		}
		if err != nil {
			fmt.Fprintf(out, "It does not work: %v.\n", err)
			if n := cmdline.ExitStatus(err); n == Finding || code == sysexits.OK {
				code = n
			}
		}
		if i < len(t.Hosts)-1 {
			fmt.Fprintln(out)
		}
	}
	if code == sysexits.OK {
		return nil
	}
	return cmdline.ExitWith(code, cmdline.ErrAnswered)
}

// try does the check of one smarthost.
func (t Host) try(ctx context.Context, conf *config.Config, out io.Writer, verbose bool) error {
	h, err := smarthost.Parse(t.Name)
	if err != nil {
		return err
	}
	trust, err := smarthost.ParseTrust(conf.RelayTLS)
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	say("%s goes to %s.", t.Where, h)
	if h.User == "" {
		say("Nobody logs in there.")
	} else if t.Missing == "" {
		say("There is a password for %s at %s.", h.User, h.Place())
	}
	where := remote.Router{Resolver: resolver.New(resolver.Options{Servers: conf.DNSServers, Log: slog.New(slog.DiscardHandler)}), Hostname: conf.Hostname, Port: conf.SMTPPort}
	hop, err := where.RelayHops(ctx, h.String())
	if err != nil {
		return found(err)
	}
	say("Its addresses are %s.", addresses(hop.Targets))
	keep := login.NewKeeper(t)
	keep.Use(trust, slog.New(slog.DiscardHandler))
	seen := transcript{out: out, verbose: verbose}
	s, err := remote.Open(ctx, hop, remote.Options{Hostname: ourName(conf.Hostname), Logins: keep, Transcript: seen.line})
	if err != nil {
		return found(err)
	}
	defer s.Close()
	say("%s answers.", s.Relay())
	switch name, verified := strings.CutSuffix(s.TLS(), " verified"); {
	case verified:
		say("The session is encrypted, by %s, with a certificate that is good.", name)
	case name != "":
		say("The session is encrypted, by %s; whose certificate that is was not looked at.", name)
	default:
		say("The session is not encrypted.")
	}
	if h.User != "" {
		say("%s is logged in, by %s.", h.User, seen.mechanism)
	}
	say("Nothing was sent.")
	return nil
}

// found makes the error of a check: what to mend, unless it may pass by itself.
func found(err error) error {
	o := outcome.Of(err)
	code, text := sysexits.TempFail, err.Error()
	if f, ok := errors.AsType[*login.Failure](err); ok && !f.Reply.Temporary() {
		code = Finding
	}
	if !o.Reply.IsZero() && o.Err != nil {
		text += fmt.Sprintf("; it said: %s", o.Reply)
	}
	return cmdline.ExitWith(code, errors.New(smtp.Printable(text, 2000)))
}

// addresses are those of all hosts.
func addresses(targets []remote.Target) string {
	var all []string
	for _, t := range targets {
		for _, a := range t.Addrs {
			all = append(all, netip.AddrPortFrom(a, uint16(t.Port)).String())
		}
	}
	return strings.Join(all, ", ")
}

// ourName is how we call ourselves.
func ourName(option string) string {
	if option != "auto" && option != "literal" {
		return option
	}
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "localhost.localdomain"
}

// transcript shows the conversation, where that is wanted, and knows how we logged in.
type transcript struct {
	out       io.Writer
	verbose   bool
	mechanism string
}

func (t *transcript) line(relay string, dir byte, line string) {
	if mechanism, ok := strings.CutPrefix(line, "AUTH "); ok && dir == '>' {
		t.mechanism = mechanism
	}
	if t.verbose {
		fmt.Fprintf(t.out, "  %c %s\n", dir, smtp.Printable(line, 500))
	}
}
