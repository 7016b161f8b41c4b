package privsep

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"postoffice/applets/service"
	"postoffice/deliver/local"
)

func newLink(c *net.UnixConn) *Link {
	return &Link{
		conn:       newConn(c, toServer(), toMaster()),
		deliveries: make(chan struct{}, linkDeliveries),
		runs:       make(chan struct{}, linkRuns),
		lookups:    make(chan struct{}, linkLookups),
		homes:      make(chan struct{}, linkHomes),
		passwords:  make(chan struct{}, linkPasswords),
		lists:      make(chan struct{}, linkLists),
		long:       make(chan struct{}, longLists),
		events:     make(chan Event, 16),
		closed:     make(chan struct{}),
		results:    map[string]chan local.Result{},
		answers:    map[string]question{},
		gates:      map[string]*userGate{},
		auth:       helperDesk{answers: make(chan helperAnswer, 1)},
		shadow:     helperDesk{answers: make(chan helperAnswer, 1)},
	}
}

// takeOver reads what the master hands over, up to the start.
func (l *Link) takeOver() error {
	if err := l.conn.c.SetReadDeadline(time.Now().Add(handOverTime)); err != nil {
		return err
	}
	var chains [][]byte
	for {
		f, files, err := l.conn.recv()
		if err != nil {
			return err
		}
		switch f.op {
		case opSettings:
			l.settings = append(l.settings, f.fields[0]...)
		case opListener:
			l.listeners = append(l.listeners, newListener(f, files))
		case opSession:
			l.session = files[0]
		case opCertificate:
			chains = append(chains, []byte(f.fields[0]))
		case opSigner:
			l.certificates, chains = &NewCertificates{chains, files[0]}, nil
		case opResult:
			t, err := parseResult(f.fields)
			if err != nil {
				return err
			}
			l.unrecorded = append(l.unrecorded, t)
		case opStart:
			l.onePass, l.again, l.detach = f.fields[0] == modePass, f.fields[0] == modeAgain, f.fields[1] == detached
			return l.conn.c.SetReadDeadline(time.Time{})
		default:
			return fmt.Errorf("%w: op %d before the start", errFrame, f.op)
		}
	}
}

func newListener(f frame, files []*os.File) service.Listener {
	return service.Listener{Name: f.fields[0], Service: f.fields[1], Network: f.fields[2], Address: f.fields[3], File: files[0]}
}

// read hands on what the master says until the link closes.
func (l *Link) read() {
	defer close(l.events)
	defer close(l.closed)
	defer l.conn.close()
	var settings []byte
	var chains [][]byte
	for {
		f, files, err := l.conn.recv()
		switch {
		case err == errDescriptors:
			chains = nil // they come again with their signer
			l.missed(f)
			continue
		case err != nil:
			return // the master is gone, or no master of ours
		}
		switch f.op {
		case opResult:
			l.result(f)
		case opAccount, opListed, opForwarded, opSecret:
			l.answer(f)
		case opSettings:
			settings = append(settings, f.fields[0]...)
		case opReload:
			l.events <- Reload{settings}
			settings = nil
		case opListener:
			l.events <- NewListener{newListener(f, files)}
		case opCertificate:
			chains = append(chains, []byte(f.fields[0]))
		case opSigner:
			l.events <- NewCertificates{chains, files[0]}
			chains = nil
		case opAuthLink:
			l.auth.answer(helperAnswer{links: files})
		case opNoAuth:
			l.auth.answer(helperAnswer{err: errors.New(f.fields[0])})
		case opShadowLink:
			l.shadow.answer(helperAnswer{links: files})
		case opNoShadow:
			l.shadow.answer(helperAnswer{err: errors.New(f.fields[0])})
		case opAudit:
			l.events <- ToggleAudit{}
		case opStop:
			l.events <- Stop{}
		default:
			closeAll(files)
		}
	}
}

// missed tells of what came without its descriptor, since we have none free.
func (l *Link) missed(f frame) {
	switch f.op {
	case opListener:
		l.events <- Missed{Listener: f.fields[0], Err: errDescriptors}
	case opSigner:
		l.events <- Missed{Err: errDescriptors}
	case opAuthLink:
		l.auth.answer(helperAnswer{err: errDescriptors})
	case opShadowLink:
		l.shadow.answer(helperAnswer{err: errDescriptors})
	}
}

func (l *Link) result(f frame) {
	t, err := parseResult(f.fields)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.results[t.Token]; c != nil {
		select {
		case c <- t.Result:
		default:
		}
	}
}

// answer gives an answer to whoever asked.
func (l *Link) answer(f frame) {
	if q, ok := l.answered(f.fields[0]); ok {
		q.reply <- f
	}
}
