package crashfs

// point is the disk at an instant between two calls, and what had been
// acknowledged by then.
type point struct {
	disk  state
	acked int // of the world's list; set when the next call comes
	calls int
	last  call
}

// record starts noting a point after every call that changes the disk. All
// that is there is made durable first: it is where the scenario starts from.
func (f *FS) record() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.disk.syncAll()
	f.w.points = []point{{disk: f.w.disk.snapshot()}}
}

// resume starts noting points without making anything durable.
func (f *FS) resume() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.points = []point{{disk: f.w.disk.snapshot()}}
}

// mark notes a point. Acknowledgements given since the last one belong to it:
// whoever gave them had seen all of its calls return.
func (w *world) mark() {
	if w.points == nil {
		return
	}
	w.points[len(w.points)-1].acked = len(w.acked)
	w.points = append(w.points, point{disk: w.disk.snapshot(), acked: len(w.acked), calls: w.calls, last: w.trace[w.calls%traceLength]})
}

// ack notes that somebody outside has been told that id is done. What a dead
// process says is not heard.
func (f *FS) ack(id string) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if !f.dead {
		f.w.acked = append(f.w.acked, id)
	}
}

// recorded returns the points noted and the acknowledgements.
func (f *FS) recorded() ([]point, []string) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if n := len(f.w.points); n > 0 {
		f.w.points[n-1].acked = len(f.w.acked)
	}
	return f.w.points, f.w.acked
}
