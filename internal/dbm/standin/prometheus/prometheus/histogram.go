// Package prometheus stands in for the one of github.com/prometheus that
// Pebble counts latencies with: histograms, and nothing that exports them.
package prometheus

import (
	"math"
	"slices"
	"sync/atomic"
)

// Histogram counts values in buckets. Any number of goroutines may use it.
type Histogram = *histogram

// HistogramOpts says what the buckets are.
type HistogramOpts struct {
	Buckets []float64 // upper limits, ascending; a last one without limit is added
}

type histogram struct {
	limits []float64
	counts []atomic.Uint64 // one more than limits
}

// NewHistogram returns a histogram that has counted nothing.
func NewHistogram(o HistogramOpts) Histogram {
	return &histogram{o.Buckets, make([]atomic.Uint64, len(o.Buckets)+1)}
}

// Observe counts v in the first bucket whose limit isn't below it.
func (h *histogram) Observe(v float64) {
	i, _ := slices.BinarySearch(h.limits, v)
	h.counts[i].Add(1)
}

// LinearBuckets returns count limits from start in equal steps.
func LinearBuckets(start, width float64, count int) []float64 {
	limits := make([]float64, count)
	for i := range limits {
		limits[i] = start + float64(i)*width
	}
	return limits
}

// ExponentialBucketsRange returns count limits from least to most, each the
// same multiple of the one before.
func ExponentialBucketsRange(least, most float64, count int) []float64 {
	factor := math.Pow(most/least, 1/float64(count-1))
	limits := make([]float64, count)
	for i := range limits {
		limits[i] = least * math.Pow(factor, float64(i))
	}
	return limits
}
