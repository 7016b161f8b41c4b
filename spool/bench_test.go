package spool

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/spool/envelope"
)

// letter is a message of 4 KiB.
var letter = "Subject: bench\n\n" + strings.Repeat("0123456789 0123456789 0123456789 0123456789 0123456789 01234567\n", 64)[:4080]

const writers = 20

// spread runs do n times in writers goroutines and returns how many a second.
func spread(b *testing.B, n int, do func(i int) error) float64 {
	var next atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for range writers {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(begun).Seconds()
}

// floor is the least that keeps the promise with a file a message: create,
// write, sync the file, sync its directory.
func floor(d disk.Dir, name string) error {
	f, err := d.Create(name, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte(letter)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// BenchmarkAccept measures messages of 4 KiB accepted a second by 20 writers,
// and the floor beside it, in turns of 500.
func BenchmarkAccept(b *testing.B) {
	q, dir := tempQueue(b)
	d, err := disk.OS().OpenDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	_ = dir
	env := envelopeFor(1)
	var ours, least, turns float64
	for done := 0; b.Loop(); done++ {
		least += spread(b, 500, func(i int) error { return floor(d, fmt.Sprintf("%d-%d", done, i)) })
		ours += spread(b, 500, func(int) error { _, err := tryAccept(q, env, letter); return err })
		turns++
	}
	b.ReportMetric(ours/turns, "accepted/s")
	b.ReportMetric(least/turns, "floor/s")
	b.ReportMetric(ours/least, "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDeliver measures claim, record and finish of messages of one
// recipient by 20 runners, a second.
func BenchmarkDeliver(b *testing.B) {
	q, _ := tempQueue(b)
	env := envelopeFor(1)
	var rate, turns float64
	for b.Loop() {
		ids := make([]ID, 500)
		spread(b, len(ids), func(i int) (err error) { ids[i-1], err = tryAccept(q, env, letter); return })
		rate += spread(b, len(ids), func(i int) error {
			m, err := q.Claim(ids[i-1])
			if err != nil {
				return err
			}
			if err := m.Record([]envelope.Key{key(0, 0)}, envelope.Delivered); err != nil {
				return err
			}
			return m.Finish()
		})
		turns++
	}
	b.ReportMetric(rate/turns, "delivered/s")
	b.ReportMetric(0, "ns/op")
}
