//go:build linux

package privsep

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// fakeUser is a user's process: what it does is in the name of the item.
func fakeUser() int {
	l, err := ConnectUser()
	if err != nil {
		return 70
	}
	l.Serve(context.Background(), fakeWorker{l})
	return 0
}

type fakeWorker struct{ l *UserLink }

func (w fakeWorker) Run(ctx context.Context, j local.Job) local.Result {
	res := local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered}}
	res.Reply.Code, res.Reply.Status = 250, "2.0.0"
	what, _, _ := strings.Cut(j.Item.Name, ":")
	if what != "unread" {
		n, err := io.Copy(io.Discard, j.Body)
		res.Reply.Text = fmt.Sprintf("%d octets", n)
		if err != nil {
			return failed("the message broke off", err)
		}
	}
	switch what {
	case "job":
		e := j.Envelope
		res.Reply.Text = fmt.Sprintf("%s %s %x %v %s@%s %s@%s %s %s for %s", j.User, j.Item.Source, j.Item.Hash[:2], j.Final,
			e.Sender.Local, e.Sender.Domain, e.Recipient.Local, e.Recipient.Domain, e.Extension, e.QueueID, w.l.Account().Name)
	case "program":
		out, err := exec.Command("/bin/sh", "-c", "ls -l /proc/self/fd; grep -E '^(Sig(Ign|Blk)|NoNewPrivs|Groups|Uid|Gid|Cap...)' /proc/self/status; umask; pwd; ulimit -c; env").CombinedOutput()
		res.Reply.Text = strings.ReplaceAll(fmt.Sprint(string(out), err), "\n", "|")
	case "setid": // a program that prints the lines of a file
		_, path, _ := strings.Cut(j.Item.Name, ":")
		out, err := exec.Command(path, "CapEff", "/proc/self/status").CombinedOutput()
		res.Reply.Text = strings.TrimSpace(strings.ReplaceAll(fmt.Sprint(string(out), err), "\n", "|"))
	case "ask":
		return w.ask(ctx, j, res)
	case "panic":
		panic("a fault")
	}
	return res
}

// ask tells the gate of the job and does what it says.
func (w fakeWorker) ask(ctx context.Context, j local.Job, res local.Result) local.Result {
	c, err := net.Dial("unix", string(w.l.Settings()))
	if err != nil {
		return failed("no gate", err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	fmt.Fprintf(c, "%s %s %d\n", j.User, j.Item.Name, os.Getpid())
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return failed("interrupted", errors.Join(context.Cause(ctx), err))
	}
	switch words := strings.Fields(line); words[0] {
	case "delivered":
	case "refused":
		res.Action, res.Reply.Code, res.Reply.Status = outcome.Bounced, 550, "5.3.0"
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "stop":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "frame": // hexadecimal octets
		var b []byte
		fmt.Sscanf(words[1], "%x", &b)
		w.l.conn.c.Write(b)
		<-ctx.Done()
	}
	return res
}

func (w fakeWorker) List(ctx context.Context, g local.Listing) ([]local.Line, error) {
	switch what, arg, _ := strings.Cut(g.Item.Name, ":"); what {
	case "lines":
		n, _ := strconv.Atoi(arg)
		return numbered(n), nil
	case "owner":
		return nil, &local.OwnerError{File: "/list", User: cmp.Or(arg, "u1"), UID: firstUID + 1}
	case "result": // of a run, to the first request
		w.l.conn.c.Write(resultFrame(local.TokenResult{Token: "1", Result: local.Result{}}).append(nil))
		<-ctx.Done()
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "panic":
		panic("a fault")
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return nil, fmt.Errorf("no list for %s %s %q", g.Item.Source, g.Item.Name, g.Extension)
}

// boxes are the mailboxes that a process writes, where it does.
func (w fakeWorker) boxes() *mailbox.Mailboxes {
	writing.once.Do(func() {
		writing.boxes = mailbox.New(mailbox.Options{
			FS: heldFS{disk.OS(), filepath.Join(filepath.Dir(string(w.l.Settings())), "hold")}, Dir: filepath.Join(filepath.Dir(string(w.l.Settings())), "mail"), Accounts: account.Only(w.l.Account()),
		})
	})
	return writing.boxes
}

var writing struct {
	once  sync.Once
	boxes *mailbox.Mailboxes
}

func (w fakeWorker) Deliver(ctx context.Context, d local.Delivery) local.Result {
	return w.boxes().Deliver(ctx, d)
}

func (w fakeWorker) Hangs() (int, bool) { return w.boxes().Hangs() }

func (w fakeWorker) Forwards(ctx context.Context, user, extension string) (bool, error) {
	return w.boxes().Forwards(ctx, user, extension)
}

// numbered are n lines of a list.
func numbered(n int) []local.Line {
	lines := make([]local.Line, n)
	for i := range lines {
		lines[i].File, lines[i].Line = "/list", i+1
		lines[i].Path.Local, lines[i].Path.Domain = fmt.Sprint("member", i), "example.org"
	}
	return lines
}

// gate is where the workers that are to "ask" come to.
type gate struct {
	t     *testing.T
	l     net.Listener
	calls chan *call
}

// call is a worker that waits.
type call struct {
	user, name string
	pid        int
	c          net.Conn
}

func (c *call) say(format string, args ...any) { fmt.Fprintf(c.c, format+"\n", args...) }

func (h *harness) gate() *gate {
	path := h.path("gate")
	l, err := net.Listen("unix", path)
	testenv.Must(h.t, err)
	testenv.Must(h.t, os.Chmod(path, 0o666))
	g := &gate{h.t, l, make(chan *call, 100)}
	h.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, err := bufio.NewReader(c).ReadString('\n')
			w := strings.Fields(line)
			if err != nil || len(w) != 3 {
				c.Close()
				continue
			}
			pid, _ := strconv.Atoi(w[2])
			g.calls <- &call{w[0], w[1], pid, c}
		}
	}()
	return g
}

