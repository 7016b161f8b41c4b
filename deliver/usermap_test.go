package deliver

import (
	"errors"
	"strings"
	"testing"

	"postoffice/spool/envelope"
)

// A personal alias file's programs run as its user, those of usermap's own
// text as the default user; a name that no file lists is not there (A60).
func TestUsermapDelivery(t *testing.T) {
	r := newRig(t)
	r.o.Usermap = []string{"~-*:~/.alias", "log*:\"|/bin/log\""}
	r.mailer.personal = map[string]string{"bob-lists": "alice, \"|mine\"\n"}
	r.mail("carol@us.example", "bob-lists", "log-x", "bob-other", "log")
	r.pass()
	r.want()
	r.wantBox("alice", 1)
	r.wantJobs(itemName(t, "bob", "usermap", "bob-lists", "|mine"), itemName(t, "nobody", "usermap", "log-x", "|/bin/log"))
	text := r.wantBox("carol", 1)[0]
	if !strings.Contains(text, "<bob-other@us.example>") || !strings.Contains(text, "<log@us.example>") {
		t.Errorf("the bounce must name bob-other and log:\n%s", text)
	}
	r.o.Usermap = []string{"~-*:~", `bad*:"x`}
	r.mail("carol@us.example", "badly", "bob-q")
	r.pass()
	r.wantBox("bob", 1)
	r.want("active: carol@us.example -> badly pending", "active: carol@us.example -> bob-q expanded", "active: carol@us.example -> bob delivered")
}

// What a personal alias file says is later where it can't be read (A36).
func TestA36Usermap(t *testing.T) {
	r := newRig(t)
	r.o.Usermap = []string{"~-*:~/.alias"}
	r.mailer.broken = map[string]error{"bob-y": errors.New("/home/bob/.alias: others may write it")}
	id := r.mail("s@x.example", "bob-y")
	r.pass()
	if s := r.snapshot(id); s.Recipients[0].State != envelope.Pending || !strings.Contains(s.Notes[0].Err, "others may write it") {
		t.Errorf("%v, notes %v", s.Recipients[0].State, s.Notes)
	}
}
