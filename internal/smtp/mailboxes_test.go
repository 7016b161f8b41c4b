package smtp

import (
	"errors"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMailboxes(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       []string // what body[Start:End] is, then " = " and the path if that differs
	}{
		{"nothing", "", nil},
		{"one", "alice@us.example", []string{"alice@us.example"}},
		{"list", "a@x, b@y,\r\n\tc@z", []string{"a@x", "b@y", "c@z"}},
		{"R9 names", `Alice A. <a@x>, "Bee, Bob" <b@y>`, []string{"a@x", "b@y"}},
		{"S23 bare names", "root, <alice>, Bob <bob>", []string{"root", "alice", "bob"}},
		{"empty members", ",,a@x,, ,b@y,", []string{"a@x", "b@y"}},
		{"A67 group", "To: u:;", nil},
		{"group", "friends: a@x, B <b@y>; c@z", []string{"a@x", "b@y", "c@z"}},
		{"empty group", "undisclosed-recipients:;", nil},
		{"A67 comment with an address", "alice (not bob@y (nor <c@z>)) , d@w (\\) e@v)", []string{"alice", "d@w"}},
		{"comments everywhere", "(1)a(2)@(3)x(4).y(5)", []string{"a(2)@(3)x(4).y = a@x.y"}},
		{"A67 quoted comma", `"a, b"@x, c@y`, []string{`"a, b"@x`, "c@y"}},
		{"quoted pair", `"a\"b"@x`, []string{`"a\"b"@x`}},
		{"needless quotes", `"a"@x`, []string{`"a"@x = a@x`}},
		{"folded quotes", "\"a\r\n b\"@x", []string{"\"a\r\n b\"@x = \"a b\"@x"}},
		{"route", "<@h1,@h2:a@x>, b@y", []string{"a@x", "b@y"}},
		{"null", "<>, a@x", []string{"a@x"}},
		{"literal", "a@[192.0.2.1], b@[IPv6:2001:db8::1]", []string{"a@[192.0.2.1]", "b@[IPv6:2001:db8::1]"}},
		{"blanks inside", "a . b @ x . y", []string{"a . b @ x . y = a.b@x.y"}},
		{"8-bit name", "Jos\xe9 <j@x>, \u00e9@x, b@y", []string{"j@x", "\u00e9@x", "b@y"}},
		{"encoded word", "=?utf-8?q?J=2C_K?= <j@x>", []string{"j@x"}},
		{"without commas", "a@x b@y", []string{"a@x", "b@y"}},
		{"name without brackets", "Alice a@x", []string{"a@x"}},
		{"name behind", "a@x (Alice) Smith", []string{"a@x"}},
		{"words are no name", "Alice Smith, bob", []string{"bob"}},
		{"A16 two domains", "a@b@c, d@e", []string{"d@e"}},
		{"A16 in brackets", "<a@b@c>, <d@e f@g>, <<h@i>>", nil},
		{"no local part", "@x, a@y", []string{"a@y"}},
		{"no domain", "a@, b@y", []string{"b@y"}},
		{"no closing bracket", "Alice <a@x, b@y", []string{"a@x", "b@y"}},
		{"no end", `a@x, "b@y, c@z`, []string{"a@x"}},
		{"no end of a comment", `a@x, (b@y, c@z`, []string{"a@x"}},
		{"no end of a literal", "a@[1.2.3.4, b@x", nil},
		{"A7 NUL", "a\x00b@x, c@y", []string{"b@x", "c@y"}},
		{"scheme", "mailto:a@x", []string{"a@x"}},
		{"a dot behind", "a@x., <b@y.z.>, c@w..", []string{"a@x. = a@x", "b@y.z. = b@y.z"}},
		{"IDN", "a@b\u00fccher.example, <b@\u65e5\u672c.example>", []string{"a@b\u00fccher.example = a@xn--bcher-kva.example", "b@\u65e5\u672c.example = b@xn--wgv71a.example"}},
		{"IDN, case and other dots", "a@B\u00dcCHER.Example, b@\u65e5\u672c\u8a9e\u3002example", []string{"a@B\u00dcCHER.Example = a@xn--bcher-kva.example", "b@\u65e5\u672c\u8a9e\u3002example = b@xn--wgv71a119e.example"}},
		{"IDN, nothing but others", "a@\u043f\u0440\u0438\u0432\u0435\u0442.\u0440\u0444", []string{"a@\u043f\u0440\u0438\u0432\u0435\u0442.\u0440\u0444 = a@xn--b1agh1afp.xn--p1ai"}},
		{"IDN in another alphabet", "a@b\xfccher.example", nil},
		{"long list", strings.Repeat("a@x,", 3), []string{"a@x", "a@x", "a@x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, m := range Mailboxes(tt.body) {
				text := tt.body[m.Start:m.End]
				if text != m.Path.String() {
					text += " = " + m.Path.String()
				}
				got = append(got, text)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%q: got %q, want %q", tt.body, got, tt.want)
			}
		})
	}
}

