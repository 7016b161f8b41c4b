package trymilter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postoffice/applets/config"
)

// maxMessage bounds the message of a trial, in octets: it is held in memory.
const maxMessage = 64 << 20

// usual is the message of a trial where none is given.
const usual = "From: <postmaster@%[1]s>\nTo: <postmaster@%[1]s>\nSubject: a trial of a mail filter\nMessage-ID: <trial@%[1]s>\nDate: Mon, 30 Nov 2026 12:00:00 +0000\n\nThis message goes nowhere: postoffice milter test has made it.\n"

// A Task is a trial with all that it needs.
type Task struct {
	Settings []byte // of the configuration
	Name     string // of the filter
	Message  []byte // lines that end in LF
}

// NewTask prepares the trial of a filter, by its name or address, with the message of a
// file; "": with one of ours.
func NewTask(conf *config.Config, name, file string) (Task, error) {
	t := Task{Settings: conf.Encode(), Name: name}
	if _, err := t.filter(conf); err != nil {
		return t, err
	}
	if file == "" {
		t.Message = fmt.Appendf(nil, usual, "example.org")
		return t, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return t, err
	}
	defer f.Close()
	if t.Message, err = io.ReadAll(io.LimitReader(f, maxMessage+1)); err != nil {
		return t, err
	}
	if len(t.Message) > maxMessage {
		return t, fmt.Errorf("%s has more than %d octets: take a shorter message", file, maxMessage)
	}
	t.Message = []byte(strings.ReplaceAll(string(t.Message), "\r\n", "\n"))
	return t, nil
}

// errNone is that no filter is set.
var errNone = errors.New("option filter names no filter: add a line filter=/socket or filter=host:port")
