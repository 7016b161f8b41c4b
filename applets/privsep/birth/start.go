package birth

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/privsep/creds"
	"postoffice/applets/service"
)

// Options say what is started.
type Options struct {
	Argv0      string // the role
	Identity   creds.Identity
	NoNewPrivs bool     // it is born with no_new_privs
	Stderr     *os.File // nil: /dev/null
}

// Child is a process that is not yet what it is to be.
type Child struct {
	Cmd  *exec.Cmd // somebody must wait for it
	door *net.UnixConn
	who  creds.Identity
}

// Start starts this program in a session of its own, as root if we are. What it
// is to be lies in its door when it is executed.
func Start(o Options) (*Child, error) {
	ours, theirs, err := Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := &exec.Cmd{
		Path:        service.Program(),
		Args:        []string{o.Argv0},
		Env:         service.ChildEnv(),
		Dir:         "/",
		ExtraFiles:  []*os.File{theirs}, // becomes doorFD
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if o.Stderr != nil { // a nil *os.File is an io.Writer that is not nil
		cmd.Stderr = o.Stderr
	}
	err = vouch(ours)
	if err == nil {
		_, err = ours.Write(encode(o.Identity))
	}
	if err == nil {
		err = o.start(cmd)
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	return &Child{Cmd: cmd, door: ours, who: o.Identity}, nil
}

// start starts it from a thread that ends then, so that nothing else gets what
// is set for the child.
func (o Options) start(cmd *exec.Cmd) (err error) {
	creds.OnThread(func() bool {
		if err = creds.Bear(o.Identity, cmd.SysProcAttr); err == nil && o.NoNewPrivs {
			err = creds.NoNewPrivs()
		}
		if err == nil {
			err = cmd.Start()
		}
		return false
	})
	return err
}

// ErrEnded says that the child has ended, or closed its door, without a word.
var ErrEnded = errors.New("it ended before it was ready")

// Link returns our end of the child's link, which it gives away when it has become
// what it is to be. Whatever else comes, or nothing in time, is an error, and
// the child is to be killed. It is called once.
func (c *Child) Link(wait time.Duration) (*net.UnixConn, error) {
	defer c.door.Close()
	if err := c.door.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	text, oob := make([]byte, maxWords), make([]byte, maxControl)
	n, oobn, flags, _, err := c.door.ReadMsgUnix(text, oob)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil, ErrEnded
	}
	if err != nil {
		return nil, fmt.Errorf("wait until it is ready: %w", err)
	}
	from, files, err := vouched(oob[:oobn], sender{c.Cmd.Process.Pid, c.who.UID, c.who.GID})
	if err == nil {
		err = c.fitting(from, files, flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0, string(text[:n]))
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, err
	}
	return Conn(files[0])
}

// sender is who sent a message, as the kernel says.
type sender struct{ pid, uid, gid int }

// fitting says why a message is not what a child of ours sends once.
func (c *Child) fitting(from sender, files []*os.File, cut bool, text string) error {
	if from.pid != c.Cmd.Process.Pid {
		return fmt.Errorf("process %d (uid %d) has taken its door", from.pid, from.uid)
	}
	if why, ok := strings.CutPrefix(text, string(unfit)); ok {
		return errors.New(strings.ToValidUTF8(why, "?"))
	}
	if want := (sender{from.pid, c.who.UID, c.who.GID}); from != want {
		return fmt.Errorf("it has uid %d and gid %d, not %d and %d", from.uid, from.gid, want.uid, want.gid)
	}
	if cut || len(files) != 1 || text != string(ready) {
		return fmt.Errorf("it said %.10q and gave %d descriptors away, not its link", text, len(files))
	}
	return nil
}
