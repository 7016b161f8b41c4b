package maillog

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	queueLines = 1024        // at most MaxLine octets each, so 1 MB in all
	batchLines = 64          // handed to the sink at once
	closeWait  = time.Second // for what is queued when the log is closed
	lookPause  = 10 * time.Second
)

// sink takes lines, one goroutine at a time.
type sink interface {
	// write returns how many of the lines it took.
	write(lines [][]byte) (int, error)
	// look follows a name that may mean something else now; any goroutine
	// may call it.
	look() error
	// close may be called while write waits, and ends that wait if it can.
	close() error
}

// queue stands between those who log and the sink.
type queue struct {
	lines   chan []byte
	dropped atomic.Int64 // lines that were lost and not yet told
	form    *format
	sink    sink
	once    sync.Once
	stop    chan struct{} // closed by Close
	ended   chan struct{} // closed when the writer has returned
}

// startQueue starts the one goroutine that writes; Close ends it.
func startQueue(to sink, form *format) *queue {
	q := &queue{
		lines: make(chan []byte, queueLines),
		form:  form,
		sink:  to,
		stop:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	go q.run()
	return q
}

// put queues a line, or counts it as dropped where the queue is full.
func (q *queue) put(line []byte) {
	select {
	case q.lines <- line:
	default:
		q.dropped.Add(1)
	}
}

// Reopen looks at once for the file that the name means now; without it that is
// done with each line, and every ten seconds.
func (q *queue) Reopen() error { return q.sink.look() }

// run writes until it is stopped and then what is left. It looks after its file
// also when there is nothing to write: another process of ours, which may make
// none, waits for a new one.
func (q *queue) run() {
	defer close(q.ended)
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = q.sink.look() // again with the next line
		case line := <-q.lines:
			q.flush(q.batch(line))
		case <-q.stop:
			for {
				select {
				case line := <-q.lines:
					q.flush(q.batch(line))
				default:
					return
				}
			}
		}
	}
}

// batch takes what else is waiting.
func (q *queue) batch(first []byte) [][]byte {
	lines := [][]byte{first}
	for len(lines) < batchLines {
		select {
		case line := <-q.lines:
			lines = append(lines, line)
		default:
			return lines
		}
	}
	return lines
}

// flush hands lines to the sink, in front of them how many were lost since
// the sink last took one.
func (q *queue) flush(lines [][]byte) {
	told := q.dropped.Load()
	if told > 0 {
		lines = append([][]byte{q.notice(told)}, lines...)
	}
	n, _ := q.sink.write(lines)
	lost := len(lines) - n
	if told > 0 && n > 0 {
		q.dropped.Add(-told)
	} else if told > 0 {
		lost-- // the notice itself
	}
	q.dropped.Add(int64(lost))
}

func (q *queue) notice(lost int64) []byte {
	return q.form.line(time.Now(), slog.LevelWarn, "log lines lost",
		[]field{{"lost", fmt.Sprint(lost), true}})
}

// Close stops the writer. A sink that doesn't take what is left within
// closeWait is closed under it.
func (q *queue) Close() error {
	var err error
	q.once.Do(func() {
		close(q.stop)
		late := time.NewTimer(closeWait)
		defer late.Stop()
		select {
		case <-q.ended:
		case <-late.C:
		}
		err = q.sink.close()
	})
	return err
}
