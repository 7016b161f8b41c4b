package route

import (
	"errors"
	"testing"
)

// TestLeadsTo: an account's names are its own, with a detail too, and the aliases that
// stand for it, behind others as well; circles end, and what isn't known now is an error.
func TestLeadsTo(t *testing.T) {
	s := newSite(t)
	s.o.Delimiter = "+"
	s.alias("sales: alice, bob\noffice: sales@us.example\nboxes: \\carol\nloop: pool\npool: loop\nvinfo: info@v.example\n" +
		"away: alice@far.example\nlist: :include:/lists/alice\nalice2: alice+x\nbob: alice\n")
	s.o.Virtual = virtuals{"v.example": {users: []string{"bob", "carol"}, aliases: "info: bob, \\carol\n"}}
	r := New(s.o)
	for _, tt := range []struct {
		name, account string
		want          bool
	}{
		{"alice", "alice", true}, {"Alice", "alice", true}, {"alice+shop", "alice", true}, {"alice", "bob", false},
		{"sales", "alice", true}, {"sales", "carol", false}, {"office", "alice", true}, {"boxes", "carol", true},
		{"loop", "alice", false}, {"away", "alice", false}, {"list", "alice", false}, {"alice2", "alice", true},
		{"bob", "alice", true}, {"bob", "bob", false}, // its mail is alice's
		{"nobody-of-that-name", "alice", false},
		{"bob@v.example", "bob", false}, {"Bob@V.example", "BOB@v.example", true}, {"bob+x@v.example", "bob@v.example", true}, {"bob", "bob@v.example", false},
		{"info@v.example", "carol@v.example", true}, {"info@v.example", "carol", false}, {"any@v.example", "carol@v.example", false}, {"vinfo", "carol@v.example", true},
	} {
		if got, err := r.LeadsTo(t.Context(), path(t, tt.name), tt.account); got != tt.want || err != nil {
			t.Errorf("%s for %s: %v, %v, want %v", tt.name, tt.account, got, err, tt.want)
		}
	}
	s.users.broken = errors.New("the directory is away")
	if got, err := New(s.o).LeadsTo(t.Context(), path(t, "alice"), "alice"); got || err == nil {
		t.Errorf("without accounts: %v, %v, want an error", got, err)
	}
}
