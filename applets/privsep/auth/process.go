package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"postoffice/applets/privsep/ask"
	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/creds"
	"postoffice/applets/service"
	"postoffice/internal/account"
	"postoffice/vhost"
)

// Role is the argv[0] of the process.
const Role = "postoffice: auth"

const (
	birthWait  = 20 * time.Second // for a process to become what it is to be
	tellWait   = 10 * time.Second // for it to be told, or to hear, where the domains are
	maxWorking = maxAsked         // questions that are worked on at a time: one that waits for a large file holds up no other
)

// Process is one that runs.
type Process struct {
	Links
	Ended <-chan error
	child *os.Process
}

// Links are for the server: whoever has the last copy of the first ends the process by
// closing it.
type Links struct {
	Questions *os.File
	Logins    *os.File
}

// Close closes both.
func (l Links) Close() {
	for _, f := range []*os.File{l.Questions, l.Logins} {
		if f != nil {
			f.Close()
		}
	}
}

// PID is its process number.
func (p *Process) PID() int { return p.child.Pid }

// Kill ends it at once.
func (p *Process) Kill() { p.child.Kill() }

// Start starts the process for domains, as the account with its groups, and as ours where
// we are not root.
func Start(w Where, a account.Account, groups []uint32) (*Process, error) {
	switch {
	case w.check() != nil:
		return nil, w.check()
	case os.Geteuid() == 0 && a.UID == 0:
		return nil, errors.New("the vhost-user is root, which it must not be")
	}
	who := creds.Identity{UID: a.UID, GID: a.GID, Groups: groups, Bare: creds.MayCut()}
	if os.Geteuid() != 0 {
		who = creds.Identity{UID: os.Getuid(), GID: os.Getgid()}
	}
	b, err := birth.Start(birth.Options{Argv0: Role, Identity: who, NoNewPrivs: true})
	if err != nil {
		return nil, fmt.Errorf("start the process of virtual domains: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Cmd.Wait() }()
	link, err := b.Link(birthWait)
	var links Links
	if err == nil {
		defer link.Close()
		links, err = tell(link, w)
	}
	if err != nil {
		b.Cmd.Process.Kill()
		return nil, fmt.Errorf("start the process of virtual domains as uid %d: %w", who.UID, err)
	}
	return &Process{Links: links, Ended: ended, child: b.Cmd.Process}, nil
}

// tell says where the domains are, and gives the process its end of the link of logins.
func tell(link *net.UnixConn, w Where) (l Links, err error) {
	ours, theirs, err := birth.Pair()
	if err != nil {
		return l, err
	}
	defer ours.Close()
	defer theirs.Close()
	if err = link.SetWriteDeadline(time.Now().Add(tellWait)); err == nil {
		_, _, err = link.WriteMsgUnix(w.append(nil), syscall.UnixRights(int(theirs.Fd())), nil)
	}
	if err == nil {
		l.Questions, err = link.File()
	}
	if err == nil {
		l.Logins, err = ours.File()
	}
	if err != nil {
		l.Close()
		return Links{}, err
	}
	return l, nil
}

// Run makes this process, which Start has started, the one that answers, and returns
// when its link ends.
func Run() error {
	signal.Ignore(append(service.Signals(), syscall.SIGPIPE)...)
	link, err := birth.Become()
	if err != nil {
		return fmt.Errorf("%s: %w", Role, err)
	}
	w, asked, err := hear(link)
	if err == nil {
		s := w.Store(func(err error) { link.Write(noteOf(err)) }) // who is gone needs to hear nothing
		go serveLogins(asked, s, []byte(w.Secret))
		err = serve(link, s, Counted(w))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", Role, err)
	}
	return nil
}

// hear reads where the domains are, and takes the link of logins.
func hear(link *net.UnixConn) (w Where, asked *net.UnixConn, err error) {
	if err := link.SetReadDeadline(time.Now().Add(tellWait)); err != nil {
		return w, nil, err
	}
	buf, oob := make([]byte, whereSize+1), make([]byte, syscall.CmsgSpace(4))
	n, m, _, _, err := link.ReadMsgUnix(buf, oob)
	if err != nil {
		return w, nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:m])
	if err == nil && len(messages) == 1 {
		w, err = decodeWhere(buf[:n])
	}
	if err != nil || len(messages) != 1 {
		return w, nil, errForm
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return w, nil, errForm
	}
	syscall.CloseOnExec(fds[0])
	if asked, err = birth.Conn(os.NewFile(uintptr(fds[0]), "logins")); err != nil {
		return w, nil, err
	}
	return w, asked, link.SetReadDeadline(time.Time{})
}

// serve answers questions until the link ends. The first that is none ends it.
func serve(link *net.UnixConn, s vhost.Users, boxes vhost.Mailboxes) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return ask.Serve(link, maxWorking, questionSize, func(to, question []byte) ([]byte, error) {
		q, err := decodeQuestion(question)
		if err != nil {
			return nil, err
		}
		return answerTo(ctx, s, boxes, q).append(to), nil
	})
}

func answerTo(ctx context.Context, s vhost.Users, boxes vhost.Mailboxes, q question) answer {
	a := answer{number: q.number, kind: yes}
	var err error
	switch q.verb {
	case askUser:
		var box vhost.Box
		box, err = s.User(ctx, q.domain, q.name)
		a.text, a.figure = box.Name, box.Quota
	case askAlias:
		var found vhost.Alias
		found, err = s.Alias(ctx, q.domain, q.name)
		a.text, a.figure = found.Value, int64(found.Line)
	case askUsed:
		a.figure, err = boxes.Used(ctx, q.domain, q.name, q.enough)
	}
	switch {
	case errors.Is(err, vhost.ErrNoUser), errors.Is(err, vhost.ErrNoAlias):
		return answer{number: q.number, kind: no}
	case err != nil:
		return answer{number: q.number, kind: later, text: err.Error()}
	}
	return a
}
