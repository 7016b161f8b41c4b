package prometheus

import (
	"math"
	"slices"
	"testing"
)

func TestHistogram(t *testing.T) {
	h := NewHistogram(HistogramOpts{Buckets: LinearBuckets(1, 2, 3)}) // 1, 3, 5
	for _, v := range []float64{0, 1, 1.5, 3, 5, 5.1, 100} {
		h.Observe(v)
	}
	var got []uint64
	for i := range h.counts {
		got = append(got, h.counts[i].Load())
	}
	if want := []uint64{2, 2, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	NewHistogram(HistogramOpts{}).Observe(1)
}

func TestBuckets(t *testing.T) {
	got := ExponentialBucketsRange(1, 1000, 4)
	for i, want := range []float64{1, 10, 100, 1000} {
		if math.Abs(got[i]-want) > 1e-9 {
			t.Errorf("%v, want powers of ten", got)
		}
	}
}
