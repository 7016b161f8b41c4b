package signer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"postoffice/internal/maillog"
)

// leaveWait is how long a signer whose keys were followed by others may go on: longer than
// the server keeps its link, with which it ends, unless it has hung.
const leaveWait = 2 * time.Minute

var (
	errEnded = errors.New("the signer has ended")
	errHung  = errors.New("the signer answered nobody for 10s") // signWait
)

// Keeper keeps a signer for a server, for the process that starts both.
type Keeper struct {
	Give        func() (*Process, error) // starts one and gives the server its link; neither: there are no keys
	Renew       <-chan struct{}          // there are other keys
	Hung        <-chan struct{}          // the server says that the last one answers nobody
	First, Last time.Duration            // pauses before another one: after a first end, and after many
	Log         *slog.Logger
}

// Keep gives the server another signer when there are other keys, and when the one that
// Give has returned has ended or hung, until ctx ends. Then none of them lives.
func (k Keeper) Keep(ctx context.Context, p *Process, err error) {
	var old sync.WaitGroup
	defer old.Wait()
	defer func() { p.kill() }() // with its link it ends itself, but for one that hangs
	for pause, began := k.First, time.Now(); ; {
		var ended <-chan error
		var hung <-chan struct{}
		var again <-chan time.Time
		if p != nil {
			ended, hung = p.Ended, k.Hung
		} else if err != nil {
			again = time.After(pause)
			pause = min(2*pause, k.Last)
		}
		select {
		case <-ctx.Done():
			return
		case <-k.Renew:
			pause = k.First
			left := p
			old.Go(func() { left.leave(ctx) })
		case <-again:
		case <-hung:
			p.kill()
			p, err = nil, k.lost(errHung, &pause, began)
			continue
		case why := <-ended:
			p, err = nil, k.lost(why, &pause, began)
			continue
		}
		select {
		case <-k.Hung: // of one that has ended since
		default:
		}
		began = time.Now()
		p, err = k.Give()
	}
}

// lost tells of a signer's end, and returns it. The pause before the next one is the first
// again where this one did its work for long.
func (k Keeper) lost(why error, pause *time.Duration, began time.Time) error {
	if time.Since(began) > k.Last {
		*pause = k.First
	}
	if why == nil { // with its server, maybe
		return errEnded
	}
	k.Log.LogAttrs(context.Background(), slog.LevelError, "signer ended", maillog.Err(why), slog.Duration("pause", *pause))
	return why
}

// leave waits for the end of a signer that nobody asks any more.
func (p *Process) leave(ctx context.Context) {
	if p == nil {
		return
	}
	wait := time.NewTimer(leaveWait)
	defer wait.Stop()
	select {
	case <-p.Ended:
		return
	case <-wait.C:
	case <-ctx.Done():
	}
	p.kill()
}
