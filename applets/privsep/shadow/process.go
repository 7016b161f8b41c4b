package shadow

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"postoffice/applets/logins/accounts"
	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/creds"
	"postoffice/applets/privsep/logins"
	"postoffice/applets/service"
	"postoffice/internal/account"
)

// Role is the argv[0] of the process.
const Role = "postoffice: shadow"

const (
	birthWait = 20 * time.Second // for a process to become what it is to be
	tellWait  = 10 * time.Second // for what the master and the process tell each other
	maxWords  = 1000             // octets of why the file can't be opened
	maxText   = 2 * 4096         // octets behind the first one of what is told: two paths
)

// What is said between the process and the master, an octet each.
const (
	sayServe = 's' // with the link of logins
	askFile  = '?' // the file, please
	sayFile  = '+' // with its descriptor
	sayNone  = '-' // and behind it why there is none
)

var errForm = errors.New("not of a form that is sent")

// The files of the machine.
const (
	PasswdFile = "/etc/passwd"
	ShadowFile = "/etc/shadow"
)

// Process is one that runs.
type Process struct {
	Link  *os.File // of logins, for the server: whoever has its last copy ends the process by closing it
	Ended <-chan error
	child *os.Process
}

// PID is its process number.
func (p *Process) PID() int { return p.child.Pid }

// Kill ends it at once.
func (p *Process) Kill() { p.child.Kill() }

// Options say what a process is started with.
type Options struct {
	Passwd, Shadow string                   // the files, PasswdFile and ShadowFile where it is the machine
	Open           func() (*os.File, error) // opens the latter
	UID            int                      // that nothing else has; where we are not root it is ours
}

// Start starts the process, which gets the file from us as often as it asks.
func Start(o Options) (*Process, error) {
	who := creds.Identity{UID: o.UID, GID: o.UID, Groups: []uint32{uint32(o.UID)}, Bare: creds.MayCut()}
	if os.Geteuid() != 0 {
		who = creds.Identity{UID: os.Getuid(), GID: os.Getgid()}
	}
	b, err := birth.Start(birth.Options{Argv0: Role, Identity: who, NoNewPrivs: true})
	if err != nil {
		return nil, fmt.Errorf("start the process that reads shadow: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Cmd.Wait() }()
	p := &Process{Ended: ended, child: b.Cmd.Process}
	link, err := b.Link(birthWait)
	if err == nil {
		if p.Link, err = tell(link, o.Passwd+"\x00"+o.Shadow); err == nil {
			go handOut(link, o.Open)
			return p, nil
		}
		link.Close()
	}
	b.Cmd.Process.Kill()
	return nil, fmt.Errorf("start the process that reads shadow as uid %d: %w", who.UID, err)
}

// tell says where the files are and gives the process its end of the link of logins.
func tell(link *net.UnixConn, paths string) (*os.File, error) {
	ours, theirs, err := birth.Pair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	if err := give(link, sayServe, paths, theirs); err != nil {
		return nil, err
	}
	return ours.File()
}

// give sends an octet with a text and a descriptor.
func give(link *net.UnixConn, what byte, text string, f *os.File) error {
	if err := link.SetWriteDeadline(time.Now().Add(tellWait)); err != nil {
		return err
	}
	return service.WithDescriptors([]*os.File{f}, nil, func(fds []int) error {
		_, _, err := link.WriteMsgUnix(append([]byte{what}, text...), syscall.UnixRights(fds...), nil)
		return err
	})
}

// handOut opens the file whenever the process asks, until it ends or says anything else.
func handOut(link *net.UnixConn, open func() (*os.File, error)) {
	defer link.Close()
	buf := make([]byte, 2)
	for {
		if n, err := link.Read(buf); err != nil || n != 1 || buf[0] != askFile {
			return
		}
		f, err := open()
		if err == nil {
			err = give(link, sayFile, "", f)
			f.Close()
			if err != nil {
				return
			}
			continue
		}
		text := append([]byte{sayNone}, err.Error()...)
		if _, err := link.Write(text[:min(len(text), maxWords)]); err != nil {
			return
		}
	}
}

// Open opens a file of passwords as it is to be handed out.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is no reason to wait
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(fmt.Errorf("%s is no file", path), err)
	}
	return f, nil
}

// Run makes this process, which Start has started, the one that answers, and returns when
// the link of logins ends.
func Run() error {
	signal.Ignore(append(service.Signals(), syscall.SIGPIPE)...)
	link, err := birth.Become()
	if err == nil {
		err = serve(link)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", Role, err)
	}
	return nil
}

func serve(link *net.UnixConn) error {
	defer link.Close()
	what, text, f, err := hear(link)
	passwd, shadow, ok := strings.Cut(text, "\x00")
	switch {
	case err != nil:
		return err
	case what != sayServe || f == nil || !ok:
		return errForm
	}
	conn, err := birth.Conn(f)
	if err != nil {
		return err
	}
	defer conn.Close()
	m := &master{link: link}
	source, err := accounts.New(system{people: account.Passwd(passwd), file: &file{path: shadow, open: m.open}}, nil)
	if err != nil {
		return err
	}
	return logins.Serve(conn, source)
}

// master is who opens the file.
type master struct {
	mu   sync.Mutex // held while it is asked
	link *net.UnixConn
}

func (m *master) open() (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.link.SetWriteDeadline(time.Now().Add(tellWait)); err != nil {
		return nil, err
	}
	if _, err := m.link.Write([]byte{askFile}); err != nil {
		return nil, err
	}
	what, text, f, err := hear(m.link)
	switch {
	case err != nil:
		return nil, err
	case what == sayFile && f != nil:
		return f, nil
	case what == sayNone && f == nil:
		return nil, errors.New(text)
	}
	return nil, errForm
}

// hear reads an octet with a text, and a descriptor if one comes with it.
func hear(link *net.UnixConn) (what byte, text string, f *os.File, err error) {
	if err := link.SetReadDeadline(time.Now().Add(tellWait)); err != nil {
		return 0, "", nil, err
	}
	buf, oob := make([]byte, 1+maxText), make([]byte, syscall.CmsgSpace(4))
	n, m, _, _, err := link.ReadMsgUnix(buf, oob)
	if err != nil {
		return 0, "", nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:m])
	if err != nil || n == 0 || len(messages) > 1 {
		return 0, "", nil, errForm
	}
	for _, one := range messages {
		fds, err := syscall.ParseUnixRights(&one)
		if err != nil || len(fds) != 1 {
			return 0, "", nil, errForm
		}
		syscall.CloseOnExec(fds[0])
		f = os.NewFile(uintptr(fds[0]), "received")
	}
	return buf[0], string(buf[1:n]), f, nil
}
