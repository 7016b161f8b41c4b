//go:build e2e

package flow

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// writes sends a message of joe's from a host, and returns why it wasn't taken.
func writes(t *testing.T, from *lan.Host, to *lan.Site) error {
	t.Helper()
	return writesAs(t, "joe@client.test", from, to)
}

func writesAs(t *testing.T, sender string, from *lan.Host, to *lan.Site) error {
	t.Helper()
	conn, err := from.Dial(to.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	return d.Send(sender, "alice@one.test", "Subject: x\n\nhello\n")
}

// wantSays runs a program as a user of the site and holds what it says to an exit code and
// a text in its output.
func wantSays(t *testing.T, s *lan.Site, user string, code int, text string, argv ...string) (stdout string) {
	t.Helper()
	got, out, errs := s.Says(user, "", argv...)
	if got != code || !strings.Contains(out+errs, text) {
		t.Errorf("%q as %q: exit %d, printed\n%s%s\nwant exit %d and %q", argv, user, got, out, errs, code, text)
	}
	return out
}

// TestAuthexpire: a letter waits, authexpire says why and until when, with a server and on
// the files of one that was stopped or killed, in the same octets; what is allowed passes
// with the next try. Users without a right to it are told so.
func TestAuthexpire(t *testing.T) {
	one, client := limited(t, "greylist=on", "verify-from=no")
	server := one.Serve()
	if err := writes(t, client, one); err == nil || !strings.HasPrefix(err.Error(), "refused: 451 4.7.1") {
		t.Fatalf("the first try: %v, want 451 4.7.1", err)
	}
	key := "joe@[" + client.IP + "]"
	waits := key + ": waits until "
	asks := func(how string) (all string) {
		t.Helper()
		for _, args := range [][]string{{"-l"}, {"-lw", "--json"}, {"-e", key, "--json"}} {
			all += wantSays(t, one, "", 0, key, append([]string{"authexpire"}, args...)...)
		}
		if all != wantSays(t, one, "postoffice", 0, "", "authexpire", "-l")+wantSays(t, one, "postoffice", 0, "", "authexpire", "-lw", "--json")+
			wantSays(t, one, "postoffice", 0, "", "authexpire", "-e", key, "--json") {
			t.Errorf("%s: root and the server-user see different things", how)
		}
		wantSays(t, one, "", 0, waits, "authexpire", "-e", key)
		wantSays(t, one, "", 0, waits, "authexpire", "-e", "Joe@client.test")
		wantSays(t, one, "", 0, waits, "authexpire", "-e", client.IP)
		wantSays(t, one, "", 69, "nothing is known", "authexpire", "-e", "eve@client.test")
		for _, user := range []string{"bob", "nobody"} {
			for _, args := range [][]string{{"-l"}, {"-e", key}, {"-a", key}, {}, {"-z"}} {
				if out := wantSays(t, one, user, 77, "only root and the server-user may", append([]string{"authexpire"}, args...)...); out != "" {
					t.Errorf("%s: %s sees %q", how, user, out)
				}
			}
			wantSays(t, one, user, 77, "only root", "greylist", "report")
		}
		return all
	}
	with := asks("with a server")
	server.Stop()
	if without := asks("without a server"); without != with {
		t.Errorf("with a server\n%s\nand without\n%s", with, without)
	}
	wantOwner(t, one.Path("db", "store"), 901)

	server = one.Serve()
	for pid := range one.Family() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one may have ended with the others
	}
	<-server.Done
	one.Gone(time.Minute)
	if killed := asks("after a kill"); killed != with {
		t.Errorf("before a kill\n%s\nand after it\n%s", with, killed)
	}
	wantSays(t, one, "", 0, "1 record; expired 0.", "authexpire", "-nv")
	wantSays(t, one, "", 0, "first contacts had to wait", "greylist", "report")

	server = one.Serve()
	if err := writes(t, client, one); err == nil || !strings.HasPrefix(err.Error(), "refused: 451 4.7.1") {
		t.Fatalf("the second try: %v, want 451 4.7.1", err)
	}
	wantSays(t, one, "", 0, key+": passes from now on\n", "authexpire", "-a", "JOE@["+client.IP+"]")
	wantSays(t, one, "", 0, "passes: it was allowed by hand", "authexpire", "-e", key)
	if err := writes(t, client, one); err != nil {
		t.Errorf("after it was allowed: %v", err)
	}
	lan.Until(t, time.Minute, "the letter is in alice's mailbox", func() bool { return len(one.Messages("alice")) == 1 })
	if !lan.Says(one.Log, `record changed key=`+key) {
		t.Error("the log doesn't say that somebody changed the record")
	}
	wantSays(t, one, "", 0, key+": never passes from now on\n", "authexpire", "-b", key)
	if err := writes(t, client, one); err == nil {
		t.Error("it passes after it was forbidden")
	}
	wantSays(t, one, "", 0, "**** forbidden ****", "authexpire", "-l")
	wantSays(t, one, "", 0, "", "authexpire", "-v", "1m")
	wantSays(t, one, "", 0, "**** forbidden ****", "authexpire", "-l") // R61

	records := one.Path("db", "store", "greylist")
	dump := wantSays(t, one, "", 0, key+"\t* ", "dbm", "dump", records)
	loads := func(how, line string) {
		t.Helper()
		if code, _, errs := one.Says("", "# of the first postoffice\n"+line+"\n", "dbm", "load", records); code != 0 {
			t.Errorf("%s: dbm load: exit %d, %s", how, code, errs)
		}
		name, _, _ := strings.Cut(strings.ToLower(line), "\t") // letter case doesn't count here
		wantSays(t, one, "", 0, name+"\t01:00 01 Jan 2026 #02:00 01 Jan 2026\n", "authexpire", "-l")
		wantSays(t, one, "", 0, name+": passes: ", "authexpire", "-e", name)
		wantSays(t, one, "", 0, "", "dbm", "-d", records, "delete", name)
	}
	loads("with a server", "Old@[192.0.2.7]\t1767229200 1767232800")
	if code, _, errs := one.Says("", "Former@["+client.IP+"]\t1767229200 1767232800\n", "dbm", "load", records); code != 0 {
		t.Errorf("dbm load: exit %d, %s", code, errs)
	}
	if err := writesAs(t, "former@client.test", client, one); err != nil {
		t.Errorf("who passed at the first postoffice: %v", err)
	}
	wantSays(t, one, "", 0, "", "dbm", "-d", records, "delete", "former@["+client.IP+"]")
	wantSays(t, one, "bob", 2, "", "dbm", "dump", records)
	server.Stop()
	loads("without a server", "old@[192.0.2.8]\t1767229200 1767232800")
	if without := wantSays(t, one, "", 0, "", "dbm", "dump", records); without != dump {
		t.Errorf("dbm dump with a server\n%sand without\n%s", dump, without)
	}
	wantOwner(t, one.Path("db", "store"), 901)
	wantSays(t, one, "", 0, "records were deleted by hand", "greylist", "report")
}

