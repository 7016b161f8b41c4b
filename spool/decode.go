package spool

import (
	"errors"
	"io"
	"slices"

	"postoffice/internal/smtp"
)

// contents is a message file understood.
type contents struct {
	first  first
	env    Envelope
	blocks []block // the envelope, then the whole expansion blocks in order
	rcpts  []slot  // of all blocks, in order
	data   int64   // offset of the data
	end    int64   // the file's length when it was read
}

// block is a run of recipients. Dead ones have been superseded, or their
// parent never said that it is expanded.
type block struct {
	number  int
	parent  int // index in rcpts; -1 in the envelope
	via     Via
	reverse *smtp.Path // nil: the parent's
	first   int        // index in rcpts
	n       int
	live    bool
}

// slot is a recipient and where its state stands.
type slot struct {
	Target
	at    int64 // offset of the octet
	block int   // index in blocks
}

// decode reads a message file of size octets; verify says whether also the
// data, which may be long. A *damaged error is about the file's contents, any
// other comes from r.
func decode(r io.ReaderAt, size int64, verify bool) (*contents, error) {
	l := newLines(r, 0, size)
	defer func() { l.free() }()
	c := &contents{end: size}
	if err := c.head(l); err != nil {
		return nil, err
	}
	if size < c.tailAt() {
		return nil, cut(io.EOF, "data")
	}
	if size > c.tailAt()+maxTail {
		return nil, damage("%d octets behind the data, more than %d", size-c.tailAt(), maxTail)
	}
	if verify {
		if err := c.verify(l); err != nil {
			return nil, err
		}
	} else {
		l.free()
		l = newLines(r, c.tailAt(), size)
	}
	if err := c.tail(l); err != nil {
		return nil, err
	}
	return c, c.settle()
}

// verify reads the data.
func (c *contents) verify(l *lines) error {
	crc, cr, err := l.sum(c.first.data)
	switch {
	case err != nil:
		return cut(err, "data")
	case crc != c.first.dataSum:
		return damage("data has checksum %08x, not %08x", crc, c.first.dataSum)
	case cr:
		return damage("CR in its data")
	}
	return nil
}

// cut turns an end of the file inside a part into damage.
func cut(err error, part string) error {
	if errors.Is(err, io.EOF) {
		return damage("cut off within its %s", part)
	}
	if errors.Is(err, errLong) {
		return damage("a line of more than %d octets in its %s", maxLine, part)
	}
	return err
}

// head reads the first line and the envelope.
func (c *contents) head(l *lines) error {
	line, err := l.next()
	switch {
	case errors.Is(err, io.EOF) && len(line) == 0:
		return damage("empty")
	case errors.Is(err, io.EOF) || errors.Is(err, errLong):
		return firstFault(line[:min(len(line), firstLen)])
	case err != nil:
		return err
	}
	if c.first, err = parseFirst(line); err != nil {
		return err
	}
	crc := uint32(0)
	c.data = int64(firstLen + c.first.envelope)
	c.blocks = []block{{parent: -1, live: true}}
	for field := 0; l.at < c.data; field++ {
		at := l.at
		line, err := l.next()
		if err != nil {
			return cut(err, "envelope")
		}
		if l.at > c.data {
			return damage("envelope longer than %d octets", c.first.envelope)
		}
		if crc, err = c.field(crc, line, field, at); err != nil {
			return err
		}
	}
	if crc = sum(crc, appendFirst(nil, c.first)); crc != c.first.check {
		return damage("envelope has checksum %08x, not %08x", crc, c.first.check)
	}
	return nil
}

// field reads line number n of the envelope, which starts at offset at.
func (c *contents) field(crc uint32, line []byte, n int, at int64) (uint32, error) {
	text := line[:len(line)-1]
	p := scanner{s: string(text), ok: true}
	var again []byte
	switch n {
	case 0:
		p.lit("arrived ")
		c.env.Arrived = p.time(" ")
		again = appendTime([]byte("arrived "), c.env.Arrived)
	case 1:
		p.lit("client ")
		c.env.Client = p.word()
		again = appendWord([]byte("client "), c.env.Client)
	case 2:
		p.lit("session ")
		c.env.Session = p.word()
		again = appendWord([]byte("session "), c.env.Session)
	case 3:
		p.lit("from ")
		c.env.ReversePath = p.path()
		c.env.Params = p.params()
		again = appendParams(appendPath([]byte("from "), c.env.ReversePath), c.env.Params)
	default:
		if len(text) == 0 && n > 4 {
			if at+1 != c.data {
				return 0, damage("envelope shorter than %d octets", c.first.envelope)
			}
			return sum(crc, line), nil
		}
		if at+int64(len(line)) == c.data {
			return 0, damage("envelope without its empty line")
		}
		return c.target(crc, line, at)
	}
	if !p.ok || p.s != "" || string(again) != string(text) {
		return 0, damage("envelope line %d can't be understood: %.60q", n+1, text)
	}
	return sum(crc, line), nil
}

