//go:build e2e && bench

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// diskFloor is what the disk alone gives to 20 writers that each create a file of
// 4 KiB, sync it and sync its directory: messages a second.
func diskFloor(t *testing.T, dir string) float64 {
	const writers, each = 20, 200
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			d, err := os.Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close()
			for i := range each {
				if err := writeSynced(filepath.Join(dir, fmt.Sprintf("%d-%d", w, i)), block, d); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return writers * each / time.Since(begin).Seconds()
}

func writeSynced(name string, block []byte, dir *os.File) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(block); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return dir.Sync()
}
