package privsep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/maillog"
)

// UserRole is a user's process; his name follows in argv[0].
const UserRole = "postoffice: user "

// helperEnd is what a user's process has to end its programs and itself once
// its link is closed.
const helperEnd = 2 * time.Second

var errUserEnded = errors.New("the user's process ended")

// helper is the master's side of a user's process. What it sends is as little
// trusted as what the server sends: its user may have taken it over.
type helper struct {
	people     *people
	account    local.Account
	generation int // of the settings
	settings   []byte
	runTime    time.Duration
	started    chan struct{} // closed when the process runs or err is set
	err        error
	conn       *conn
	cmd        *exec.Cmd
	lost       chan struct{} // closed when nothing comes any more

	// Guarded by people.mu.
	busy    [kinds]int
	leaving bool        // its link is closed: no new requests
	since   time.Time   // it has been unused, or leaving
	timer   *time.Timer // ends it when it is idle
	killer  *time.Timer // and when it does not end

	mu      sync.Mutex // guards what follows
	serial  uint64
	waiting map[string]chan frame
}

// unused says that the helper runs and nobody needs it. The caller holds
// people.mu.
func (h *helper) unused() bool { return h.busy == [kinds]int{} && !h.leaving }

// startHelper starts /proc/self/exe as the user with his groups, in a session
// of its own, with nothing but /dev/null and its end of the link. It may gain
// rights by set-id programs, as any process of the user's.
func startHelper(a local.Account, groups []uint32) (*conn, *exec.Cmd, error) {
	if a.UID == 0 {
		return nil, nil, fmt.Errorf("user %s has uid 0", a.Name)
	}
	ours, theirs, err := linkPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{UserRole + title(a.Name)},
		Env:         childEnv(),
		Dir:         "/",
		ExtraFiles:  []*os.File{theirs}, // becomes linkFD
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if a.UID != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID), Groups: groups}
	}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, nil, err
	}
	return newConn(ours, fromUser(), toUser()), cmd, nil
}

// title is a user's name as ps(1) may show it.
func title(name string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, name[:min(len(name), 32)])
}

// handOver sends a new process what it is to know.
func (h *helper) handOver() error {
	if err := sendPieces(h.conn, h.settings); err != nil {
		return err
	}
	return h.conn.send(accountFrame("0", lookupFound, h.account, ""))
}

// ask sends a request, whose first field becomes its serial, and returns the
// answer to it. It closes the file.
func (h *helper) ask(limit time.Duration, f frame, file *os.File) (frame, error) {
	answer := make(chan frame, 1)
	h.mu.Lock()
	h.serial++
	serial := strconv.FormatUint(h.serial, 10)
	h.waiting[serial] = answer
	h.mu.Unlock()
	defer h.forget(serial)
	f = frame{f.op, append([]string{serial, h.account.Name}, f.fields[2:]...)}
	if source := f.fields[2]; source == local.FromForward || source == local.FromMailer {
		f.fields[3] = h.account.Name // it is his own, however it was spelt
	}
	err := h.conn.send(f, file)
	file.Close()
	if err != nil {
		h.fail(fmt.Errorf("ask a user's process: %w", err))
		return frame{}, errUserEnded
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case a := <-answer:
		return h.fitting(f, a)
	case <-timer.C:
		h.fail(fmt.Errorf("no answer in %v", limit))
		return frame{}, fmt.Errorf("%w: it gave no answer in %v", errUserEnded, limit)
	case <-h.lost:
	}
	select {
	case a := <-answer: // it came before the end
		return h.fitting(f, a)
	default:
		return frame{}, errUserEnded
	}
}

// fitting returns the answer if it is of the kind that was asked for: the
// server would wait for ever for any other.
func (h *helper) fitting(asked, a frame) (frame, error) {
	if (asked.op == opRun) != (a.op == opResult) {
		h.fail(fmt.Errorf("%w: op %d in answer to op %d", errFrame, a.op, asked.op))
		return frame{}, errUserEnded
	}
	return a, nil
}

func (h *helper) forget(serial string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting, serial)
}

// read takes answers until the link closes.
func (h *helper) read() {
	defer close(h.lost)
	for {
		f, _, err := h.conn.recv()
		if err == nil {
			err = h.answer(f)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			h.people.mu.Lock()
			h.people.end(h)
			h.people.mu.Unlock()
		default:
			h.fail(err)
		}
		return
	}
}

// answer hands an answer on, once, if it is one that a process of ours gives.
func (h *helper) answer(f frame) error {
	var err error
	if f.op == opResult {
		_, err = parseResult(f.fields)
	} else if e := parseListed(f); errors.Is(e, errFrame) {
		err = e
	}
	if err != nil {
		return err
	}
	h.mu.Lock()
	c := h.waiting[f.fields[0]]
	delete(h.waiting, f.fields[0])
	h.mu.Unlock()
	if c == nil {
		return fmt.Errorf("%w: an answer to %q, which nobody asked", errFrame, f.fields[0])
	}
	c <- f
	return nil
}

// fail kills a process that does not do what ours do.
func (h *helper) fail(err error) {
	h.people.mu.Lock()
	told := h.leaving
	h.people.end(h)
	h.people.mu.Unlock()
	if told {
		return
	}
	h.people.log.LogAttrs(context.Background(), slog.LevelError, "user's process killed", maillog.User(h.account.Name), maillog.Err(err))
	h.kill()
}

func (h *helper) kill() { h.cmd.Process.Kill() }

// watch waits for the end of the process.
func (h *helper) watch() {
	err := h.cmd.Wait()
	h.people.mu.Lock()
	told := h.leaving
	h.people.mu.Unlock()
	if !told || err != nil {
		text := exitError(UserRole+title(h.account.Name), err).Text
		h.people.log.LogAttrs(context.Background(), slog.LevelWarn, "user's process ended", maillog.User(h.account.Name), maillog.Reason(text))
	}
	<-h.started
	h.conn.close()
	<-h.lost
	h.people.gone(h)
}
