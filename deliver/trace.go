package deliver

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

const maxTrace = 1000 // Delivered-To fields that are remembered

// trace is what a message's header says of its way.
type trace struct {
	received    int             // Received fields, ours included
	deliveredTo map[string]bool // folded addresses of Delivered-To fields
}

// header reads the trace of the message, once an attempt.
func (a *attempt) header() *trace {
	if a.trace == nil {
		a.trace = readTrace(a.m.Data())
	}
	return a.trace
}

// readTrace reads a header to its end. Of a line only the start is held. A
// read error ends it: whatever reads the message next meets the same.
func readTrace(src io.Reader) *trace {
	t := &trace{deliveredTo: map[string]bool{}}
	in := bufio.NewReaderSize(src, 4096)
	start := true
	for {
		line, err := in.ReadSlice('\n')
		if start {
			if line = bytes.TrimRight(line, "\n"); len(line) == 0 {
				return t
			}
			t.field(line)
		}
		switch err {
		case nil:
			start = true
		case bufio.ErrBufferFull:
			start = false
		default:
			return t
		}
	}
}

func (t *trace) field(line []byte) {
	name, value, ok := strings.Cut(string(line[:min(len(line), 1024)]), ":")
	switch name = fold(strings.TrimRight(name, " \t")); {
	case !ok:
	case name == "received":
		t.received++
	case name == "delivered-to" && len(t.deliveredTo) < maxTrace:
		t.deliveredTo[fold(strings.Trim(value, " \t"))] = true
	}
}
