package maillog

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// MaxLine bounds a line of the log with its newline, in octets.
const MaxLine = 1000

// Options says where the log goes and what it looks like.
type Options struct {
	Sink    string     // "stderr", "stdout", "syslog" or "file:" and a path
	Format  string     // "text" (default) or "json"
	Program string     // who logs: "smtpd", "sendmail"
	Level   slog.Level // what is below is left out
	Stderr  io.Writer  // the sinks "stderr" and "stdout"; nil: os.Stderr
	Socket  string     // of syslog; "": /dev/log
	UID     int        // as root: the owner of a file that is made, who writes to it too; 0: root
	GID     int        // its group
}

// Output is where a log goes.
type Output interface {
	io.Closer
	// Reopen is for a file that was renamed: what is logged from here on goes
	// into a new one. An error says why it can't be opened; then the old one
	// takes the lines.
	Reopen() error
}

// New opens the log. Closing it waits at most a second for lines that are
// still queued; what is logged afterwards is lost. A file that can't be opened
// is an error; a syslog daemon that isn't there is not, it is tried again with
// every line.
func New(o Options) (*slog.Logger, Output, error) {
	form := &format{program: o.Program, pid: os.Getpid(), json: o.Format == "json"}
	to, err := o.open(form)
	if err != nil {
		return nil, nil, err
	}
	q := startQueue(to, form)
	return slog.New(&handler{level: o.Level, form: form, queue: q}), q, nil
}

// Discard is a logger that drops everything.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// CheckSyslog says why the syslog daemon can't be reached now.
func (o Options) CheckSyslog() error {
	s := syslogSink{path: o.socket()}
	_, err := s.connected(true)
	s.close() // nothing was sent
	return err
}

func (o Options) socket() string {
	if o.Socket == "" {
		return "/dev/log"
	}
	return o.Socket
}

func (o Options) open(form *format) (sink, error) {
	name, isFile := strings.CutPrefix(o.Sink, "file:")
	switch {
	case isFile:
		return openFile(name, o.UID, o.GID)
	case o.Sink == "syslog":
		form.syslog = true
		return &syslogSink{path: o.socket()}, nil
	case o.Sink == "stderr", o.Sink == "stdout": // one stream, which the server chooses
		if o.Stderr == nil {
			o.Stderr = os.Stderr
		}
		return streamSink{o.Stderr}, nil
	}
	return nil, fmt.Errorf("no log sink %q", o.Sink)
}
