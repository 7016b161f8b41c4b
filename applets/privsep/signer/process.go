package signer

import (
	"crypto"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"postoffice/applets/privsep/ask"
	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/creds"
	"postoffice/applets/service"
)

// Role is the argv[0] of the process.
const Role = "postoffice: signer"

const (
	birthWait = 20 * time.Second // for a process to become what it is to be: much less than the server waits for its start
	keysWait  = 10 * time.Second // for a key to be taken, or to come

	garbage = 20 // percent of 4 MiB at least, after which it collects: what a signature leaves must not be more than all else that it has
)

// What the master says before the link is the server's: one of these octets, behind the
// first a key in PKCS #8.
const (
	sayKey   = 'k'
	sayServe = 's'
)

// Process is a signer that runs.
type Process struct {
	Link  *os.File // for the server: whoever has the last copy of it ends the signer by closing it
	Ended <-chan error
	child *os.Process
}

// PID is its process number.
func (p *Process) PID() int { return p.child.Pid }

// kill ends it at once, if there is one.
func (p *Process) kill() {
	if p != nil {
		p.child.Kill()
	}
}

// Start starts a signer with keys, each in PKCS #8, as an account that nothing else
// has, and as ours where we are not root.
func Start(keys [][]byte, uid int) (*Process, error) {
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, limit %d", len(keys), maxKeys)
	}
	who := creds.Identity{UID: uid, GID: uid, Groups: []uint32{uint32(uid)}, Bare: creds.MayCut()}
	if os.Geteuid() != 0 {
		who = creds.Identity{UID: os.Getuid(), GID: os.Getgid()}
	}
	b, err := birth.Start(birth.Options{Argv0: Role, Identity: who, NoNewPrivs: true})
	if err != nil {
		return nil, fmt.Errorf("start the signer: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Cmd.Wait() }()
	link, err := b.Link(birthWait)
	if err == nil {
		defer link.Close()
		err = handKeys(link, keys)
	}
	var file *os.File
	if err == nil {
		file, err = link.File()
	}
	if err != nil {
		b.Cmd.Process.Kill()
		return nil, fmt.Errorf("start the signer as uid %d: %w", who.UID, err)
	}
	return &Process{Link: file, Ended: ended, child: b.Cmd.Process}, nil
}

// handKeys gives a new signer its keys.
func handKeys(link *net.UnixConn, keys [][]byte) error {
	if err := link.SetWriteDeadline(time.Now().Add(keysWait)); err != nil {
		return err
	}
	for _, key := range keys {
		if len(key) > maxKeySize {
			return fmt.Errorf("a key of %d octets, limit %d", len(key), maxKeySize)
		}
		if _, err := link.Write(append([]byte{sayKey}, key...)); err != nil {
			return err
		}
	}
	_, err := link.Write([]byte{sayServe})
	return err
}

// Run makes this process, which Start has started, the signer, and returns when its
// link ends.
func Run() error {
	signal.Ignore(append(service.Signals(), syscall.SIGPIPE)...)
	debug.SetGCPercent(garbage)
	link, err := birth.Become()
	if err != nil {
		return fmt.Errorf("%s: %w", Role, err)
	}
	keys, err := takeKeys(link)
	if err == nil {
		err = serve(link, keys)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", Role, err)
	}
	return nil
}

// takeKeys reads what handKeys says.
func takeKeys(link *net.UnixConn) ([]crypto.Signer, error) {
	var keys []crypto.Signer
	buf := make([]byte, 1+maxKeySize+1)
	for {
		if err := link.SetReadDeadline(time.Now().Add(keysWait)); err != nil {
			return nil, err
		}
		n, err := link.Read(buf)
		if err != nil {
			return nil, err
		}
		switch {
		case n == 1 && buf[0] == sayServe:
			return keys, link.SetReadDeadline(time.Time{})
		case n == 0 || buf[0] != sayKey || len(keys) == maxKeys:
			return nil, errForm
		}
		key, err := parseKey(buf[1:n])
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
}

// serve answers questions until the link ends, as many at a time as there are
// processors. The first that is none ends it.
func serve(link *net.UnixConn, keys []crypto.Signer) error {
	return ask.Serve(link, runtime.GOMAXPROCS(0), questionSize, func(to, question []byte) ([]byte, error) {
		q, err := decodeQuestion(question)
		if err != nil {
			return nil, err
		}
		signature, err := sign(keys, q)
		if err != nil || len(signature) > maxSignature {
			signature = nil // the server hears no, and why is its own fault
		}
		return answer{q.number, signature}.append(to), nil
	})
}
