package deliver

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
)

// virtuals is the domain v.example with the users bob and Carol and the alias info.
type virtuals struct{}

func (virtuals) IsVirtual(domain string) (bool, error) { return domain == "v.example", nil }

func (virtuals) User(_ context.Context, domain, name string) (account.Account, error) {
	for _, u := range []string{"bob", "Carol"} {
		if smtp.EqualFold(u, name) {
			return account.Account{Name: u + "@" + domain, UID: 8, GID: 8}, nil
		}
	}
	return account.Account{}, account.ErrNoUser
}

func (virtuals) Used(context.Context, string, string, int64) (int64, error) { return 0, nil }

func (virtuals) Alias(_ context.Context, _, name string) (alias.Entry, error) {
	if name != "info" {
		return alias.Entry{}, alias.ErrNotFound
	}
	targets, err := alias.ParseValue(`bob, \carol, alice@us.example`)
	return alias.Entry{Name: name, Line: 1, Targets: targets}, err
}

// TestVirtualMailboxes: a user of a virtual domain gets a message once, whoever led there
// and however the name is written; an account of the same name gets its own.
func TestVirtualMailboxes(t *testing.T) {
	r := newRig(t)
	r.o.Virtual, r.o.Delimiter = virtuals{}, "+"
	r.mail("x@far.example", "bob", "bob@v.example", "BOB@V.example", "bob+x@v.example", "info@v.example", "info@V.EXAMPLE")
	r.pass()
	for user, address := range map[string]string{"bob@v.example": "bob@v.example", "Carol@v.example": "Carol@v.example", "bob": "bob@us.example", "alice": "alice@us.example"} {
		if box := r.mailer.box(user); len(box) != 1 || !strings.Contains(box[0], "Delivered-To: "+address+"\n") {
			t.Errorf("%s has %q, want one message, delivered to %s", user, box, address)
		}
	}
	if left := r.list(); len(left) != 0 {
		t.Errorf("the queue has %q", left)
	}
}

// TestVirtualFolder: mail for a folder goes into that of each account, and into that of
// virtual domains where there is one.
func TestVirtualFolder(t *testing.T) {
	for _, folder := range []string{"", "Junk"} {
		r := newRig(t)
		r.o.Virtual, r.o.VirtualFolder = virtuals{}, folder
		got := map[string]string{}
		r.mailer.seen = func(d local.Delivery) { got[d.User] = d.Folder }
		r.folder = "~/junk"
		r.mail("x@far.example", "bob", "bob@v.example")
		r.folder = ""
		r.mail("x@far.example", "carol@v.example")
		r.pass()
		if want := map[string]string{"bob": "~/junk", "bob@v.example": folder, "Carol@v.example": ""}; !maps.Equal(got, want) {
			t.Errorf("it went into %q, want %q", got, want)
		}
	}
}

// TestVirtualStore: with vhost-mailbox=lmtp: mail of virtual domains goes to that server by
// the whole address, and others' mail where it went.
func TestVirtualStore(t *testing.T) {
	r := newRig(t)
	s := newStore(r)
	r.o.Mailbox = ""
	r.o.Virtual, r.o.VirtualMailbox = virtuals{}, "lmtp:/run/store"
	r.mail("x@far.example", "bob+x@v.example", "carol@v.example", "bob")
	r.pass()
	for _, address := range []string{"bob+x@v.example", "Carol@v.example"} {
		if box := s.box(address); len(box) != 1 {
			t.Errorf("the server has %q for %s", box, address)
		}
	}
	if box := r.mailer.box("bob"); len(box) != 1 {
		t.Errorf("bob has %q", box)
	}
	for _, a := range []string{"bob@v.example", "Carol@v.example"} {
		if box := r.mailer.box(a); len(box) != 0 {
			t.Errorf("the file of %s has %q", a, box)
		}
	}
}

// TestVirtualQuota: a message that is larger than all that a mailbox may have goes back
// with words, and others are handed over with the bound.
func TestVirtualQuota(t *testing.T) {
	r := newRig(t)
	r.o.Virtual, r.o.VirtualQuota = virtuals{}, local.RoomInFront+5000
	var bounds []int64
	r.mailer.seen = func(d local.Delivery) { bounds = append(bounds, d.Quota) }
	r.mail("alice@us.example", "bob@v.example")
	r.mailText("Subject: large\n\n"+strings.Repeat("x\n", 3000), time.Now(), "alice@us.example", "bob@v.example")
	r.mail("alice@us.example", "bob")
	r.pass()
	if box := r.mailer.box("bob@v.example"); len(box) != 1 || !slices.Equal(slices.Sorted(slices.Values(bounds)), []int64{0, 0, local.RoomInFront + 5000}) {
		t.Errorf("%d messages, bounds %v", len(box), bounds)
	}
	if box := r.mailer.box("alice"); len(box) != 1 || !strings.Contains(box[0], "5.2.3") || !strings.Contains(box[0], "larger than all that this mailbox may have") {
		t.Errorf("the report: %q", box)
	}
}

// TestStoresApart: the server that keeps the mailboxes of accounts, and that of virtual
// domains, each may hang without holding up mail for the other.
func TestStoresApart(t *testing.T) {
	for _, hangs := range []string{"mailbox", "vhost-mailbox"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			accounts := newStore(r)
			users := newStore(r)
			r.network.peers["/run/store"], r.network.peers["/run/virtual"] = accounts.serve, users.serve
			r.o.Virtual, r.o.VirtualMailbox = virtuals{}, "lmtp:/run/virtual"
			hung, good, box := accounts, users, "bob@v.example"
			if hangs == "vhost-mailbox" {
				hung, good, box = users, accounts, "bob@us.example"
			}
			hung.setHang(true)
			for range 30 {
				r.mail("s@x.example", "bob@v.example")
				r.mail("s@x.example", "bob")
			}
			r.pass()
			if n := len(good.box(box)); n != 30 {
				t.Errorf("while the server of %s hangs, %s got %d of 30 messages", hangs, box, n)
			}
			if n := len(r.list()); n != 30 {
				t.Errorf("while the server of %s hangs, %d messages wait, want 30", hangs, n)
			}
		})
	}
}
