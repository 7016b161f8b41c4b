package privsep

import (
	"strings"
	"sync"

	"postoffice/deliver/local"
)

// maxKept bounds the results that are kept for servers that don't record them:
// beyond it nothing more is delivered.
const maxKept = 10_000

// results holds the deliveries that are under way, and the results of those
// that were made and are not yet recorded. It outlives every server.
type results struct {
	mu   sync.Mutex // guards kept
	kept map[string]*kept
}

type kept struct {
	running bool
	result  local.Result // Delivered
}

// verdict says what to do with a delivery that is asked for.
type verdict int

const (
	deliverIt   verdict = iota // it is marked as running now
	alreadyDone                // it was delivered: here is the result
	stillRuns                  // an earlier request for it is not finished
	tooMany                    // too many results wait to be recorded
)

// begin decides about a delivery. One that was made and is not recorded is
// never made again.
func (r *results) begin(token string) (verdict, local.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[token]
	switch {
	case k != nil && k.running:
		return stillRuns, local.Result{}
	case k != nil:
		return alreadyDone, k.result
	case len(r.kept) >= maxKept:
		return tooMany, local.Result{}
	}
	r.kept[strings.Clone(token)] = &kept{running: true} // not the message that it came with
	return deliverIt, local.Result{}
}

// end keeps the result of a delivery that was made. Any other is forgotten:
// asked again, it costs a second look and nothing else.
func (r *results) end(token string, res local.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if res.Status == local.Delivered {
		*r.kept[token] = kept{result: res}
	} else {
		delete(r.kept, token)
	}
}

// recorded forgets a result.
func (r *results) recorded(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.kept[token]; k != nil && !k.running {
		delete(r.kept, token)
	}
}

// unrecorded returns the results that a new server has to hear.
func (r *results) unrecorded() []TokenResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []TokenResult
	for token, k := range r.kept {
		if !k.running {
			list = append(list, TokenResult{token, k.result})
		}
	}
	return list
}
