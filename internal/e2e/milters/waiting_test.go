//go:build e2e

package milters

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv/testfilter"
)

// TestSendmailWaits: a program's mail is taken while the filter is away, though its line
// says fail=open, and waits for it, as mailq shows; when the filter is there it is signed,
// as dkimpy finds, and delivered once. A restart of the server between the two loses
// nothing.
func TestSendmailWaits(t *testing.T) {
	one, _, socket := site(t)
	one.Configure("listen="+one.IP+":25", "filter="+socket+" name=tested fail=open", "filters-for-sendmail=yes")
	s := newSigner(one, socket)
	p := one.Serve()
	one.Submit("alice", letter, "bob@one.test")
	waits := func() bool {
		list := one.Applet("mailq")
		return strings.Contains(list, "waits for filters") && strings.Contains(list, "tested")
	}
	lan.Until(t, 20*time.Second, "mailq shows that it waits", waits)
	p.Stop()
	one.Serve()
	lan.Until(t, 20*time.Second, "it waits still", waits)
	if _, err := os.Stat(one.Mailbox("bob")); err == nil {
		t.Error("it was delivered unseen")
	}
	s.start()
	one.Applet("runq")
	lan.Until(t, 30*time.Second, "bob has it", func() bool { return lan.Contains(one.Mailbox("bob"), "Hello,") })
	got, err := os.ReadFile(one.Mailbox("bob"))
	if err != nil {
		t.Fatal(err)
	}
	if message := inMailbox(string(got)); strings.Count(message, "DKIM-Signature:") != 1 || s.verify(message) != "GOOD" {
		t.Errorf("it isn't signed well:\n%s", message)
	}
	if n := strings.Count(string(got), "Hello,"); n != 1 {
		t.Errorf("bob has it %d times", n)
	}
	one.Drained(20 * time.Second)
}

// scanner is a program of option av, which does what a message says.
const scanner = `#!/bin/sh
text=$(cat)
case $text in
*EICAR*) echo "Eicar-Test-Signature FOUND"; exit 1 ;;
*BROKEN*) [ -e "$0.mended" ] || exit 2 ;;
*KILLED*) [ -e "$0.mended" ] || kill -9 $$ ;;
*HANGS*) [ -e "$0.mended" ] || exec sleep 1000 ;;
*LOUD*) [ -e "$0.mended" ] || { head -c 100000000 /dev/zero; exit 3; } ;;
esac
exit 0
`

// TestScanner: a program of option av has letters of the network refused or asked to come
// again while the client waits, and letters of sendmail in the queue, where those wait
// that it can't tell anything of; mended, it lets them go on, and none has come back.
func TestScanner(t *testing.T) {
	one, client, _ := site(t)
	program := one.Program("scanner", scanner)
	one.Configure("listen="+one.IP+":25", "av="+program, "av-time=5s")
	one.Serve()
	text := func(word string) string { return strings.Replace(letter, "Hello", word, 1) }
	bySMTP := func(word string) string {
		conn, err := client.Dial(one.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		d, err := lan.NewDialogue(conn, "client.test")
		if err == nil {
			err = d.Send("joe@one.test", "bob@one.test", text(word))
		}
		if err == nil {
			return "250"
		}
		return err.Error()
	}
	for word, want := range map[string]string{"CLEAN": "250", "EICAR": "550", "BROKEN": "451", "KILLED": "451", "HANGS": "451", "LOUD": "451"} {
		if got := bySMTP(word); !strings.Contains(got, want) {
			t.Errorf("%s by SMTP: %s, want %s", word, got, want)
		}
	}
	later := []string{"BROKEN", "KILLED", "HANGS", "LOUD"}
	for _, word := range append([]string{"CLEAN", "EICAR"}, later...) {
		one.Submit("alice", text(word), "bob@one.test")
	}
	lan.Until(t, 60*time.Second, "those wait of which nothing can be told, and no other", func() bool {
		return strings.Count(one.Applet("mailq"), "waits for filters") == len(later)
	})
	lan.Until(t, 30*time.Second, "alice hears of the bad one", func() bool { return lan.Contains(one.Mailbox("alice"), "look at what is attached") })
	if lan.Contains(one.Mailbox("alice"), "EICAR") {
		t.Error("the report has the bad message in it")
	}
	lan.WriteFile(t, program+".mended", "")
	one.Applet("runq")
	one.Drained(90 * time.Second)
	box, err := os.ReadFile(one.Mailbox("bob"))
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]int{"CLEAN": 2, "EICAR": 0, "BROKEN": 1, "KILLED": 1, "HANGS": 1, "LOUD": 1} {
		if got := strings.Count(string(box), word); got != want {
			t.Errorf("bob has %s %d times, want %d", word, got, want)
		}
	}
}

// TestSendmailRecipient: a filter refuses one recipient of a program's mail: the other one has
// it, as the filter leaves it, and the program's user a report with the filter's words.
func TestSendmailRecipient(t *testing.T) {
	one, _, socket := site(t)
	one.Configure("listen="+one.IP+":25", "filter="+socket+" name=tested", "filters-for-sendmail=yes")
	hostile{filter: func(conn net.Conn) {
		f := &testfilter.Filter{Answer: func(p testfilter.Packet) (string, bool) {
			switch {
			case p.Command == 'R' && strings.HasPrefix(p.Data, "<carol@"):
				return testfilter.Reply('y', "550 5.7.1 nothing like this for carol\x00"), true
			case p.Command == 'E':
				return testfilter.Reply('h', "X-Seen\x00yes\x00") + testfilter.Reply('c', ""), true
			}
			return "", false
		}}
		f.Serve(conn)
	}}.listen(t, socket)
	one.Serve()
	one.Submit("alice", letter, "bob@one.test", "carol@one.test")
	lan.Until(t, 30*time.Second, "bob has it, and alice the report", func() bool {
		return len(one.Messages("bob")) == 1 && len(one.Messages("alice")) == 1
	})
	if text := one.Messages("bob")[0]; !strings.Contains(text, "\nX-Seen: yes\n") {
		t.Errorf("bob has\n%s", text)
	}
	report := one.Messages("alice")[0]
	if !strings.Contains(report, "nothing like this for carol") || !strings.Contains(report, "Final-Recipient: rfc822; carol@one.test") || strings.Contains(report, "rfc822; bob@") {
		t.Errorf("alice has\n%s", report)
	}
	one.Drained(20 * time.Second)
}
