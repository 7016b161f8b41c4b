package control

import (
	"context"
	"errors"
	"iter"
	"net"
	"time"
)

const dialTimeout = 10 * time.Second

func serve(ctx context.Context, l net.Listener, h Handler) error { return errors.ErrUnsupported }
func peerOf(c *net.UnixConn) (Peer, error)                       { return Peer{}, errors.ErrUnsupported }
func (c *Client) messages(ctx context.Context, r Request) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) { yield(Message{}, errors.ErrUnsupported) }
}
func (c *Client) do(ctx context.Context, r Request) (string, error) {
	return "", errors.ErrUnsupported
}
