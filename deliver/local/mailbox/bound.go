package mailbox

import (
	"fmt"
	"time"

	"postoffice/deliver/local/quota"
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
	if n, ok := quota.Recorded(d.dir); ok && fits(j, n+d.octets) == nil {
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
		if d.sum, err = quota.Maildir(d.dir, d.place.Step); err != nil {
			return err
		}
		d.sum -= d.octets // of this batch, which are there already
		book.Put(key, d.sum, from, from.Add(time.Since(began)))
	}
	d.counted = true
	return nil
}

// boxKey names the Maildir among all places.
func (d *maildir) boxKey() string { return d.a.Name + " " + d.at.path() }

// record notes what came for those who count it.
func (d *maildir) record() {
	d.m.book.Add(d.boxKey(), d.octets)
	if err := quota.Record(d.dir, d.a.UID, d.octets, len(d.stored)); err != nil {
		d.warn("maildirsize not kept up, readers that go by it count too little until they count anew", err)
	}
}
