package control

import (
	"context"
	"sync"
	"time"

	"postoffice/internal/peer"
)

// Limits of questions: what reads the queue, or asks DNS, for an answer. Who asks
// more waits for a turn. Those of root and the server's user are not counted.
const (
	maxQuestions     = 8                // questions in work at once, for all users together
	maxQuestionsEach = 2                // of them for one user
	questionWait     = 30 * time.Second // for a question's turn
)

// questions are those in work.
type questions struct {
	room peer.Room[int] // by uid

	mu      sync.Mutex    // guards what follows
	freed   chan struct{} // closed when one is over; nil: nobody waits
	waiting int
}

// question does work when it is its turn.
func (s *server) question(ctx context.Context, a *answer, p Peer, work func() error) error {
	uid, counted := s.places(0).Key(p.UID)
	if !counted {
		return work()
	}
	q := &s.asked
	if err := q.enter(ctx, uid); err != nil {
		return err
	}
	defer q.leave(uid)
	busy := a.crowded
	a.crowded = func() bool { return busy != nil && busy() || q.awaited() }
	return work()
}

// enter waits for a turn.
func (q *questions) enter(ctx context.Context, uid int) error {
	limit := time.NewTimer(questionWait)
	defer limit.Stop()
	for {
		q.mu.Lock()
		if q.room.Enter(uid, maxQuestions, maxQuestionsEach) {
			q.mu.Unlock()
			return nil
		}
		if q.freed == nil {
			q.freed = make(chan struct{})
		}
		freed := q.freed
		q.waiting++
		q.mu.Unlock()
		var err error
		select {
		case <-freed:
		case <-limit.C:
			err = &Error{codeTempFail, "too many questions are being answered, try again later"}
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		q.mu.Lock()
		q.waiting--
		q.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// leave gives a turn to whoever waits.
func (q *questions) leave(uid int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.room.Leave(uid)
	if q.freed != nil {
		close(q.freed)
		q.freed = nil
	}
}

// awaited reports whether somebody waits for a turn.
func (q *questions) awaited() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting > 0
}
