package applets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/smtpd"
	"postoffice/internal/sysexits"
	"postoffice/spool"
)

var sendmail = Applet{
	Name:    "sendmail",
	Others:  []string{"send-mail"},
	Usage:   "[-i] [-t] [-f SENDER] [-F NAME] [-v] [--wait=TIME] [-bs | -bv | -bp | -bd | -q] [ADDRESS ...]",
	Short:   "send a message from standard input",
	Ignored: sendmailIgnored,
	Classic: true,
	Run:     runSendmail,
}

// sendOptions are sendmail's flags for one message.
type sendOptions struct {
	sender   string // -f, -r
	fullName string // -F
	fromBody bool   // -t
	dots     bool   // -i
	dsn      dsnOptions
	delivery string // -od
	verbose  bool   // -v
	wait     string // --wait
}

func runSendmail(ctx context.Context, env *Env) error {
	var o sendOptions
	env.Flags.StringVarP(&o.sender, "sender", "f", "", "the envelope sender is `ADDRESS`")
	env.Flags.StringVarP(&o.sender, "return", "r", "", "the same as -f")
	env.Flags.StringVarP(&o.fullName, "full-name", "F", "", "full `NAME` for a From: field that is missing")
	env.Flags.BoolVarP(&o.fromBody, "recipients", "t", false, "take the recipients from To, Cc and Bcc; addresses given as well are ignored")
	env.Flags.BoolVarP(&o.dots, "ignore-dots", "i", false, "a line with only a dot is part of the message")
	o.dsn.flags(env.Flags)
	env.Flags.StringVar(&o.delivery, deliveryMode, "", "`MODE`: b or i deliver at once, q or d at the next run of the queue; also -odMODE; without it option immediate decides")
	env.Flags.BoolVarP(&o.verbose, "verbose", "v", false, "show on standard error how the message, or with -q the queue, is delivered")
	env.Flags.StringVar(&o.wait, "wait", "", "wait up to `TIME` (30s, 5m) for the outcome of each recipient, and exit with it")
	asJSON := env.Flags.Bool("json", false, "with -bv, -bt and -bp one JSON object per address or message")
	mode := env.Flags.StringP("mode", "b", "m", "`MODE`: m send, s speak SMTP, v or t show where an address leads, p list the queue, q run it, i build the alias database, d or D serve")
	rebuild := env.Flags.BoolP("aliases", "I", false, "build the alias database, as -bi and newaliases")
	queues := env.Flags.StringArrayP("queue", "q", nil, "run the queue now; with `TIME` every so often, as a server that listens on no port; R, S or I and a text: only what has it in a recipient, the sender or the ID")
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
		return serve(ctx, env, serverFlags{foreground: *mode == "D", every: queue.every})
	case *mode == "p":
		return question{json: *asJSON}.ask(ctx, env)
	case *mode == "h":
		return nil // no file has the state of hosts
	case len(queue.parts) > 0:
		return runSome(ctx, env, queue)
	case *mode == "q" || len(*queues) > 0 && queue.every == "":
		return runTheQueue(ctx, env, o.verbose)
	case queue.every != "":
		return serve(ctx, env, serverFlags{every: queue.every, deaf: true})
	case *mode == "v":
		return showRoutes(ctx, env, o.sender, *asJSON, worse)
	case *mode == "t":
		return showRoutes(ctx, env, o.sender, *asJSON, worseAddress)
	case *mode == "s" && networkConn(env) != nil:
		return serveConn(ctx, env, networkConn(env))
	case *mode == "s":
		return speakSMTP(ctx, env)
	case *mode == "m":
		return send(ctx, env, o)
	}
	return usageErrorf("mode -b%s is not known", *mode)
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

// letter is a message with its envelope, as sendmail sends it.
type letter struct {
	o      sendOptions
	from   smtp.Path
	params []smtp.Param
	to     []smtp.Recipient
	head   header    // of the message, as far as it was read
	body   io.Reader // what follows
}

