package certs

import (
	"fmt"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// TestCrashOwn: a power cut at any operation leaves the certificate that was used, or
// none, and the next start has one in any case.
func TestCrashOwn(t *testing.T) {
	now := time.Now()
	crashfs.Run{Prepare: func(f *crashfs.FS) { f.MkdirAll("/var/lib", 0o755) }}.EveryStep(t, func(d disk.FS, ack func(string)) error {
		p, err := own(d, "/var/lib/postoffice", "us.example", now, nil)
		if err == nil {
			ack(fmt.Sprintf("%x", p.Leaf.SerialNumber))
		}
		return err
	}, func(t testing.TB, d disk.FS, acked []string) {
		p, err := own(d, "/var/lib/postoffice", "us.example", now, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(acked) > 0 && fmt.Sprintf("%x", p.Leaf.SerialNumber) != acked[0] {
			t.Errorf("certificate %x serves, %s did", p.Leaf.SerialNumber, acked[0])
		}
	})
}
