package logins

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"postoffice/applets/privsep/ask"
	"postoffice/applets/smtpd/login"
)

const (
	answerWait = 60 * time.Second // for one answer: hashes have turns
	lookWait   = 10 * time.Second // after which the mechanisms are asked for again
	livesWait  = 10 * time.Second // for an answer that is there at once, from a process that may have been stopped
)

// ErrGone says that who knows the accounts has gone.
var ErrGone = errors.New("the process that checks logins has ended; it is started again")

// errMute is a question that has no answer in time.
var errMute = errors.New("the process that checks logins gives no answer")

// Client is the server's end of a link. Its mechanisms are those that were told last.
type Client struct {
	*ask.Client[answer]

	mu     sync.Mutex // guards what follows
	words  []login.Mechanism
	looked time.Time
}

// NewClient takes over a link. It returns when the mechanisms are known, or with the error
// of ctx.
func NewClient(ctx context.Context, conn *net.UnixConn) (*Client, error) {
	c := &Client{}
	c.Client = ask.New(conn, ask.Options[answer]{Size: maxPacket, Decode: decodeAnswer, Wait: answerWait, Gone: ErrGone, Mute: errMute,
		Hung: true, Lives: func() bool { return c.Lives(livesWait) }})
	if err := c.look(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// look asks for the mechanisms.
func (c *Client) look(ctx context.Context) error {
	a, err := c.ask(ctx, question{verb: mechanisms, number: c.Number()})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.words, c.looked = a.mechanisms, time.Now()
	return nil
}

// Lives asks whether the process answers at all. It knows its mechanisms without a look at
// a file.
func (c *Client) Lives(wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return c.look(ctx) == nil
}

// Mechanisms are those that were told last; they are asked for again from time to time.
func (c *Client) Mechanisms() []login.Mechanism {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) > lookWait {
		c.looked = time.Now()
		go c.look(context.Background())
	}
	return c.words
}

// Begin begins an exchange.
func (c *Client) Begin(who login.Client, mechanism string) login.Exchange {
	return &exchange{c: c, who: who, mechanism: mechanism}
}

// exchange is one login.
type exchange struct {
	c         *Client
	who       login.Client
	mechanism string
	number    uint32 // 0: nothing was sent
	over      bool
}

// Step sends what the client said and waits for the answer.
func (e *exchange) Step(ctx context.Context, said []byte) ([]byte, login.Result) {
	a, err := e.step(ctx, said)
	if err != nil {
		return nil, login.Result{Answer: login.Later, Err: err}
	}
	e.over = a.kind != login.Asks
	r := login.Result{Answer: a.kind, User: a.user}
	if a.err != "" {
		r.Err = errors.New(a.err)
	}
	return a.challenge, r
}

func (e *exchange) step(ctx context.Context, said []byte) (answer, error) {
	if e.number == 0 {
		e.number = e.c.Number()
		if err := e.c.send(question{verb: begin, number: e.number, mechanism: e.mechanism, client: e.who}); err != nil {
			return answer{}, err
		}
	}
	return e.c.ask(ctx, question{verb: step, number: e.number, said: said})
}

// Close tells the other end that nothing follows.
func (e *exchange) Close() {
	if e.number != 0 && !e.over {
		e.c.send(question{verb: end, number: e.number}) // else it is gone
	}
}

// send sends a message that has no answer.
func (c *Client) send(q question) error {
	b, err := q.packet()
	if err == nil {
		err = c.Send(b)
	}
	return err
}

// ask sends a question and waits for its answer.
func (c *Client) ask(ctx context.Context, q question) (answer, error) {
	b, err := q.packet()
	if err != nil {
		return answer{}, err
	}
	return c.Ask(ctx, q.number, b)
}

// packet is q as it is sent.
func (q question) packet() ([]byte, error) {
	b := q.append(nil)
	if len(b) > maxPacket {
		return nil, fmt.Errorf("%d octets for a login: %w", len(b), errForm)
	}
	return b, nil
}
