package sasl

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// TestServerVector is RFC 7677's exchange from the server's side.
func TestServerVector(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	v := Verifier{Rounds: 4096, Salt: salt}
	v.Stored, _ = base64.StdEncoding.DecodeString("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=")
	v.Server, _ = base64.StdEncoding.DecodeString("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
	if !v.Match("pencil") || v.Match("Pencil") {
		t.Error("the verifier is not pencil's")
	}
	s := NewScramServer(false, nil)
	user, err := s.First("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
	if user != "user" || err != nil {
		t.Fatalf("%q, %v", user, err)
	}
	s.nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	if got := s.Challenge(v); got != "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096" {
		t.Errorf("challenge %q", got)
	}
	got, err := s.Final("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	if got != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" || err != nil {
		t.Errorf("final %q, %v", got, err)
	}
}

// exchange is a login of our client at our server.
func exchange(t *testing.T, offered []string, c Credentials, s *ScramServer, v Verifier) error {
	t.Helper()
	_, client, err := Choose(offered, c)
	if err != nil {
		t.Fatal(err)
	}
	first, err := client.Next(nil)
	if err != nil {
		t.Fatal(err)
	}
	user, err := s.First(string(first))
	if err != nil {
		return err
	}
	if user != c.User {
		t.Errorf("the user is %q, want %q", user, c.User)
	}
	proof, err := client.Next([]byte(s.Challenge(v)))
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.Final(string(proof))
	if err != nil {
		return err
	}
	if _, err := client.Next([]byte(last)); err != nil || client.Done() != nil {
		t.Errorf("the client doesn't believe the server: %v", err)
	}
	return nil
}

// TestServer: passwords right and wrong, names that need escapes, and bindings that fit,
// don't, or were taken away.
func TestServer(t *testing.T) {
	v, err := NewVerifier("pass wörd")
	if err != nil {
		t.Fatal(err)
	}
	both, one := []string{ScramSHA256Plus, ScramSHA256}, []string{ScramSHA256}
	here, elsewhere := Binding{exporter, []byte("here")}, Binding{exporter, []byte("elsewhere")}
	for _, tt := range []struct {
		name    string
		offered []string
		user    string
		secret  string
		client  Binding
		plus    bool
		server  Bindings
		want    error
	}{
		{"right", one, "alice@us.example", "pass wörd", Binding{}, false, nil, nil},
		{"wrong", one, "alice@us.example", "pass word", Binding{}, false, nil, ErrProof},
		{"a name with signs", one, "a,b=c,=2C", "pass wörd", Binding{}, false, nil, nil},
		{"bound", both, "a", "pass wörd", here, true, Bindings{here}, nil},
		{"bound elsewhere", both, "a", "pass wörd", elsewhere, true, Bindings{here}, ErrDowngrade},
		{"bound by the second kind", both, "a", "pass wörd", here, true, Bindings{{endPoint, []byte("x")}, here}, nil},
		{"bound elsewhere by that", both, "a", "pass wörd", elsewhere, true, Bindings{{endPoint, []byte("elsewhere")}, here}, ErrDowngrade},
		{"bound, and there is nothing to bind to", both, "a", "pass wörd", here, true, nil, ErrDowngrade},
		{"another kind of binding", both, "a", "pass wörd", Binding{endPoint, []byte("here")}, true, Bindings{here}, ErrDowngrade},
		{"taken off the list", one, "a", "pass wörd", here, false, Bindings{here}, ErrDowngrade},
		{"never offered", one, "a", "pass wörd", here, false, nil, nil},
		{"a client without it", both, "a", "pass wörd", Binding{}, false, Bindings{here}, nil},
	} {
		s := NewScramServer(tt.plus, tt.server)
		err := exchange(t, tt.offered, Credentials{User: tt.user, Secret: tt.secret, Binding: tt.client}, s, v)
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestFirstRefuses: first and last messages that are none.
func TestFirstRefuses(t *testing.T) {
	for _, m := range []string{"", "n", "n,,", "n,,n=a", "n,,r=x,n=a", "n,,m=x,n=a,r=x", "x,,n=a,r=x", "p=,,n=a,r=x", "p=tls-exporter,,n=a,r=x", "n,a=b,n=a,r=x", "n,b,n=a,r=x",
		"n,,n=,r=x", "n,,n=a,r=", "n,,n=a=,r=x", "n,,n=a=2c,r=x", "n,,n=a\x00,r=x", "n,,n=\xff,r=x", "n,,n=a,r=\x01", "n,,n=" + strings.Repeat("a", 256) + ",r=x", "n,,n=a,r=" + strings.Repeat("x", 5000)} {
		if user, err := NewScramServer(false, nil).First(m); err == nil {
			t.Errorf("%.50q is %q", m, user)
		}
	}
	v, _ := NewVerifier("x")
	for _, m := range []string{"", "c=biws", "c=biws,r=other,p=AAAA", "c=biws,r=NONCE", "c=biws,r=NONCE,p=", "c=biws,r=NONCE,p=AAAA", "c=biws,r=NONCE,p=" + strings.Repeat("A", 43) + "=", "c=eSws,r=NONCE,p=" + strings.Repeat("A", 43) + "=", "c=?,r=NONCE,p=" + strings.Repeat("A", 43) + "="} {
		s := NewScramServer(false, nil)
		s.First("n,,n=a,r=x")
		s.Challenge(v)
		if got, err := s.Final(strings.ReplaceAll(m, "NONCE", s.nonce)); err == nil {
			t.Errorf("%q is answered with %q", m, got)
		}
	}
}

// TestVerifier: as it stands in a file, for a name that there isn't, and what is none.
func TestVerifier(t *testing.T) {
	v, err := NewVerifier("x")
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseVerifier(v.String())
	if err != nil || again.String() != v.String() || !again.Match("x") || again.Match("y") {
		t.Errorf("%v: %v, %v", v, again, err)
	}
	secret := []byte("secret")
	a, b := Nobodys(secret, "a"), Nobodys(secret, "b")
	if a.String() != Nobodys(secret, "a").String() || a.String() == b.String() || a.String() == Nobodys([]byte("other"), "a").String() || a.Rounds != v.Rounds || len(a.Salt) != len(v.Salt) {
		t.Errorf("%v and %v beside %v", a, b, v)
	}
	f := strings.Split(v.String(), ",")
	for _, bad := range []string{"", "SHA-1," + strings.Join(f[1:], ","), v.String() + ",x", "SHA-256,1," + strings.Join(f[2:], ","), "SHA-256,99999999," + strings.Join(f[2:], ","), "SHA-256,4096,,,", strings.Replace(v.String(), f[3], "YQ==", 1)} {
		if _, err := ParseVerifier(bad); !errors.Is(err, ErrVerifier) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestParsePlain is PLAIN's message.
func TestParsePlain(t *testing.T) {
	for _, tt := range []struct {
		in, user, password string
		ok                 bool
	}{
		{"\x00a\x00b", "a", "b", true}, {"a\x00a\x00b", "a", "b", true}, {"\x00a\x00", "a", "", true},
		{"\x00a\x00" + strings.Repeat("b", MaxPassword), "a", strings.Repeat("b", MaxPassword), true}, {"\x00a\x00" + strings.Repeat("b", MaxPassword+1), "", "", false},
		{"x\x00a\x00b", "", "", false}, {"\x00\x00b", "", "", false}, {"a\x00b", "", "", false}, {"\x00a\x00b\x00", "", "", false}, {"", "", "", false}, {"\x00\xff\x00b", "", "", false},
	} {
		user, password, err := ParsePlain([]byte(tt.in))
		if user != tt.user || password != tt.password || (err == nil) != tt.ok {
			t.Errorf("%q: %q, %q, %v", tt.in, user, password, err)
		}
	}
}

// FuzzScramServer: whatever a client without the password says, it isn't let in.
func FuzzScramServer(f *testing.F) {
	v, err := NewVerifier("the password")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(false, "n,,n=user,r=abc", "c=biws,r=abcNONCE,p=AAAA")
	f.Add(true, "p=tls-exporter,,n=user,r=abc", "c=cD10bHM=,r=abcNONCE,p=AAAA")
	f.Fuzz(func(t *testing.T, plus bool, first, last string) {
		s := NewScramServer(plus, Bindings{{exporter, []byte("x")}})
		user, err := s.First(first)
		if err != nil {
			return
		}
		if user == "" || len(user) > maxName {
			t.Errorf("user %q", user)
		}
		s.Challenge(v)
		if got, err := s.Final(strings.ReplaceAll(last, "NONCE", strings.TrimPrefix(s.nonce, "abc"))); err == nil {
			t.Errorf("let in with %q: %q", last, got)
		}
	})
}
