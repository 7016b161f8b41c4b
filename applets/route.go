package applets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
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