// TestMembers: what gives no address is told, word for word, and what is
// nothing is not.
func TestMembers(t *testing.T) {
	for _, tt := range []struct {
		body string
		want string // addresses; what is left out in brackets; words beside an address with a + in front
	}{
		{"", ""},
		{",, ,", ""},
		{"(nobody), <>, undisclosed-recipients:;", ""},
		{"a@x, g: b@y, <c>;, \"N\" <d@z> (c)", "a@x b@y c d@z"},
		{"a@x, a@b@c, b@y", "a@x [a@b@c] b@y"},
		{"root@192.168.1.7,a@host-.example , b@-x", "[root@192.168.1.7] [a@host-.example] [b@-x]"},
		{"\u00e9@x, j@b\u00fccher..example, a@x..", "\u00e9@x [j@b\u00fccher..example] [a@x..]"},
		{"Alice Smith, bob", "[Alice Smith] bob"},
		{"Alice <alice@>, <a@b@c>, <<h@i>>", "[Alice <alice@>] [<a@b@c>] [<<h@i>>]"},
		{"g: Alice <d@e f@g>; h", "[Alice <d@e f@g>] h"},
		{"a@x b@y", "a@x b@y"},
		{"joe b@y, c@z jim, <d@w> e", "b@y +[joe b@y] c@z +[c@z jim] d@w +[<d@w> e]"},
		{"a@x, \"b@y, c@z", "a@x [\"b@y, c@z]"},
		{"a@x, (b@y, c@z", "a@x [(b@y, c@z]"},
		{"a@x, b@[1.2.3.4, c@z", "a@x [b@[1.2.3.4, c@z]"},
		{"a@x; @y; b@", "a@x [@y] [b@]"},
		{"|prog, /file", "|prog /file"}, // names, whose meaning is for others to judge
		{`\\x`, `[\\x]`},
	} {
		var got []string
		for m := range EachMember(tt.body) {
			switch {
			case m.Err == nil:
				got = append(got, m.Path.String())
			case errors.Is(m.Err, ErrBeside):
				got = append(got, "+["+m.Text+"]")
			default:
				got = append(got, "["+m.Text+"]")
			}
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%q: got %s, want %s", tt.body, text, tt.want)
		}
	}
}

// A field of 64 KiB takes no time worth mention, and reading it no memory.
func TestA74LongMailboxes(t *testing.T) {
	for _, unit := range []string{"a.", "a@", "a,", "(", "<", "\"", "a@x.", ";", "[", "\\"} {
		body := strings.Repeat(unit, 1<<16/len(unit))
		start := time.Now()
		for range EachMailbox(body) {
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%q: %v", unit, d)
		}
	}
}

// Where net/mail reads a field too, both find the same; and a bare name made
// whole at its End is found again, whole.
func FuzzMailboxes(f *testing.F) {
	for _, s := range []string{
		"a@x, B <b@y>", "g: a@x;, <c>", `"q\"q" <a@[1.2.3.4]>(c)`, "<@r:a@x>", "a . b@x", "Jos\xc3\xa9 <j@x>", "root", "a@b@c,,", "\"\r\n\" <a@x>", `""@x`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got := Mailboxes(body)
		end := 0
		for _, m := range got {
			if m.Start < end || m.End <= m.Start || m.End > len(body) {
				t.Fatalf("%q: spans out of order: %+v", body, got)
			}
			end = m.End
			if p, err := ParseAddress(m.Path.String()); err != nil || p != m.Path {
				t.Fatalf("%q: found %q, which is no address: %v", body, m.Path, err)
			}
		}
		if list, err := mail.ParseAddressList(body); err == nil {
			var want, have []string
			for _, a := range list {
				at := strings.LastIndexByte(a.Address, '@')
				p := Path{a.Address[:at], AsHost(a.Address[at+1:])}
				if _, err := ParseAddress(p.String()); err == nil {
					want = append(want, p.String())
				}
			}
			for _, m := range got {
				have = append(have, m.Path.String())
			}
			if !slices.Equal(have, want) {
				t.Errorf("%q: got %q, net/mail %q", body, have, want)
			}
		}
		whole := body
		for _, m := range slices.Backward(got) {
			if m.Path.Domain == "" {
				whole = whole[:m.End] + "@h.example" + whole[m.End:]
			}
		}
		again := Mailboxes(whole)
		if len(again) < len(got) {
			t.Fatalf("%q became %q, found %v", body, whole, again)
		}
		for i, m := range got {
			if m.Path.Domain == "" {
				m.Path.Domain = "h.example"
			}
			if again[i].Path != m.Path {
				t.Errorf("%q became %q: found %q, want %q", body, whole, again[i].Path, m.Path)
			}
		}
	})
}