// letter reads the command line, and of standard input what it needs of the
// header.
func (o sendOptions) letter(env *Env) (letter, error) {
	l := letter{o: o}
	var err error
	if l.from, err = o.from(); err != nil {
		return l, err
	}
	ofMail, ofRcpt, err := o.dsn.params()
	if err != nil {
		return l, err
	}
	l.params = ofMail
	if o.delivery == "q" || o.delivery == "d" {
		l.params = append(l.params, smtp.Param{Name: smtpd.ParamQueue})
	}
	body := bufio.NewReaderSize(newInput(env.Stdin, o.dots), 32<<10)
	to, err := operands(env)
	if err != nil {
		return l, err
	}
	if o.fromBody || o.fullName != "" {
		if l.head, err = readHeader(body); err != nil {
			return l, fmt.Errorf("read the message: %w", err)
		}
		if o.fromBody {
			to = l.head.recipients()
		}
	}
	if len(to) == 0 {
		return l, exitWith(sysexits.NoUser, fmt.Errorf("the message has no recipients"),
			"name them on the command line, or use -t to take them from To, Cc and Bcc")
	}
	l.to, l.body = asRecipients(to, ofRcpt), body
	return l, nil
}

// text is the message, with its header as it goes out.
func (l letter) text() io.Reader {
	return io.MultiReader(strings.NewReader(l.o.finish(l.head, l.from).String()), l.body)
}

// send submits the message on standard input.
func send(ctx context.Context, env *Env, o sendOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conf, confErr := env.Config()
	if o.delivery == "" && !conf.Immediate {
		o.delivery = "q"
	}
	w, err := o.waiter(env)
	if err != nil {
		return err
	}
	l, err := o.letter(env)
	if err != nil {
		return err
	}
	s, err := submission(ctx, env, conf, confErr, w != nil)
	if errors.Is(err, errNoServer) {
		d := spool.Drop{Params: l.params, Recipients: l.to}
		if !o.own() {
			d.ReversePath = &l.from
		}
		err = leave(conf, d, l.text(), err)
		if err == nil && confErr != nil {
			env.report(confErr)
		}
		return w.left(err)
	}
	if err != nil {
		return w.notTaken(err)
	}
	defer s.close()
	if w == nil {
		_, err := submit(env, s.mail, l)
		return err
	}
	if err := w.begin(ctx, s); err != nil {
		return err
	}
	return w.follow(func() (*submitted, error) { return submit(env, s.mail, l) })
}

// own says whether the sender is the caller: nobody else was given.
func (o sendOptions) own() bool { return strings.TrimSpace(o.sender) == "" }

// from is the envelope sender: -f, else the caller's login name. "<>" is the
// null reverse-path.
func (o sendOptions) from() (smtp.Path, error) {
	if o.own() {
		return smtp.Path{Local: login(os.Getuid())}, nil
	}
	sender := strings.TrimSpace(o.sender)
	if bare, ok := strings.CutPrefix(sender, "<"); ok {
		sender = strings.TrimSuffix(bare, ">")
		if sender == "" {
			return smtp.Path{}, nil
		}
	}
	p, err := smtp.ParseAddress(sender)
	if err != nil {
		return p, usageErrorf("-f %q: %v", sender, err)
	}
	return p, nil
}

// login is the name of a user, "uid-N" for one without.
func login(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid-" + strconv.Itoa(uid)
}

// finish is the header as it goes out: Bcc stays here where its addresses were
// read, and -F names the sender where nobody else has.
func (o sendOptions) finish(h header, from smtp.Path) header {
	if o.fromBody {
		h = h.without("bcc", "resent-bcc")
	}
	if o.fullName != "" && len(h) > 0 && !h.has("from") {
		h = append(h, "From: "+quoteName(o.fullName)+" <"+from.String()+">\n")
	}
	return h
}

