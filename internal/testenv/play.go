package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv/testfilter"
)

// A Side is who is played in a Dialogue.
type Side byte

const (
	Client Side = 'C'
	Server Side = 'S'
)

// stepLimit is how long the other side may take for one step.
const stepLimit = 30 * time.Second

// Play takes part in the dialogue on conn, as side, and returns the first thing
// that went otherwise. It closes conn only where the dialogue says so.
func (d *Dialogue) Play(conn net.Conn, side Side) error {
	p := player{conn: conn, r: bufio.NewReader(conn), limit: stepLimit}
	for _, s := range d.steps {
		if err := p.step(s, side); err != nil {
			return fmt.Errorf("%s:%d: %w", d.Name, s.line, err)
		}
	}
	return nil
}

// RunDialogues plays the client's side of each file that pattern (below the
// project's root, as in "testdata/dialogues/*.txt") matches, as a subtest.
// connect gives it a connection to the server under test.
func RunDialogues(t *testing.T, pattern string, connect func(t *testing.T, d *Dialogue) net.Conn) {
	files, err := filepath.Glob(filepath.Join(Root(), pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			d, err := ReadDialogue(file)
			if err != nil {
				t.Fatal(err)
			}
			conn := connect(t, d)
			defer conn.Close()
			if err := d.Play(conn, Client); err != nil {
				t.Error(err)
			}
		})
	}
}

// Root returns the project's root folder.
func Root() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	panic("testenv: not run inside the project")
}

type player struct {
	conn  net.Conn
	r     *bufio.Reader
	limit time.Duration
}

func (p *player) step(s step, side Side) error {
	p.conn.SetDeadline(time.Now().Add(p.limit)) // an error here comes again from what follows
	switch s.op {
	case 'w':
		p.limit = s.each
		return nil
	case 'p':
		<-time.After(s.each)
		return nil
	}
	if s.who == byte(side) {
		return p.say(s)
	}
	return p.hear(s)
}

// say plays a step of our own side.
func (p *player) say(s step) error {
	text, err := unescape(s.text)
	if err != nil {
		return err
	}
	switch s.op {
	case ':':
		_, err = io.WriteString(p.conn, text+"\r\n")
	case '|':
		_, err = io.WriteString(p.conn, text)
	case '*':
		err = Drip(p.conn, text, s.each)
	case '!':
		err = p.conn.Close()
	default:
		err = errors.New("the side that is played needs its words")
	}
	return err
}

// Drip writes text one octet at a time, each after a while.
func Drip(conn net.Conn, text string, each time.Duration) error {
	for i := range len(text) {
		<-time.After(each)
		if err := conn.SetWriteDeadline(time.Now().Add(stepLimit)); err != nil {
			return err
		}
		if _, err := conn.Write([]byte{text[i]}); err != nil {
			return err
		}
	}
	return nil
}

// hear plays a step of the other side.
func (p *player) hear(s step) error {
	switch s.op {
	case ':':
		re, err := regexp.Compile("^(?:" + s.text + ")$")
		if err != nil {
			return err
		}
		line, err := p.line()
		if err != nil {
			return fmt.Errorf("want a line %q: %w", s.text, err)
		}
		if !re.MatchString(line) {
			return fmt.Errorf("want a line %q, got %q", s.text, line)
		}
		return nil
	case '=':
		return p.reply(s.text)
	case '!':
		rest, err := io.ReadAll(p.r)
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) || len(rest) > 0 {
			return fmt.Errorf("want the end of the connection, got %q, %v", rest, err)
		}
		return nil
	}
	return p.octets(s.text)
}

func (p *player) line() (string, error) {
	line, err := p.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("got %q, %w", line, err)
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return "", fmt.Errorf("line not ended by CR LF: %q", line)
	}
	return text, nil
}

// reply takes all lines of one reply.
func (p *player) reply(code string) error {
	for {
		line, err := p.line()
		if err != nil {
			return fmt.Errorf("want a reply %s: %w", code, err)
		}
		if strings.HasPrefix(line, code+" ") {
			return nil
		}
		if !strings.HasPrefix(line, code+"-") {
			return fmt.Errorf("want a reply %s, got %q", code, line)
		}
	}
}

func (p *player) octets(text string) error {
	want, err := unescape(text)
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(p.r, got)
	if string(got[:n]) != want {
		return fmt.Errorf("want %q, got %q, %v", want, got[:n], err)
	}
	return nil
}

// ServeFilter has a mail filter serve a socket until the test ends, and returns its path.
func ServeFilter(t testing.TB, f *testfilter.Filter) string {
	t.Helper()
	address, end, err := f.Listen(t.TempDir())
	Must(t, err)
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Errorf("the filter: %v", err)
		}
	})
	return address
}