// next waits for a worker.
func (g *gate) next() *call {
	g.t.Helper()
	select {
	case c := <-g.calls:
		g.t.Cleanup(func() { c.c.Close() })
		return c
	case <-time.After(2 * time.Minute):
		g.t.Fatal("no worker came")
		return nil
	}
}

// userCommand is what the fake server does about users' processes.
func (s *fake) userCommand(words []string) string {
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	item := local.Item{Source: local.Source(arg(2)), Name: arg(3)}
	copy(item.Hash[:], "ab")
	switch ctx := context.Background(); arg(0) {
	case "run": // user source name token octets
		n, _ := strconv.Atoi(arg(5))
		j := local.Job{User: arg(1), Item: item, Body: io.LimitReader(letters{}, int64(n))}
		j.Envelope.Sender.Local, j.Envelope.Sender.Domain = "s", "one.example"
		j.Envelope.Recipient.Local, j.Envelope.Recipient.Domain = "r+x", "two.example"
		j.Envelope.Extension, j.Envelope.QueueID, j.Final = "x", "Q1", true
		return resultLine(s.link.Run(ctx, arg(4), j))
	case "brokenrun": // user source name token: the message breaks off
		body := io.MultiReader(io.LimitReader(letters{}, 1<<20), readerFunc(func([]byte) (int, error) { return 0, errors.New("disk") }))
		return resultLine(s.link.Run(ctx, arg(4), local.Job{User: arg(1), Item: item, Body: body}))
	case "list": // user source name extension
		lines, err := s.link.List(ctx, local.Listing{User: arg(1), Item: item, Extension: arg(4)})
		if owner, ok := errors.AsType[*local.OwnerError](err); ok {
			return fmt.Sprintf("owner %+v", *owner)
		}
		if err != nil || len(lines) == 0 {
			return strings.ReplaceAll(fmt.Sprint(len(lines), " lines, ", err), "\n", "|")
		}
		last := lines[len(lines)-1]
		return fmt.Sprintf("%d lines, last %s:%d %s", len(lines), last.File, last.Line, last.Target)
	case "giveup": // user name n: lists that nobody waits for any more
		var asked sync.WaitGroup
		n, _ := strconv.Atoi(arg(3))
		for range n {
			asked.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
				s.link.List(ctx, local.Listing{User: arg(1), Item: local.Item{Source: local.FromAlias, Name: arg(2)}})
			})
		}
		asked.Wait()
		return "ok"
	case "forwards": // user extension
		yes, err := s.link.Forwards(ctx, arg(1), arg(2))
		return fmt.Sprint(yes, " ", err)
	}
	return s.misbehave(words)
}

func resultLine(r local.Result) string {
	return fmt.Sprint(r.String(), " ", r.Reply.Status, " ", strings.ReplaceAll(r.Reply.Text, "\n", "|"), " ", strings.ReplaceAll(fmt.Sprint(r.Err), "\n", "|"))
}

// status is a process's /proc/PID/status as a map.
func status(t *testing.T, pid int) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	testenv.Must(t, err)
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		m[name] = strings.Join(strings.Fields(value), " ")
	}
	return m
}

// userProcesses are the processes of users that the master of this test has alive.
func userProcesses(t *testing.T) []int {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	testenv.Must(t, err)
	var list []int
	for _, name := range entries {
		if pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name))); isUserProcess(t, pid) {
			list = append(list, pid)
		}
	}
	// The first may have ended before the last was looked at.
	return slices.DeleteFunc(list, func(pid int) bool { return !isUserProcess(t, pid) })
}

// isUserProcess says whether pid is a user's process of this test binary's: other
// tests run beside it.
func isUserProcess(t *testing.T, pid int) bool {
	t.Helper()
	own, err := os.Readlink("/proc/self/exe")
	testenv.Must(t, err)
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || exe != own {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.HasPrefix(string(b), UserRole)
}

// awaitEnd waits for the end of a process that need not be our child.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	testenv.Must(t, err)
	defer unix.Close(fd)
	waitReadable(t, fd, fmt.Sprintf("process %d to end", pid))
}
