package passwords

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/creds"
	"postoffice/internal/account"
)

// Role is the process that runs the command of option relay-password-command, with its
// user's ids.
const Role = "postoffice: password"

const (
	commandWait = 10 * time.Second // for the command's line, and its end
	maxRequest  = 8 << 10          // octets of what the process is told
	freshWait   = 10 * time.Second // so long a line is good for further sessions
	againWait   = time.Minute      // so long one is that was refused: a command isn't run for each message
)

// A request is what the process of the command is told.
type request struct {
	Command, Home, Name string
	Host, User          string // whose password is wanted
}

// The first octet of its answer; behind it stands the line, or why there is none.
const (
	answered = '+'
	refused  = '-'
)

// ask has the command run as its user.
func ask(ctx context.Context, option, host, user string) (string, error) {
	name, command, _ := strings.Cut(option, ":")
	who := account.Machine()
	a, err := who.Lookup(ctx, name)
	switch {
	case err != nil:
		return "", fmt.Errorf("relay-password-command: look up %s: %w", name, err)
	case a.UID == 0:
		return "", fmt.Errorf("relay-password-command: %s is root, and the command is never run as root: give it another account", name)
	}
	r := request{Command: command, Home: a.Home, Name: a.Name, Host: host, User: user}
	if os.Geteuid() != 0 {
		if a.UID != os.Geteuid() {
			return "", fmt.Errorf("relay-password-command: this server can run it as its own user alone, not as %s", name)
		}
		return r.run(ctx)
	}
	groups, err := who.Groups(ctx, a)
	if err != nil {
		return "", fmt.Errorf("relay-password-command: groups of %s: %w", name, err)
	}
	child, err := birth.Start(birth.Options{Argv0: Role, Identity: creds.Identity{UID: a.UID, GID: a.GID, Groups: groups, Bare: creds.MayCut()}, NoNewPrivs: true})
	if err != nil {
		return "", fmt.Errorf("relay-password-command: %w", err)
	}
	defer func() {
		child.Cmd.Process.Kill()
		child.Cmd.Wait()
	}()
	return r.send(child)
}

// send gives the request to the process and reads its answer.
func (r request) send(child *birth.Child) (string, error) {
	link, err := child.Link(commandWait)
	if err != nil {
		return "", fmt.Errorf("relay-password-command: %w", err)
	}
	defer link.Close()
	text, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	if len(text) > maxRequest {
		return "", errors.New("relay-password-command: too long")
	}
	if err := link.SetDeadline(time.Now().Add(commandWait + commandWait/2)); err != nil {
		return "", err
	}
	if _, err := link.Write(text); err != nil {
		return "", err
	}
	b := make([]byte, maxPassword+1)
	n, err := link.Read(b)
	switch {
	case err != nil:
		return "", fmt.Errorf("relay-password-command: its process has ended: %w", err)
	case n == 0:
		return "", errors.New("relay-password-command: its process has ended")
	case b[0] == answered:
		return checked(string(b[1:n]))
	}
	return "", fmt.Errorf("relay-password-command: %.500q", b[1:n])
}

// Run is the process of Role.
func Run() error {
	link, err := birth.Become()
	if err != nil {
		return err
	}
	defer link.Close()
	b := make([]byte, maxRequest)
	n, err := link.Read(b)
	if err != nil {
		return err
	}
	var r request
	if err := json.Unmarshal(b[:n], &r); err != nil {
		return err
	}
	line, err := r.run(context.Background())
	answer := string(answered) + line
	if err != nil {
		answer = string(refused) + err.Error()
	}
	_, err = link.Write([]byte(answer[:min(len(answer), maxPassword+1)]))
	return err
}

// run runs the command, with our ids, and returns its line.
func (r request) run(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	words := strings.Fields(r.Command)
	if len(words) == 0 {
		return "", errors.New("no command")
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + r.Home, "USER=" + r.Name, "LOGNAME=" + r.Name, "RELAY_HOST=" + r.Host, "RELAY_USER=" + r.User}
	var out limited
	cmd.Stdout = &out
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("the command took longer than %v", commandWait)
	case err != nil:
		return "", fmt.Errorf("the command failed: %w", err)
	}
	return checked(out.b.String())
}

// limited keeps so much of an output that one can see that there was too much.
type limited struct{ b bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.b.Write(p[:min(len(p), maxPassword+2-min(l.b.Len(), maxPassword+2))])
	return len(p), nil
}

// checked returns the one line of an output.
func checked(text string) (string, error) {
	line := strings.TrimRight(text, "\r\n")
	switch {
	case line == "":
		return "", errors.New("the command printed nothing: want one line with the password")
	case len(line) > maxPassword:
		return "", fmt.Errorf("the command printed more than %d octets", maxPassword)
	case strings.ContainsAny(line, "\r\n\x00"):
		return "", errors.New("the command printed more than one line")
	}
	return line, nil
}
