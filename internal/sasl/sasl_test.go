package sasl

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/testenv"
)

// talk has a client answer challenges, the first of which is none.
func talk(t *testing.T, c Client, challenges ...string) (answers []string) {
	t.Helper()
	first, err := c.Next(nil)
	if err != nil {
		t.Fatal(err)
	}
	if first != nil {
		answers = append(answers, string(first))
	}
	for _, x := range challenges {
		a, err := c.Next([]byte(x))
		if err != nil {
			t.Fatalf("to %q: %v", x, err)
		}
		answers = append(answers, string(a))
	}
	return answers
}

// TestVectors are the exchanges of the RFCs.
func TestVectors(t *testing.T) {
	const nonce1, nonce7677 = "fyko+d2lbbFgONRv9qkxdawL", "rOprNGfwEbeRWgbNEkqO"
	pencil := func(h func() hash.Hash, nonce string) Client {
		s, err := newScram(Credentials{User: "user", Secret: "pencil"}, unbound)
		if err != nil {
			t.Fatal(err)
		}
		s.hash, s.nonce = h, nonce
		return s
	}
	tim := Credentials{User: "tim", Secret: "tanstaaftanstaaf"}
	bearer := Credentials{User: "user@example.com", Secret: "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", Host: "server.example.com", Port: 143}
	for _, tt := range []struct {
		name       string
		c          Client
		challenges []string
		want       []string
	}{
		{"RFC 5802 section 5", pencil(sha1.New, nonce1),
			[]string{"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
			[]string{"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", ""}},
		{"RFC 7677 section 3", pencil(sha256.New, nonce7677),
			[]string{"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
			[]string{"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", ""}},
		{"RFC 4616 section 4", &plain{c: tim}, nil, []string{"\x00tim\x00tanstaaftanstaaf"}},
		{"RFC 2195 section 2", &cram{c: tim}, []string{"<1896.697170952@postoffice.reston.mci.net>"}, []string{"tim b913a602c7eda7a495b4e6e7334d3890"}},
		{"LOGIN, as everybody has it", &login{c: tim}, []string{"Username:", "Password:"}, []string{"tim", "tanstaaftanstaaf"}},
		{"LOGIN of a server without words", &login{c: tim}, []string{"", ""}, []string{"tim", "tanstaaftanstaaf"}},
		{"RFC 7628 section 4.1", &token{c: bearer, bearer: true}, nil,
			[]string{"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"}},
		{"XOAUTH2, Google's page", &token{c: Credentials{User: "someuser@example.com", Secret: "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"}}, nil,
			[]string{"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"}},
	} {
		if got := talk(t, tt.c, tt.challenges...); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%q, want\n%q", tt.name, got, tt.want)
		}
		if err := tt.c.Done(); err != nil {
			t.Errorf("%s: a success is not believed: %v", tt.name, err)
		}
	}
}

// TestRefusedToken: a refusal of a token comes as a challenge, which is answered
// before the server says no (RFC 7628 section 3.2.3).
func TestRefusedToken(t *testing.T) {
	for bearer, want := range map[bool]string{true: "\x01", false: ""} {
		c := &token{c: Credentials{User: "u", Secret: "t"}, bearer: bearer}
		if got := talk(t, c, `{"status":"invalid_token"}`); got[1] != want {
			t.Errorf("bearer %v: %q, want %q", bearer, got[1], want)
		}
		if c.Done() == nil {
			t.Errorf("bearer %v: a success after a refusal is believed", bearer)
		}
		if _, err := c.Next([]byte("more")); err == nil {
			t.Errorf("bearer %v: it goes on after a refusal", bearer)
		}
	}
}

// TestChoose: the best that is offered, and never a token's mechanism for a password.
func TestChoose(t *testing.T) {
	in := Binding{exporter, []byte("x")}
	all := []string{XOAuth2, CramMD5, Login, Plain, ScramSHA256, ScramSHA256Plus, "GSSAPI"}
	for _, tt := range []struct {
		name    string
		offered []string
		c       Credentials
		want    string
		first   string // of what is sent first
		err     error
	}{
		{"all", all, Credentials{Binding: in}, ScramSHA256Plus, "p=tls-exporter,,", nil},
		{"in clear, so no binding", all, Credentials{}, ScramSHA256, "n,,", nil},
		{"without channel binding there, which we tell", all[:5], Credentials{Binding: in}, ScramSHA256, "y,,", nil},
		{"no SCRAM", all[:4], Credentials{}, Plain, "\x00", nil},
		{"no PLAIN", all[:3], Credentials{}, Login, "", nil},
		{"the last", all[:2], Credentials{}, CramMD5, "", nil},
		{"tokens alone", all[:1], Credentials{}, "", "", ErrToken},
		{"nothing of ours", []string{"GSSAPI", "NTLM"}, Credentials{}, "", "", ErrNone},
		{"nothing", nil, Credentials{}, "", "", ErrNone},
		{"the one that is named", all, Credentials{Mechanism: XOAuth2}, XOAuth2, "user=", nil},
		{"one that is named and not offered", all, Credentials{Mechanism: OAuthBearer}, "", "", ErrNone},
		{"binding by name, in clear", all, Credentials{Mechanism: ScramSHA256Plus}, ScramSHA256Plus, "", ErrNone},
		{"one that nobody knows", all, Credentials{Mechanism: "GSSAPI"}, "GSSAPI", "", ErrNone},
	} {
		name, c, err := Choose(tt.offered, tt.c)
		if name != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v, want %q, %v", tt.name, name, err, tt.want, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		if c.Done() == nil {
			t.Errorf("%s: a success before anything was said is believed", tt.name)
		}
		if first, err := c.Next(nil); err != nil || !strings.HasPrefix(string(first), tt.first) {
			t.Errorf("%s: %q, %v, want %q", tt.name, first, err, tt.first)
		}
	}
	for _, c := range []Credentials{{User: "a\x00b"}, {Secret: "a\x00b"}} {
		if _, _, err := Choose(all, c); err == nil {
			t.Errorf("%+v has a NUL and is taken", c)
		}
	}
}