// quoteName writes a display name (RFC 5322 section 3.4) on one line.
func quoteName(name string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c == 0x7f:
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// operands are the recipients on the command line; one argument may hold
// several, as in an address field.
func operands(env *Env) ([]smtp.Path, error) {
	var to []smtp.Path
	for _, arg := range env.Args {
		found := smtp.Mailboxes(arg)
		if len(found) == 0 {
			say(env.Stderr, env.Program, fmt.Sprintf("%q is no address: ignored", arg))
		}
		for _, m := range found {
			to = append(to, m.Path)
		}
	}
	if len(to) == 0 && len(env.Args) > 0 {
		return nil, exitWith(sysexits.NoUser, fmt.Errorf("no recipient is an address"))
	}
	return to, nil
}

// asRecipients gives each address the same parameters.
func asRecipients(to []smtp.Path, params []smtp.Param) []smtp.Recipient {
	all := make([]smtp.Recipient, len(to))
	for i, p := range to {
		all[i] = smtp.Recipient{Path: p, Params: params}
	}
	return all
}

// greet opens the session.
func greet(client *smtp.Client) error {
	for _, step := range []func() (smtp.Reply, error){client.Greeting, client.Hello} {
		reply, err := step()
		if err != nil {
			return exitWith(sysexits.TempFail, fmt.Errorf("the mail server: %w", err))
		}
		if reply.Class() != 2 {
			return refused("the mail server takes no session", reply, sysexits.Unavailable)
		}
	}
	return nil
}

// submit does the transaction and turns its replies into an error. Recipients
// that were refused beside good ones are told on standard error.
func submit(env *Env, conn net.Conn, l letter) (*submitted, error) {
	client := smtp.NewClient(conn, smtp.ClientOptions{Hello: "localhost", Step: 10 * time.Minute})
	defer client.Close()
	if err := greet(client); err != nil {
		return nil, err
	}
	if name, ok := client.Has(smtpd.KeywordUser); ok && l.o.own() {
		l.from = smtp.Path{Local: name}
	}
	res, err := client.Send(smtp.Transaction{ReversePath: l.from, Params: l.params, Recipients: l.to, Body: l.text(), Exact: true})
	var sent submitted
	for i, reply := range res.Rcpt {
		switch reply.Class() {
		case 2:
			sent.to = append(sent.to, l.to[i].Path)
		case 4, 5:
			sent.refused = append(sent.refused, reply)
			say(env.Stderr, env.Program, fmt.Sprintf("%s: %s", l.to[i].Path, reply))
		}
	}
	if len(sent.refused) > 0 { // as one does whose alias is not in the database yet
		env.tellAliases()
	}
	switch {
	case res.Final.Class() == 2:
		sent.id, _ = strings.CutPrefix(res.Final.Text, "queued as ")
		client.Quit()
		return &sent, nil
	case !res.Final.IsZero():
		err = refused("the message was refused", res.Final, sysexits.Unavailable)
	case err != nil:
		err = exitWith(sysexits.TempFail, fmt.Errorf("the message was not taken: %w", err))
	case res.Mail.Class() != 2:
		err = refused(fmt.Sprintf("sender %s", l.from), res.Mail, sysexits.Unavailable)
	case !res.Data.IsZero():
		err = refused("the message was refused", res.Data, sysexits.Unavailable)
	default:
		err = nobodyGood(res.Rcpt)
	}
	return nil, err
}

// refused is the error for a reply that ends it: later, or never with code.
func refused(what string, reply smtp.Reply, code int) error {
	if !reply.Permanent() {
		code = sysexits.TempFail
	}
	return exitWith(code, fmt.Errorf("%s: %s", what, reply))
}

// nobodyGood is the error when each recipient was refused, which standard error
// has said one by one: later if that may mend one of them.
func nobodyGood(replies []smtp.Reply) error {
	for _, reply := range replies {
		if !reply.Permanent() {
			return exitWith(sysexits.TempFail, fmt.Errorf("no recipient could be accepted now; nothing was sent"))
		}
	}
	return exitWith(sysexits.NoUser, fmt.Errorf("no recipient is good; nothing was sent"))
}

// speakSMTP is -bs: the session of the submission socket on standard input and
// output.
func speakSMTP(ctx context.Context, env *Env) error {
	conf, confErr := env.Config()
	s, err := submission(ctx, env, conf, confErr, false)
	if x := (*exitError)(nil); errors.Is(err, errNoServer) && errors.As(err, &x) {
		x.hint += "\nwithout -bs, sendmail leaves a message for the next server"
	}
	if err != nil {
		return err
	}
	defer s.close()
	conn := s.mail
	go func() {
		io.Copy(conn, env.Stdin)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}()
	if _, err := io.Copy(env.Stdout, conn); err != nil {
		return exitWith(sysexits.TempFail, fmt.Errorf("the session broke: %w", err))
	}
	return nil
}
