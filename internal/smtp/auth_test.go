package smtp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// parrot is an exchange that says its lines, whatever it hears.
type parrot struct {
	lines []string // "-" is no answer
	done  error
	heard []string
}

func (p *parrot) Next(challenge []byte) ([]byte, error) {
	if challenge != nil {
		p.heard = append(p.heard, string(challenge))
	}
	if len(p.lines) == 0 {
		return nil, errors.New("no more to say")
	}
	line := p.lines[0]
	p.lines = p.lines[1:]
	if line == "-" {
		return nil, nil
	}
	return []byte(line), nil
}

func (p *parrot) Done() error { return p.done }

// TestAuth: logins as servers answer them. No transcript, reply or error has what was
// sent.
func TestAuth(t *testing.T) {
	long := strings.Repeat("x", 400)
	for _, tt := range []struct {
		name, script string
		lines        []string
		done         error
		want         string // the reply, or the error's beginning
		shown        string // of the transcript
	}{
		{"at once", "C: AUTH M c2VjcmV0\nS: 235 2.7.0 welcome\n", []string{"secret"}, nil, "235 2.7.0 welcome", "> AUTH M|< 235 2.7.0 welcome"},
		{"nothing at once", "C: AUTH M =\nS: 235 ok\n", []string{""}, nil, "235 ok", "> AUTH M|< 235 ok"},
		{"asked twice", "C: AUTH M\nS: 334 VXNlcm5hbWU6\nC: dQ==\nS: 334 \nC: c2VjcmV0\nS: 235 ok\n", []string{"-", "u", "secret"}, nil, "235 ok", "> AUTH M|< 334 ...|> ...|< 334 ...|> ...|< 235 ok"},
		{"too long for one line", "C: AUTH M\nS: 334 \nC: (eHh4){133}eA==\nS: 235 ok\n", []string{long}, nil, "235 ok", "> AUTH M|< 334 ...|> ...|< 235 ok"},
		{"an empty answer", "C: AUTH M c2VjcmV0\nS: 334 e30=\nC: \nS: 535 5.7.8 no\n", []string{"secret", ""}, nil, "535 5.7.8 no", "> AUTH M|< 334 ...|> ...|< 535 5.7.8 no"},
		{"refused", "C: AUTH M c2VjcmV0\nS: 535 5.7.8 no\n", []string{"secret"}, nil, "535 5.7.8 no", "> AUTH M|< 535 5.7.8 no"},
		{"said again", "C: AUTH M c2VjcmV0\nS: 501 AUTH M c2VjcmV0 or secret?\n", []string{"secret"}, nil, "501 AUTH M ... or ...?", "> AUTH M|< 501 AUTH M ... or ...?"},
		{"later", "C: AUTH M c2VjcmV0\nS: 454 4.7.0 later\n", []string{"secret"}, nil, "454 4.7.0 later", "> AUTH M|< 454 4.7.0 later"},
		{"no base64", "C: AUTH M c2VjcmV0\nS: 334 secret!\nC: \\*\nS: 501 off\n", []string{"secret"}, nil, "login: a challenge that is not base64", "> AUTH M|< 334 ...|> *|< 501 off"},
		{"the exchange gives up", "C: AUTH M c2VjcmV0\nS: 334 e30=\nC: \\*\nS: 501 off\n", []string{"secret"}, nil, "login: no more to say", "> AUTH M|< 334 ...|> *|< 501 off"},
		{"it is not believed", "C: AUTH M c2VjcmV0\nS: 235 ok\n", []string{"secret"}, errors.New("no proof"), "login: no proof", "> AUTH M|< 235 ok"},
		{"another success", "C: AUTH M c2VjcmV0\nS: 250 ok\n", []string{"secret"}, nil, ErrOutOfStep.Error(), "> AUTH M|< 250 ok"},
		{"data wanted", "C: AUTH M c2VjcmV0\nS: 354 go on\n", []string{"secret"}, nil, ErrOutOfStep.Error(), "> AUTH M|< 354 go on"},
		{"dropped", "C: AUTH M c2VjcmV0\nS!\n", []string{"secret"}, nil, io.ErrUnexpectedEOF.Error(), "> AUTH M"},
		{"no reply", "C: AUTH M c2VjcmV0\nS: what is c2VjcmV0?\n", []string{"secret"}, nil, ErrReply.Error(), "> AUTH M"},
		{"the end", "C: AUTH M c2VjcmV0\nS: 421 secret, bye\n", []string{"secret"}, nil, ErrClosing.Error(), "> AUTH M"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withServer(t, "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 AUTH M\n"+tt.script+"C!", func(t *testing.T, c *Client) {
				start(t, c)
				var shown []string
				c.SetTranscript(func(dir byte, line string) { shown = append(shown, string(dir)+" "+line) })
				reply, err := c.Auth(Login{"M", &parrot{lines: tt.lines, done: tt.done}, "secret"})
				got := reply.String()
				if err != nil {
					got = err.Error()
				}
				if !strings.HasPrefix(got, tt.want) || strings.Join(shown, "|") != tt.shown {
					t.Errorf("%q, %q; want %q, %q", got, strings.Join(shown, "|"), tt.want, tt.shown)
				}
				if all := got + strings.Join(shown, " "); strings.Contains(all, "secret") || strings.Contains(all, "c2VjcmV0") {
					t.Errorf("the secret is told: %s", all)
				}
				if tt.name == "the end" && !errors.Is(err, ErrClosing) {
					t.Errorf("%v is no %v any more", err, ErrClosing)
				}
			})
		})
	}
}

// TestAuthEnds: a server that never comes to an end is left.
func TestAuthEnds(t *testing.T) {
	script := "S: 220 x\nC: EHLO us.example\nS: 250 AUTH M\nC: AUTH M\n" +
		strings.Repeat("S: 334 eA==\nC: eA==\n", maxChallenges) + "S: 334 eA==\nC: \\*\nS: 501 off\nC!"
	withServer(t, script, func(t *testing.T, c *Client) {
		start(t, c)
		p := &parrot{lines: slices.Concat([]string{"-"}, slices.Repeat([]string{"x"}, 20))}
		_, err := c.Auth(Login{"M", p, ""})
		if auth := (*AuthError)(nil); !errors.As(err, &auth) || len(p.heard) != maxChallenges {
			t.Errorf("%v after %d challenges", err, len(p.heard))
		}
	})
}

// FuzzAuth: whatever a server says, no reply, transcript or error has the secret.
func FuzzAuth(f *testing.F) {
	f.Add("235 the secret itself")
	f.Add("334 eA==\n535 dGhlIHNlY3JldCBpdHNlbGY=")
	f.Fuzz(func(t *testing.T, said string) {
		const secret = "the secret itself"
		var shown []string
		c := NewClient(&scripted{r: strings.NewReader(strings.ReplaceAll(said, "\n", "\r\n") + "\r\n")}, ClientOptions{})
		c.SetTranscript(func(dir byte, line string) { shown = append(shown, line) })
		reply, err := c.Auth(Login{"M", &parrot{lines: []string{secret, secret, secret}}, secret})
		if all := fmt.Sprint(reply, err, shown); strings.Contains(all, secret) {
			t.Errorf("%q: %s", said, all)
		}
	})
}

// scripted is a connection on which somebody has said everything already.
type scripted struct {
	net.Conn
	r io.Reader
}

func (s *scripted) Read(b []byte) (int, error)    { return s.r.Read(b) }
func (s *scripted) Write(b []byte) (int, error)   { return len(b), nil }
func (s *scripted) SetDeadline(t time.Time) error { return nil }
