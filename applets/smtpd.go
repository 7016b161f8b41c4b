package applets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

var smtpdApplet = Applet{
	Name:    "smtpd",
	Usage:   "[-d | -bD] [-q TIME]",
	Short:   "receive and deliver mail",
	Ignored: sendmailIgnored,
	Run: func(ctx context.Context, env *Env) error {
		foreground := env.Flags.BoolP("foreground", "d", false, "stay in the foreground and log to standard error")
		mode := env.Flags.StringP("mode", "b", "d", "`MODE`: d in the background, D in the foreground")
		every := env.Flags.StringP("queue", "q", "", "try the whole queue every `TIME`: 30m, 2h, a bare number is minutes")
		if err := env.Parse(); err != nil {
			return err
		}
		if *mode != "d" && *mode != "D" {
			return usageErrorf("mode -b%s is not smtpd's", *mode)
		}
		return serve(ctx, env, serverFlags{foreground: *foreground || *mode == "D", every: *every})
	},
}

// serverFlags are how a server is wanted.
type serverFlags struct {
	foreground bool
	every      string // -q: how often the whole queue is tried; "": as configured
	deaf       bool   // it listens on no port, only for programs of this machine
}

// serve is the mail server: in the foreground, or in the background, and then
// it returns when the ports are bound and the server answers.
func serve(ctx context.Context, env *Env, f serverFlags) error {
	if len(env.Args) > 0 {
		return usageErrorf("what is %q to a server?", env.Args[0])
	}
	if f.every != "" {
		d, err := queueTime(f.every)
		if err != nil {
			return err
		}
		env.sets = append(env.sets, fmt.Sprintf("queue-interval=%dm", d/time.Minute))
	}
	inherited, err := privsep.Inherited()
	if err != nil {
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	if f.foreground {
		d := daemon{env: env, conf: conf, foreground: true, inherited: inherited, deaf: f.deaf}
		return d.run(ctx)
	}
	if len(inherited) > 0 {
		return exitWith(sysexits.Usage, errors.New("sockets from a service manager are for a server in the foreground"), "start it as smtpd -bD")
	}
	if os.Getuid() == 0 {
		if _, err := serverUser(conf); err != nil {
			return err
		}
	}
	args := env.ConfigFlags()
	if f.deaf {
		args = append(args, "--deaf")
	}
	if err := (privsep.Background{Args: args}).Start(ctx); err != nil {
		return startError(err)
	}
	return nil
}

// queueTime reads the time of -q as sendmail 8 does: numbers with s, m, h, d
// or w, one after the other; a bare number is minutes. Seconds are rounded up
// to a minute.
func queueTime(text string) (time.Duration, error) {
	sum, ok := spanOf(text)
	if !ok {
		return 0, usageErrorf("-q%s: want a time such as 30m, 2h or 1h30m", text)
	}
	if sum <= 0 || sum > 365*24*time.Hour {
		return 0, usageErrorf("-q%s: want a time from a minute to a year", text)
	}
	return (sum + time.Minute - 1).Truncate(time.Minute), nil
}

// spanOf reads numbers with units, which are added up, to at most a century.
func spanOf(text string) (sum time.Duration, ok bool) {
	const most = 100 * 365 * 24 * time.Hour
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	for rest := text; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		unit := time.Minute
		if rest = rest[digits:]; rest != "" {
			unit = units[rest[0]]
			rest = rest[1:]
		}
		if err != nil || unit == 0 || time.Duration(n) > most/unit {
			return 0, false
		}
		if sum += time.Duration(n) * unit; sum > most {
			return 0, false
		}
	}
	return sum, true
}

// runMasterRole is the daemon that serve, runq or sendmail started behind
// itself.
func runMasterRole(ctx context.Context, env *Env) error {
	starter, err := privsep.FromStarter()
	if err != nil {
		return err
	}
	env.Program = "smtpd" // as whom the user started it
	env.prepare(Applet{Name: "smtpd"}, env.Args)
	pass := env.Flags.Bool("pass", false, "try the queue once, then end")
	deaf := env.Flags.Bool("deaf", false, "listen on no port")
	if err := env.Parse(); err != nil {
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	d := daemon{env: env, conf: conf, onePass: *pass, deaf: *deaf, session: starter.Session, control: starter.Control, answers: starter.Ready}
	return d.run(ctx)
}