// server is the other side of SCRAM, with what it stores of a password.
type server struct {
	k      keys
	salt   []byte
	header string // that it expects of its client
	data   []byte
	bare   string
	first  string
}

func newServer(password, header string, data []byte) *server {
	salt := []byte("some salt")
	k, err := makeKeys(sha256.New, password, salt, leastRounds)
	if err != nil {
		panic(err)
	}
	return &server{k: k, salt: salt, header: header, data: data}
}

func (s *server) begin(message string) (string, bool) {
	bare, ok := strings.CutPrefix(message, s.header)
	v, err := attributes(bare, "nr")
	if !ok || err != nil {
		return "", false
	}
	s.bare, s.first = bare, serverFirst{v[1] + "theirs", s.salt, leastRounds}.String()
	return s.first, true
}

// end checks the client's proof with stored alone.
func (s *server) end(message string) (string, bool) {
	i := strings.LastIndex(message, ",p=")
	if i < 0 {
		return "", false
	}
	v, err := attributes(message[:i], "cr")
	proof, perr := base64.StdEncoding.DecodeString(message[i+3:])
	if err != nil || perr != nil || v[0] != base64.StdEncoding.EncodeToString(append([]byte(s.header), s.data...)) {
		return "", false
	}
	auth := s.bare + "," + s.first + "," + message[:i]
	want := s.k.proof(sha256.New, auth)
	return "v=" + base64.StdEncoding.EncodeToString(s.k.signature(sha256.New, auth)), string(proof) == string(want)
}

// TestBinding: with each binding of one TLS session the login works in that session
// and in no other; with TLS 1.3 and with 1.2.
func TestBinding(t *testing.T) {
	for version, names := range map[uint16][]string{tls.VersionTLS13: {exporter, endPoint}, tls.VersionTLS12: {endPoint, unique}} {
		heres, theres := sessions(t, version)
		elsewheres, _ := sessions(t, version)
		if !reflect.DeepEqual(heres, theres) {
			t.Errorf("TLS %x: %+v and %+v", version, heres, theres)
		}
		for i, name := range names {
			testBinding(t, name, heres[i], theres[i], elsewheres[i])
		}
	}
}

func testBinding(t *testing.T, name string, here, there, elsewhere Binding) {
	t.Helper()
	if here.Name != name || there.Name != name || name != unique && len(here.Data) != 32 {
		t.Errorf("%s: %+v and %+v", name, here, there)
	}
	for _, x := range []struct {
		b    Binding
		want bool
	}{{there, true}, {elsewhere, false}} {
		_, c, err := Choose([]string{ScramSHA256Plus}, Credentials{User: "u", Secret: "pass", Binding: x.b})
		if err != nil {
			t.Fatal(err)
		}
		s := newServer("pass", "p="+here.Name+",,", here.Data)
		first, err := c.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		challenge, _ := s.begin(string(first))
		proof, err := c.Next([]byte(challenge))
		if err != nil {
			t.Fatal(err)
		}
		last, ok := s.end(string(proof))
		if ok != x.want {
			t.Errorf("%s: the server takes it: %v, want %v", name, ok, x.want)
		}
		if _, err := c.Next([]byte(last)); ok && (err != nil || c.Done() != nil) {
			t.Errorf("%s: the client doesn't take it: %v", name, err)
		}
	}
}

// sessions are the bindings of both ends of a TLS session.
func sessions(t *testing.T, version uint16) (server, client Bindings) {
	t.Helper()
	cert, pool := testenv.Certificate(t, "s.example")
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version, MinVersion: version})
	c := tls.Client(b, &tls.Config{RootCAs: pool, ServerName: "s.example"})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, c) // TLS 1.3 sends tickets behind the handshake
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return BindingsOf(s.ConnectionState(), cert.Leaf), BindingsOf(c.ConnectionState(), c.ConnectionState().PeerCertificates[0])
}

