package applets

import (
	"context"
	"fmt"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/server"
)

var smtpdApplet = cmdline.Applet{
	Name:    "smtpd",
	Usage:   "[-a] [-d | -bD] [-q time]",
	Short:   "receive and deliver mail",
	Ignored: cmdline.SendmailIgnored,
	Run: func(ctx context.Context, env *cmdline.Env) error {
		foreground := env.Flags.BoolP("foreground", "d", false, "stay in the foreground and log to standard error")
		mode := env.Flags.StringP("mode", "b", "d", "`d|D` d: in the background, as without it; D: in the foreground")
		audit := env.Flags.BoolP("audit", "a", false, "write what clients say and are answered to the log, as option audit")
		var every cmdline.Text
		env.Flags.VarP(&every, "queue", "q", "`time` try the whole queue so often: 30m, 2h, a bare number is minutes")
		if err := env.Parse(); err != nil {
			return err
		}
		if *mode != "d" && *mode != "D" {
			return cmdline.Usagef("mode -b%s is not smtpd's", *mode)
		}
		return serve(ctx, env, every, *audit, server.StartOptions{Foreground: *foreground || *mode == "D"})
	},
}

// serve is the mail server, as server.Start. every, if it is given, is how often the
// whole queue is tried; audit sets that option.
func serve(ctx context.Context, env *cmdline.Env, every cmdline.Text, audit bool, o server.StartOptions) error {
	if len(env.Args) > 0 {
		return cmdline.Usagef("what is %q to a server?", env.Args[0])
	}
	if every.Given {
		d, err := queueTime(every.Value)
		if err != nil {
			return err
		}
		env.SetOption(fmt.Sprintf("queue-interval=%dm", d/time.Minute))
	}
	if audit {
		env.SetOption("audit=yes")
	}
	return server.Start(ctx, env, o)
}

// queueTime reads the time of -q as sendmail 8 does: numbers with s, m, h, d
// or w, one after the other; a bare number is minutes. Seconds are rounded up
// to a minute.
func queueTime(text string) (time.Duration, error) {
	sum, ok := cmdline.Span(text)
	if !ok {
		return 0, cmdline.Usagef("-q%s: want a time such as 30m, 2h or 1h30m", text)
	}
	if sum <= 0 || sum > 365*24*time.Hour {
		return 0, cmdline.Usagef("-q%s: want a time from a minute to a year", text)
	}
	return (sum + time.Minute - 1).Truncate(time.Minute), nil
}
