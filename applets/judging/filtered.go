package judging

import (
	"bufio"
	"context"
	"io"

	"postoffice/applets/filters"
	"postoffice/applets/smtpd"
	"postoffice/internal/message"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

const maxTrace = 64 << 10 // octets of our own trace field, which has two thousand where names are longest

// Filtered shows a message of who's that waits in the queue to the filters. An error is that they
// can't tell now. Until the Verdict's Done is called its Edits may be read.
func Filtered(ctx context.Context, who string, set *filters.Set, q *spool.Queue, m *spool.Message) (Verdict, error) {
	var texts texts
	env := m.Envelope()
	_, utf8 := smtp.FindParam(env.Params, smtp.ParamUTF8)
	client := filters.Here(env.Session)
	t := &smtpd.Transaction{
		ID: string(m.ID()), Client: &client, ReversePath: env.ReversePath, Params: env.Params,
		UTF8: utf8, Arrived: env.Arrived, SessionID: env.Session,
	}
	var keys []envelope.Key
	for r := range m.Pending() {
		keys, t.Recipients = append(keys, r.Key), append(t.Recipients, r.Original())
	}
	begin := func() (smtpd.Scratch, error) { return texts.begin(q, env) }
	j, err := set.Judge(ctx, who, t, smtpd.NewMessage(m.Data(), m.Size(), trace(m.Data()), begin))
	if err != nil {
		texts.end()
		return Verdict{}, err
	}
	v := Verdict{Refuse: j.Reply, Discard: j.Discard, Hold: j.Hold, Edits: j.Edits, Done: texts.end, Nobody: len(j.Refused) == len(keys)}
	for i, r := range j.Refused {
		if v.Refused == nil {
			v.Refused = map[envelope.Key]smtp.Reply{}
		}
		v.Refused[keys[i]] = r
	}
	return v, nil
}

// trace is how many octets our own trace field has, at the front of a message that we
// have taken in.
func trace(r io.Reader) int {
	for f, err := range message.Fields(bufio.NewReader(r), maxTrace) {
		if err != nil || f.Cut || !f.Is("Received") {
			return 0
		}
		return len(f.Text)
	}
	return 0
}

// texts are what filters have made for a message beside it.
type texts []*text

// text is one of them: a message in the queue that is never committed.
type text struct {
	*spool.Incoming
	size int64
}

func (t *text) Size() int64 { return t.size }

func (t *text) Write(p []byte) (int, error) {
	n, err := t.Incoming.Write(p)
	t.size += int64(n)
	return n, err
}

func (all *texts) begin(q *spool.Queue, env envelope.Envelope) (smtpd.Scratch, error) {
	in, err := q.Create(env)
	if err != nil {
		return nil, err
	}
	t := &text{Incoming: in}
	*all = append(*all, t)
	return t, nil
}

// end removes them. What stays in tmp/ is removed when it is old.
func (all *texts) end() {
	for _, t := range *all {
		t.Abort()
	}
}