// wantOwner holds all files of a directory to their owner.
func wantOwner(t *testing.T, dir string, uid uint32) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != uid {
			err = fmt.Errorf("%s belongs to uid %d", path, info.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAuthexpireElsewhere: a server whose greylist is off leaves the files to authexpire;
// where they can't be used, it says what to do.
func TestAuthexpireElsewhere(t *testing.T) {
	one, client := limited(t, "greylist=on")
	wantSays(t, one, "", 66, "hint: ", "authexpire", "-l")
	server := one.Serve()
	if err := writes(t, client, one); err == nil {
		t.Fatal("the first try passes")
	}
	key := "joe@[" + client.IP + "]"
	server.Stop()
	one.Configure("listen="+one.IP+":25", "greylist=off")
	server = one.Serve()
	if err := writes(t, client, one); err != nil {
		t.Errorf("with greylist=off: %v", err)
	}
	wantSays(t, one, "", 0, key, "authexpire", "-l")
	wantSays(t, one, "", 0, "greylist is off", "authexpire", "-e", key)
	wantSays(t, one, "bob", 77, "only root", "authexpire", "-l")
	server.Stop()

	store := one.Path("db", "store")
	if err := os.Chown(store, 0, 0); err != nil {
		t.Fatal(err)
	}
	wantSays(t, one, "", 77, "hint: chown -R 901 "+store, "authexpire", "-l")
	if err := os.Chown(store, 901, 901); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := filepath.Walk(store, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		n++
		return os.WriteFile(path, []byte("noise"), 0o600)
	})
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	wantSays(t, one, "", 65, `run "postoffice dbm -d `+store+` mend"`, "authexpire", "-l")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	wantSays(t, one, "", 66, "there is no "+store+" yet", "authexpire", "-l")
}
