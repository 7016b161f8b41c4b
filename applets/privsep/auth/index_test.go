package auth

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/privsep/birth"
	"postoffice/internal/account"
	"postoffice/internal/testenv"
	"postoffice/vhost"
)

// TestIndex: the process keeps the index of a large file in the directory that it is told,
// and says where it can't.
func TestIndex(t *testing.T) {
	dir, indexes := t.TempDir(), t.TempDir()
	v := filepath.Join(dir, "v.example")
	owner, err := account.Machine().InFile(os.Getuid())
	must(t, err)
	large := []byte("bob:x\n" + strings.Repeat("# "+strings.Repeat("x", 1000)+"\n", 5000))
	must(t, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(v, 0o755), os.WriteFile(filepath.Join(v, vhost.PasswdFile), large, 0o644),
		os.WriteFile(filepath.Join(dir, vhost.DomainsFile), []byte(owner.Login+":v.example:1:\n"), 0o644), os.Chmod(indexes, 0o700))
	if os.Getuid() == 0 {
		must(t, os.Chown(indexes, 65534, 65534))
	}
	said := make(chan string, 10)
	d := OnDemand{Note: func(text string) { said <- text }, Start: func(context.Context) (Links, error) {
		p, err := Start(Where{Dir: dir, Index: indexes, Secret: "salty"}, account.Account{Name: "nobody", UID: 65534, GID: 65534}, nil)
		if err != nil {
			return Links{}, err
		}
		return p.Links, nil
	}}
	asked := func() {
		t.Helper()
		if box, err := d.User(t.Context(), "v.example", "BOB"); box.Name != "bob" || err != nil {
			t.Fatalf("%v, %v", box, err)
		}
	}
	if !testenv.Eventually(func() bool { asked(); _, err := os.Stat(filepath.Join(indexes, "v.example")); return err == nil }) {
		t.Error("no index is kept")
	}
	must(t, os.RemoveAll(indexes), os.WriteFile(filepath.Join(v, "new"), large, 0o644), os.Rename(filepath.Join(v, "new"), filepath.Join(v, vhost.PasswdFile)))
	if !testenv.Eventually(func() bool { asked(); return len(said) > 0 }) {
		t.Fatal("nothing is said where the directory is gone")
	}
	if text := <-said; !strings.Contains(text, indexes) || len(said) > 0 {
		t.Errorf("said %q, and %d times more", text, len(said))
	}
	must(t, d.kept.Running().Close())
}

// TestNotes: what a process says unasked counts so often, and answers nobody.
func TestNotes(t *testing.T) {
	ours, theirs, err := birth.Pair()
	must(t, err)
	said := make(chan string, 2*maxNotes)
	c, err := NewClient(theirs, askWait, nil, func(text string) { said <- text })
	must(t, err)
	defer c.Close()
	for range maxNotes + 5 {
		_, err := ours.Write(noteOf(errLater))
		must(t, err)
	}
	_, err = ours.Write(answer{kind: yes, text: "bob"}.append(nil)) // an answer to nobody
	must(t, err)
	<-c.Gone()
	if len(said) != maxNotes || <-said != errLater.Error() {
		t.Errorf("%d notes, want %d", len(said)+1, maxNotes)
	}
}
