package schedule

import "postoffice/spool"

// A state says where an item is.
type state uint8

const (
	waiting state = iota // in the heap, until it is due
	fresh                // in the list of arrivals, or in that of the called
	active               // there is a Work
	inLine               // at a gate that was full
	aside                // its record failed: not touched again (A38)
)

// An item is a message as the schedule knows it.
type item struct {
	id      spool.ID
	due     int64 // nanoseconds of the schedule's clock
	woken   int64 // the same: attempts before do not count; 0: all do
	index   int32 // place in the heap
	state   state
	again   bool // woken while active
	reroute bool // what is pending is to go where the files say now

	submitter string // "": not known yet

	reserved *gate   // keeps a place for it
	kept     int     // how many it keeps
	wants    int     // places at All(Recipients) that it was refused
	lines    []*gate // in whose lines it stands
	only     Gate    // the one that it waits for, if there is no other
	work     *Work   // while active
}

// dueHeap is a container/heap by due time.
type dueHeap []*item

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

func (h *dueHeap) Push(x any) {
	it := x.(*item)
	it.index = int32(len(*h))
	*h = append(*h, it)
}

func (h *dueHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}

// shift takes the first of a list off it.
func shift(list []*item) (*item, []*item) {
	it := list[0]
	list[0] = nil
	if len(list) == 1 {
		return it, nil
	}
	return it, list[1:]
}
