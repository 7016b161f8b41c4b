package deliver

import (
	"bufio"
	"io"
	"sync"

	headers "postoffice/internal/message"
	"postoffice/internal/smtp"
)

// The most of a header's loop that is remembered: Delivered-To fields, and
// octets of one.
const (
	maxDeliveredTo = 1000 // Delivered-To fields that are remembered
	maxLoopField   = 1024 // octets of one
)

// loop is what a message's header says of its way: if that is a circle, it
// shows here.
type loop struct {
	received    int             // Received fields, ours included
	deliveredTo map[string]bool // folded addresses of Delivered-To fields
}

// headerReaders are not in use. They are a sixth of what a message takes of memory, so
// that without them the collector runs a sixth more often.
var headerReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

// readLoop reads a header to its end. A read error ends it: whatever reads the
// message next meets the same.
func readLoop(src io.Reader) *loop {
	l := &loop{deliveredTo: map[string]bool{}}
	r := headerReaders.Get().(*bufio.Reader)
	r.Reset(src)
	defer func() {
		r.Reset(nil)
		headerReaders.Put(r)
	}()
	for f, err := range headers.Fields(r, maxLoopField) {
		switch {
		case err != nil:
		case f.Is("Received"):
			l.received++
		case f.Is("Delivered-To") && len(l.deliveredTo) < maxDeliveredTo:
			l.deliveredTo[smtp.Fold(string(f.Value()))] = true
		}
	}
	return l
}
