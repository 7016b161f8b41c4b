//go:build e2e && bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// place is one line about where the figures come from.
func place(t *testing.T, dir string) string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d processors, Linux %s, %s, %s", runtime.NumCPU(), unix.ByteSliceToString(name.Release[:]), storage(t, dir), runtime.Version())
}

// storage says what dir is on. Whether ext4 has a journal changes all figures.
func storage(t *testing.T, dir string) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	best, text := "", ""
	for m := range strings.Lines(string(mounts)) {
		f := strings.Fields(m) // device, directory, type, options
		if len(f) < 4 || f[1] != "/" && dir != f[1] && !strings.HasPrefix(dir, f[1]+"/") || len(f[1]) < len(best) {
			continue
		}
		best, text = f[1], f[2]+" ("+f[3]+")"
		if f[2] == "ext4" {
			if journal, _ := filepath.Glob("/proc/fs/jbd2/" + filepath.Base(f[0]) + "-*"); journal == nil {
				text += " without a journal"
			}
		}
	}
	return text
}

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
