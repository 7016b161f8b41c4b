package mailbox

import (
	"fmt"
	"path/filepath"
	"time"

	"postoffice/deliver/local/quota"
	"postoffice/internal/disk"
)

// overQuota says that a message does not fit into what its mailbox may have.
type overQuota struct{ used, size, quota int64 }

func (e overQuota) Error() string {
	return fmt.Sprintf("it has %d octets of the %d that it may have, and the message has up to %d", e.used, e.quota, e.size)
}

// fits says why a message does not fit into a mailbox that has so many octets.
func fits(j *job, used int64) error {
	if size := max(j.d.Size, 0); j.d.Quota > 0 && used > j.d.Quota-size {
		return overQuota{used, size, j.d.Quota}
	}
	return nil
}

// mayStore says why a message does not fit into the Maildir. What maildirsize says is
// believed where the message fits by it; else what is there is counted, since not all
// who remove mail write that down.
func (d *maildir) mayStore(j *job) error {
	if j.d.Quota <= 0 {
		return nil
	}
	if n, ok := quota.Recorded(d.box()); ok && fits(j, n+d.octets) == nil {
		return nil
	}
	if err := d.count(); err != nil {
		return fmt.Errorf("count what is there: %w", err)
	}
	return fits(j, d.sum+d.octets)
}

// count finds out what is in the Maildir, once for a batch.
func (d *maildir) count() (err error) {
	if d.counted {
		return nil
	}
	book, key, from := &d.m.book, d.boxKey(), d.m.now()
	var ok bool
	if d.sum, ok = book.Get(key, from); !ok {
		began := time.Now()
		if d.sum, err = quota.Maildir(d.box(), d.place.Step); err != nil {
			return err
		}
		d.sum -= d.octets // of this batch, which are there already
		book.Put(key, d.sum, from, from.Add(time.Since(began)))
	}
	d.counted = true
	return nil
}

// box is the Maildir whose octets are counted: of a folder the one above it.
func (d *maildir) box() disk.Dir {
	if d.at.folder {
		return d.dirs[len(d.at.below)-1] // dirs begins with the directory above them
	}
	return d.dir
}

// boxKey names the Maildir among all places.
func (d *maildir) boxKey() string {
	path := d.at.path()
	if d.at.folder {
		path = filepath.Dir(path)
	}
	return d.a.Name + " " + path
}

// record notes what came for those who count it.
func (d *maildir) record() {
	d.m.book.Add(d.boxKey(), d.octets)
	if err := quota.Record(d.box(), d.a.UID, d.octets, len(d.stored)); err != nil {
		d.warn("maildirsize not kept up, readers that go by it count too little until they count anew", err)
	}
}