// TestScramRefuses: what a server may not say.
func TestScramRefuses(t *testing.T) {
	const salt = ",s=c2FsdA=="
	for _, tt := range []struct {
		name, first string // N is our nonce
	}{
		{"nothing", ""},
		{"our nonce alone", "r=N" + salt + ",i=4096"},
		{"a nonce of its own", "r=other" + salt + ",i=4096"},
		{"ours behind another", "r=xN" + salt + ",i=4096"},
		{"no salt", "r=Nx,s=,i=4096"},
		{"a salt that is none", "r=Nx,s=!,i=4096"},
		{"no rounds", "r=Nx" + salt},
		{"too few rounds", "r=Nx" + salt + ",i=4095"},
		{"rounds without end", "r=Nx" + salt + ",i=1000001"},
		{"rounds with a sign", "r=Nx" + salt + ",i=+4096"},
		{"an extension that must be known", "m=x,r=Nx" + salt + ",i=4096"},
		{"out of order", "s=c2FsdA==,r=Nx,i=4096"},
		{"a control in the nonce", "r=N\x01" + salt + ",i=4096"},
		{"too long", "r=N" + strings.Repeat("x", maxMessage) + salt + ",i=4096"},
	} {
		_, c, err := Choose([]string{ScramSHA256}, Credentials{User: "u", Secret: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		c.(*scram).nonce = "N"
		if _, err := c.Next(nil); err != nil {
			t.Fatal(err)
		}
		answer, err := c.Next([]byte(tt.first))
		if !errors.Is(err, ErrServer) || answer != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %v", tt.name, answer, err)
		}
	}
}

// TestImpostor: a server that doesn't know the password is not believed, whatever it
// says at the end.
func TestImpostor(t *testing.T) {
	for _, last := range []string{"", "v=", "v=AAAA", "e=invalid-proof", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="} {
		_, c, err := Choose([]string{ScramSHA256}, Credentials{User: "user", Secret: "pencil"})
		if err != nil {
			t.Fatal(err)
		}
		first, _ := c.Next(nil)
		s := newServer("another", "n,,", nil)
		challenge, _ := s.begin(string(first))
		if _, err := c.Next([]byte(challenge)); err != nil {
			t.Fatal(err)
		}
		if c.Done() == nil {
			t.Errorf("%q: a success without a proof is believed", last)
		}
		if _, err := c.Next([]byte(last)); err == nil || c.Done() == nil {
			t.Errorf("%q is believed", last)
		}
	}
}

// FuzzServerFirst: what is read has one form, and nothing runs without a limit.
func FuzzServerFirst(f *testing.F) {
	f.Add("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	f.Add("r=a,s=YQ==,i=04096,x=y")
	f.Fuzz(func(t *testing.T, in string) {
		first, err := parseServerFirst(in)
		if err != nil {
			return
		}
		if first.rounds > maxRounds || first.rounds < leastRounds {
			t.Errorf("%q: %d rounds", in, first.rounds)
		}
		again, err := parseServerFirst(first.String())
		if err != nil || again.String() != first.String() || !strings.HasPrefix(in, "r="+first.nonce+",") {
			t.Errorf("%q is read as %q, which is read as %q, %v", in, first, again, err)
		}
	})
}

// FuzzExchange: whatever a server without the password says, no mechanism that
// proves it is done, and none sends what stands in the password but for those that
// have to.
func FuzzExchange(f *testing.F) {
	f.Add(uint8(0), "r=x,s=YQ==,i=4096", "v=AAAA", "")
	f.Add(uint8(4), "<1@x>", "", "")
	f.Add(uint8(3), "Username:", "Password:", "again")
	f.Fuzz(func(t *testing.T, which uint8, a, b, c string) {
		all := append(passwords[:], tokens[:]...)
		name := all[int(which)%len(all)]
		const secret = "the secret itself"
		mechanism, client, err := Choose([]string{name}, Credentials{User: "u", Secret: secret, Mechanism: name, Binding: Binding{exporter, []byte("x")}})
		if err != nil {
			t.Fatal(err)
		}
		shows := mechanism == Plain || mechanism == Login || mechanism == OAuthBearer || mechanism == XOAuth2
		for i, challenge := range [][]byte{nil, []byte(a), []byte(b), []byte(c)} {
			said, err := client.Next(challenge)
			if err != nil && strings.Contains(err.Error(), secret) || !shows && strings.Contains(string(said), secret) {
				t.Fatalf("%s, step %d, shows the secret: %q, %v", mechanism, i, said, err)
			}
			if strings.HasPrefix(mechanism, "SCRAM") && client.Done() == nil {
				t.Fatalf("%s is done after %q, %q, %q", mechanism, a, b, c)
			}
			if err != nil {
				return
			}
		}
	})
}
