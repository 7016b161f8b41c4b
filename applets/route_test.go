package applets

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/control"
	"postoffice/deliver/route"
	"postoffice/internal/testenv"
)

// routeSteps are what a server finds for the alias team.
func routeSteps() []control.Step {
	return []control.Step{
		{Recipient: "team", How: route.HowAlias, Name: "team", Sender: "amy", UID: -1},
		{Depth: 1, Recipient: "bob", File: "/etc/aliases", Line: 2, How: route.HowForward, Name: "bob", Sender: "owner-team", UID: -1},
		{Depth: 2, Recipient: "|vacation", File: "/home/bob/.forward", Line: 1, How: route.HowProgram, User: "bob", UID: 1002, Sender: "owner-team"},
		{Depth: 2, Recipient: `\bob`, File: "/home/bob/.forward", Line: 1, How: route.HowMailbox, User: "bob", UID: 1002, Extension: "x", Sender: "owner-team"},
		{Depth: 1, Recipient: ":include:/srv/list", File: "/etc/aliases", Line: 3, How: route.HowList, Sender: "owner-team", UID: -1},
		{Depth: 2, Recipient: "secret@x.example", File: "/srv/list", Line: 1, How: route.HowRemote, UID: -1, Sender: "owner-team", RelayHost: "hub:26",
			Hosts: []control.Host{{Name: "hub", Port: 26, Addrs: []string{"192.0.2.1", "2001:db8::1"}}, {Name: "hub2", Port: 26, Addrs: []string{"192.0.2.2"}}}},
		{Depth: 1, Recipient: "/var/log/m", File: "/etc/aliases", Line: 4, How: route.HowFile, User: "nobody", UID: 65534, Sender: "owner-team"},
		{Depth: 1, Recipient: "mapped", File: "/etc/aliases", Line: 4, How: route.HowUsermap, Name: "*@x", Sender: "owner-team", UID: -1},
		{Depth: 2, Recipient: "ghost", How: route.HowFailure, Code: 550, Status: "5.1.1", Reason: "no such user", Permanent: true, Sender: "owner-team", UID: -1},
		{Depth: 1, Recipient: "carol", File: "/etc/aliases", Line: 5, How: route.HowFailure, Code: 450, Status: "4.3.0", Reason: "locked", Sender: "owner-team", UID: -1},
		{Depth: 1, Recipient: "x@y.example", File: "/etc/aliases", Line: 5, How: route.HowFailure, Status: "4.4.1", Reason: "temporary DNS failure", Sender: "owner-team", UID: -1},
	}
}

const routeTree = `team: alias team
  bob (/etc/aliases:2): forwarded by bob; reports go to owner-team
    |vacation (/home/bob/.forward:1): program, run as bob (uid 1002)
    \bob (/home/bob/.forward:1): mailbox of bob (uid 1002), with the extension x
  :include:/srv/list (/etc/aliases:3): list; reports go to owner-team
    secret@x.example (/srv/list:1): sent to hub port 26 (192.0.2.1, 2001:db8::1), then hub2 port 26 (192.0.2.2), as option relay-host says
  /var/log/m (/etc/aliases:4): file, written as nobody (uid 65534); reports go to owner-team
  mapped (/etc/aliases:4): mapped by usermap *@x; reports go to owner-team
    ghost: FAILS, and goes back to the sender: 550 5.1.1 no such user
  carol (/etc/aliases:5): can't be delivered now, and would be tried again: 450 4.3.0 locked; reports go to owner-team
  x@y.example (/etc/aliases:5): can't be delivered now, and would be tried again: temporary DNS failure; reports go to owner-team
`

