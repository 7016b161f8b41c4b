package applets

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"postoffice/internal/control"
	"postoffice/internal/privsep"
	"postoffice/internal/smtp"
	"postoffice/internal/sysexits"
)

var routeApplet = Applet{
	Name:  "route",
	Usage: "[--json] [--from SENDER] [ADDRESS ...]",
	Short: "say where a message for an address would go, and send nothing",
	Run: func(ctx context.Context, env *Env) error {
		asJSON := env.Flags.Bool("json", false, "one JSON object per address")
		from := env.Flags.String("from", "", "the envelope sender is `SENDER`")
		if err := env.Parse(); err != nil {
			return err
		}
		return showRoutes(ctx, env, *from, *asJSON, worse)
	},
}

// asker finds routes.
type asker func(ctx context.Context, address, sender string) ([]control.Step, error)

// showRoutes is route, and sendmail's -bv and -bt: the addresses are arguments,
// or else lines of standard input. sum makes one exit code of two.
func showRoutes(ctx context.Context, env *Env, sender string, asJSON bool, sum func(a, b int) int) error {
	if strings.TrimSpace(sender) == "" {
		sender = login(os.Getuid())
	}
	ask, err := routes(ctx, env)
	if err != nil {
		return err
	}
	env.tellAliases()
	show := routeText(env.Stdout)
	if asJSON {
		show = routeJSON(env.Stdout)
	}
	code := sysexits.OK
	one := func(address string) error {
		found := route{Address: address}
		found.Steps, found.err = ask(ctx, address, sender)
		found.judge()
		code = sum(code, found.Code)
		return show(found)
	}
	if err := addresses(env, one); err != nil {
		return err
	}
	if code != sysexits.OK {
		return exitWith(code, errAnswered)
	}
	return nil
}

// addresses calls one with each address that is asked about. On a terminal it
// asks for them.
func addresses(env *Env, one func(address string) error) error {
	for _, arg := range env.Args {
		found := smtp.Mailboxes(arg)
		if len(found) == 0 {
			if err := one(arg); err != nil {
				return err
			}
			continue
		}
		for _, m := range found {
			if err := one(m.Path.String()); err != nil {
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

// routes is how routes are found here: by the daemon, where none runs by a
// server that root or the queue's owner starts for the question, else by this
// process as far as it can see.
func routes(ctx context.Context, env *Env) (asker, error) {
	conf, confErr := env.Config()
	client, err := dialControl(ctx, conf)
	if err == nil {
		client.Close() // each question has its own connection
		if confErr != nil {
			env.report(confErr)
		}
		return func(ctx context.Context, address, sender string) ([]control.Step, error) {
			client, err := dialControl(ctx, conf)
			if err != nil {
				return nil, err
			}
			defer client.Close()
			return client.Route(ctx, address, sender)
		}, nil
	}
	switch {
	case !isAbsent(err):
		return nil, exitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	case confErr != nil:
		return nil, confErr
	}
	if running, _ := privsep.Running(conf.RunDir); running {
		return nil, unanswered(conf)
	}
	if mayServe(conf) {
		return func(ctx context.Context, address, sender string) ([]control.Step, error) {
			return askOnce(ctx, env, address, sender)
		}, nil
	}
	return ownSight(ctx, env, conf)
}

// askOnce starts a server that answers one question and does nothing else.
func askOnce(ctx context.Context, env *Env, address, sender string) ([]control.Step, error) {
	client, err := passClient(ctx, env)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Route(ctx, address, sender)
}
