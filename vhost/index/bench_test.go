package index

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkFind is a search in a million entries.
func BenchmarkFind(b *testing.B) {
	all := some(1, 1_000_000)
	d := realDir(b)
	kept, err := d.Write("v.example", Made{Of: passwd(1)}, table(all))
	must(b, err)
	defer kept.Close()
	for _, tt := range []struct {
		name string
		t    *Table
	}{{"memory", table(all)}, {"file", kept}} {
		b.Run(tt.name, func(b *testing.B) {
			r := &reads{}
			if tt.t.file != nil {
				r.File = tt.t.file.f
				tt.t.file.f = r
			}
			for b.Loop() {
				if got, err := found(tt.t, uint32(all[rand.IntN(len(all))]>>32)); len(got) == 0 || err != nil {
					b.Fatal(got, err)
				}
			}
			b.ReportMetric(float64(r.n)/float64(b.N), "reads/op")
		})
	}
}

// BenchmarkSum is a page's seal.
func BenchmarkSum(b *testing.B) {
	k, page := NewKey(nil, ""), make([]byte, pageSize)
	b.SetBytes(pageSize)
	for b.Loop() {
		k.Sum(page)
	}
}