func TestRouteText(t *testing.T) {
	r := routeFound{Address: "team", Steps: routeSteps()}
	r.judge()
	var out bytes.Buffer
	show := routeText(&out)
	if err := show(r); err != nil || out.String() != routeTree || r.Code != 67 || r.Deliverable {
		t.Errorf("code %d, %v\n%s\nwant\n%s", r.Code, err, out.String(), routeTree)
	}
	out.Reset()
	bad := routeFound{Address: "x\x1b@", err: &control.Error{Code: 64, Text: "no address"}}
	bad.judge()
	if err := show(bad); err != nil || out.String() != "\nx?@: no address\n" || bad.Code != 64 {
		t.Errorf("code %d, %v, %q", bad.Code, err, out.String())
	}
	out.Reset()
	if err := routeJSON(&out)(routeFound{Address: "a", Deliverable: true}); err != nil || out.String() != `{"address":"a","deliverable":true,"code":0}`+"\n" {
		t.Errorf("%v, %s", err, out.String())
	}
}

func TestRouteCodes(t *testing.T) {
	later, never, stranger := control.Step{How: route.HowFailure}, control.Step{How: route.HowFailure, Permanent: true, Status: "5.4.6"}, control.Step{How: route.HowFailure, Permanent: true, Status: "5.1.1"}
	fine := control.Step{How: route.HowMailbox}
	for _, tt := range []struct {
		steps []control.Step
		err   error
		want  int
	}{
		{[]control.Step{fine}, nil, 0},
		{[]control.Step{fine, later}, nil, 75},
		{[]control.Step{later, stranger, fine}, nil, 67},
		{[]control.Step{never, stranger, later}, nil, 69},
		{nil, &control.Error{Code: 75}, 75},
		{nil, errors.New("x"), 75},
		{nil, &control.Error{Code: 77}, 77},
	} {
		r := routeFound{Steps: tt.steps, err: tt.err}
		if r.judge(); r.Code != tt.want || r.Deliverable != (tt.want == 0) {
			t.Errorf("%+v: code %d, want %d", tt, r.Code, tt.want)
		}
	}
	if worse(77, 75) != 77 || worse(75, 77) != 77 || worse(67, 64) != 67 {
		t.Error("the worse code is lost")
	}
}

// TestRouteReal asks for routes in all three ways that a private system has:
// by a server that runs, by one that is started for it, and by sendmail.
func TestRouteReal(t *testing.T) {
	for _, daemon := range []bool{false, true} {
		p := newPrivate(t, &testenv.Sink{})
		if err := os.WriteFile(filepath.Join(p.dir, "aliases"), []byte("team: boss, far@x.example, nobody-here\nboss: /dev/null\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := os.Chown(filepath.Join(p.dir, "aliases"), 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		if daemon {
			p.serve()
		}
		for _, tt := range []struct {
			args, input string
			code        int
			out         string
		}{
			{"sendmail -bv team", "", 67, "team: alias team\n|  boss (|aliases:1): alias boss\n|    /dev/null (|aliases:2): file, |  far@x.example (|: sent to [127.0.0.1] port |  nobody-here (|: FAILS, and goes back to the sender: 550 5.1.1"},
			{"sendmail -bt", "boss\n3,0 x y\nfar@x.example\n", 0, "boss: alias boss\n|\n\n3,0 x y: address |\n\nfar@x.example: sent to"},
			{"postoffice route --json boss far@x.example", "", 0, `{"address":"boss","deliverable":true,"code":0,"steps":[{|"how":"alias"|"how":"file"|{"address":"far@x.example","deliverable":true|"relay_host":`},
			{"postoffice route @@", "", 64, "@@: address @@: "},
		} {
			argv := strings.Fields(tt.args)
			if argv[0] == "postoffice" { // the flags of an applet follow its name
				argv = append([]string{"route"}, argv[2:]...)
			}
			cmd := p.command(argv...)
			cmd.Stdin = strings.NewReader(tt.input)
			out, err := cmd.Output()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !inOrder(string(out), tt.out) {
				t.Errorf("daemon %v, %s: exit code %d, want %d, %v\n%s", daemon, tt.args, code, tt.code, err, out)
			}
		}
		if files, _ := filepath.Glob(filepath.Join(p.dir, "q", "queue", "*")); len(files) > 0 {
			t.Errorf("messages were made: %v", files)
		}
	}
}