// target reads a recipient's line into the last block.
func (c *contents) target(crc uint32, line []byte, at int64) (uint32, error) {
	b := len(c.blocks) - 1
	t, ok := parseTarget(line[:len(line)-1])
	if !ok || b == 0 && t.Kind != Address {
		return 0, damage("recipient's line can't be understood: %.60q", line[:len(line)-1])
	}
	if len(c.rcpts) == MaxRecipients {
		return 0, damage("more than %d recipients", MaxRecipients)
	}
	at += int64(slotAt(t.Kind))
	c.rcpts = append(c.rcpts, slot{Target: t, at: at, block: b})
	c.blocks[b].n++
	return sumPending(crc, line, t.Kind), nil
}

// sumPending adds a recipient's line with its slot read as pending.
func sumPending(crc uint32, line []byte, k Kind) uint32 {
	n := slotAt(k)
	crc = sum(crc, line[:n])
	crc = sum(crc, []byte{byte(Pending)})
	return sum(crc, line[n+1:])
}

// tail finds the whole expansion blocks behind the data. Everything else
// there is a note, or was torn by a crash or a full disk, and is passed over.
func (c *contents) tail(l *lines) error {
	var open *opening
	for {
		at := l.at
		line, err := l.next()
		switch {
		case errors.Is(err, io.EOF):
			c.drop(open)
			return nil
		case errors.Is(err, errLong):
			open = c.drop(open)
			if err := l.skip(); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		case err != nil:
			return err
		default:
			if open, err = c.step(open, line, at); err != nil {
				return err
			}
		}
	}
}

// grow makes the last block count, which is its parent's first: nothing else
// changes.
func (c *contents) grow() {
	b := &c.blocks[len(c.blocks)-1]
	b.live = c.counts(b.parent)
}

// settle finds out which blocks count: the last of each parent, if the parent
// is of a block that counts and says that it is expanded.
func (c *contents) settle() error {
	last := make(map[int]int) // parent → index of its last block
	for i, b := range c.blocks[1:] {
		last[b.parent] = i + 1
	}
	for i := range c.blocks {
		b := &c.blocks[i]
		if i > 0 {
			p := c.rcpts[b.parent]
			b.live = last[b.parent] == i && c.blocks[p.block].live && p.State == Expanded
		}
		if !b.live {
			continue
		}
		for j := b.first; j < b.first+b.n; j++ {
			if _, ok := last[j]; !ok && c.rcpts[j].State == Expanded {
				return damage("recipient %v is expanded, but its expansion is missing", c.key(j))
			}
		}
	}
	return nil
}

// key is the place of rcpts[i].
func (c *contents) key(i int) Key {
	if i < 0 {
		return NoKey
	}
	b := c.blocks[c.rcpts[i].block]
	return Key{b.number, i - b.first}
}

// find is the index in rcpts of the recipient at k, or -1.
func (c *contents) find(k Key) int {
	i, ok := slices.BinarySearchFunc(c.blocks, k.Block, func(b block, n int) int { return b.number - n })
	if !ok || k.Index < 0 || k.Index >= c.blocks[i].n {
		return -1
	}
	return c.blocks[i].first + k.Index
}

// reversePath is where failures of the recipients of blocks[i] are reported.
func (c *contents) reversePath(i int) smtp.Path {
	for ; i > 0; i = c.rcpts[c.blocks[i].parent].block {
		if p := c.blocks[i].reverse; p != nil {
			return *p
		}
	}
	return c.env.ReversePath
}

// counts reports whether rcpts[i] is of a block that counts.
func (c *contents) counts(i int) bool {
	return i >= 0 && i < len(c.rcpts) && c.blocks[c.rcpts[i].block].live
}

// pending reports whether anybody is left to be worked on.
func (c *contents) pending() bool {
	for i, s := range c.rcpts {
		if s.State == Pending && c.counts(i) {
			return true
		}
	}
	return false
}

// tailAt is the offset behind the data.
func (c *contents) tailAt() int64 { return c.data + c.first.data }

// recipient is rcpts[i] as the caller sees it.
func (c *contents) recipient(i int) Recipient {
	s := &c.rcpts[i]
	b := &c.blocks[s.block]
	return Recipient{
		Target: s.Target, Key: c.key(i),
		Parent: c.key(b.parent), Via: b.via, ReversePath: c.reversePath(s.block),
	}
}

// envelope is the envelope with its recipients.
func (c *contents) envelope() Envelope {
	env := c.env
	env.Recipients = make([]smtp.Recipient, c.blocks[0].n)
	for i := range env.Recipients {
		env.Recipients[i] = smtp.Recipient{Path: c.rcpts[i].Path, Params: c.rcpts[i].Params}
	}
	return env
}
