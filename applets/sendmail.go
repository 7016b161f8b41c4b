package applets

import (
	"context"
	"io"
	"strings"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/pretend"
	"postoffice/applets/server"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

var sendmail = cmdline.Applet{
	Name:    "sendmail",
	Others:  []string{"send-mail"},
	Usage:   "[-i] [-t] [-f sender] [-F name] [-v] [--wait=time] [-bs | -bv | -bp | -bd | -q] [address ...]",
	Short:   "send a message from standard input",
	Ignored: cmdline.SendmailIgnored,
	Classic: true,
	Run:     runSendmail,
}

func runSendmail(ctx context.Context, env *cmdline.Env) error { return new(mailer).run(ctx, env) }

// plainApplet is the binary under the name postoffice, and under any that no program
// has, where a flag comes first: sendmail, and the flags that the original had beside
// it there. Its -R, the address of a client of -bs, acts in builds for tests alone.
func plainApplet() cmdline.Applet {
	a := sendmail
	a.Name, a.Others = "postoffice", nil
	a.Usage = "[-a] [-d] " + a.Usage
	a.Run = func(ctx context.Context, env *cmdline.Env) error {
		var m mailer
		env.Flags.BoolVarP(&m.audit, "audit", "a", false, "with -bd: write what clients say and are answered to the log, as option audit")
		env.Flags.BoolVarP(&m.foreground, "foreground", "d", false, "with -bd: stay in the foreground, as -bD")
		env.Flags.VarP(&m.peer, "peer", "R", "`address` with -bs: the client's, in builds for tests; elsewhere nothing")
		return m.run(ctx, env)
	}
	return a
}

// mailer is sendmail, with what only plainApplet has flags for.
type mailer struct {
	audit, foreground bool
	peer              cmdline.Text
}

func (m *mailer) run(ctx context.Context, env *cmdline.Env) error {
	o := client.SendOptions{Refused: func() { warnOfAliases(env) }} // as one may be whose alias is not in the database yet
	sendFlags(env, &o)
	asJSON := env.Flags.Bool("json", false, "with -bv, -bt and -bp one JSON object per address or message")
	mode := env.Flags.StringP("mode", "b", "m", "`mode` m: send, as without it; s: speak SMTP; v or t: show where an address leads; p: list the queue; q: run it; i: build the alias database; d or D: serve")
	rebuild := env.Flags.BoolP("aliases", "I", false, "build the alias database, as -bi and newaliases")
	queues := env.Flags.StringArrayP("queue", "q", nil, "`time` run the queue now; with a time every so often, as a server that listens on no port; with R, S or I and a text only what has it in a recipient, the sender or the ID")
	env.Flags.Lookup("queue").NoOptDefVal = queueNow
	if err := env.Parse(); err != nil {
		return err
	}
	queue := readQueueFlags(*queues)
	*mode = modern(*mode)
	switch {
	case *mode == "i" || *rebuild:
		return buildAliases(env)
	case *mode == "d" || *mode == "D":
		return serve(ctx, env, queue.interval(), m.audit, server.StartOptions{Foreground: *mode == "D" || m.foreground})
	case *mode == "p":
		return question{json: *asJSON}.ask(ctx, env)
	case *mode == "h":
		return nil // no file has the state of hosts
	case len(queue.parts) > 0:
		return runSome(ctx, env, queue)
	case *mode == "q" || len(*queues) > 0 && queue.every == "":
		return client.RunQueue(ctx, env, o.Verbose)
	case queue.every != "":
		return serve(ctx, env, queue.interval(), m.audit, server.StartOptions{Deaf: true})
	case *mode == "v":
		return showRoutes(ctx, env, o.Sender, *asJSON, worse)
	case *mode == "t":
		return showRoutes(ctx, env, o.Sender, *asJSON, worseAddress)
	case *mode == "s":
		return m.speak(ctx, env)
	case *mode == "m":
		return client.Send(ctx, env, o)
	}
	return cmdline.Usagef("mode -b%s is not known", *mode)
}

// speak is -bs.
func (m *mailer) speak(ctx context.Context, env *cmdline.Env) error {
	conn := server.NetworkConn(env)
	if m.peer.Given {
		theirs, ours, err := pretend.Conn(m.peer.Value)
		if err != nil {
			return err
		}
		if ours != nil { // a build for tests
			conn = theirs
			over := make(chan struct{})
			go func() {
				io.Copy(ours, env.Stdin)
				ours.CloseWrite()
			}()
			go func() {
				io.Copy(env.Stdout, ours)
				close(over)
			}()
			defer func() {
				theirs.Close() // the session had a copy
				<-over
			}()
		}
	}
	if conn != nil {
		return server.ServeConn(ctx, env, conn)
	}
	return client.SpeakSMTP(ctx, env)
}

// sendFlags defines the flags of a message.
func sendFlags(env *cmdline.Env, o *client.SendOptions) {
	much := "R"
	if env.Flags.ShorthandLookup(much) != nil {
		much = "" // the plain applet's means something else
	}
	env.Flags.VarP(&o.Sender, "sender", "f", "`sender` the envelope sender; empty or <> is the null sender")
	env.Flags.VarP(&o.Sender, "return", "r", "`sender` the same as -f")
	env.Flags.VarP(&o.FullName, "full-name", "F", "`name` the full name for a From: field that is missing")
	env.Flags.BoolVarP(&o.FromHeader, "recipients", "t", false, "take the recipients from To, Cc and Bcc; addresses given as well are ignored")
	env.Flags.BoolVarP(&o.Dots, "ignore-dots", "i", false, "a line with only a dot is part of the message")
	env.Flags.VarP(&o.DSN.Notify, "notify", "N", "`when` when to report: never, or failure, delay and success with commas")
	env.Flags.VarP(&o.DSN.Return, "return-what", much, "`full|hdrs` how much of the message a report returns")
	env.Flags.Var(&o.DSN.EnvID, cmdline.EnvelopeID, "`id` the envelope's ID in reports, also -V id")
	env.Flags.Var(&o.Delivery, cmdline.DeliveryMode, "`b|i|q|d` b or i: deliver at once; q or d: at the next run of the queue; also -odb and so on; without it option immediate decides")
	env.Flags.BoolVarP(&o.Verbose, "verbose", "v", false, "show on standard error how the message, or with -q the queue, is delivered")
	env.Flags.Var(&o.Wait, "wait", "`time` wait so long (30s, 5m) for the outcome of each recipient, and exit with it")
}

// modern is the mode of ours that one of others' means: sendmail's old a sends,
// its P counts the queue and H forgets what h shows.
func modern(mode string) string {
	switch mode {
	case "a":
		return "m"
	case "P":
		return "p"
	case "H":
		return "h"
	}
	return mode
}

// queueFlags are what the flags -q of sendmail ask for: to run the queue now,
// or every so often, or, with -qR, -qS and -qI, some messages of it now.
type queueFlags struct {
	every string // a time; "" is now
	parts []queuePart
}

// queuePart is a part of a recipient (R), of the sender (S) or of the queue ID
// (I) that messages have, or don't have with not. Of Q, a reason of quarantine,
// nobody has one.
type queuePart struct {
	letter byte
	not    bool
	text   string // in small letters
}

// queueNow is the value of -q without one.
const queueNow = "now"

// interval is what serve takes.
func (f queueFlags) interval() cmdline.Text {
	return cmdline.Text{Value: f.every, Given: f.every != ""}
}

func readQueueFlags(values []string) queueFlags {
	var f queueFlags
	for _, v := range values {
		bare, not := strings.CutPrefix(v, "!")
		switch {
		case v == queueNow || v == "0" || bare == "" || strings.Contains("fFGLl", bare[:1]): // how, and a group of queues
		case strings.Contains("RSIQ", bare[:1]):
			f.parts = append(f.parts, queuePart{bare[0], not, smtp.Fold(bare[1:])})
		default:
			f.every = strings.TrimPrefix(v, "p")
		}
	}
	return f
}

// fits says whether a message is to be tried. Of several parts with one letter
// one is enough, as with sendmail 8.
func (f queueFlags) fits(m control.Message) bool {
	if m.State != control.Active && m.State != control.Deferred {
		return false
	}
	asked, found := "", ""
	for _, p := range f.parts {
		asked += string(p.letter)
		if p.fits(m) {
			found += string(p.letter)
		}
	}
	return strings.Trim(asked, found) == ""
}

func (p queuePart) fits(m control.Message) bool {
	var texts []string
	switch p.letter {
	case 'I':
		texts = []string{m.ID}
	case 'S':
		texts = []string{m.Sender}
	case 'R':
		for _, r := range m.Recipients {
			if r.State == envelope.Pending.String() {
				texts = append(texts, r.Address)
			}
		}
	}
	found := false
	for _, text := range texts {
		found = found || strings.Contains(smtp.Fold(text), p.text)
	}
	return found != p.not
}

// runSome is "queue retry" for the messages that fit, as silent as -q.
func runSome(ctx context.Context, env *cmdline.Env, f queueFlags) error {
	return someOf(env, f).begin(ctx)
}

func someOf(env *cmdline.Env, f queueFlags) *queueRun {
	q := &queueRun{env: env, filter: queueFilter{also: f.fits}, quiet: true}
	for _, v := range queueVerbs() {
		if v.name == control.Retry {
			q.verb = v
		}
	}
	return q
}
