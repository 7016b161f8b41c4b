package envelope

import (
	"fmt"
	"strconv"
	"strings"

	"postoffice/internal/smtp"
)

// opening is an expansion block that is being read: whole only when its last
// line says so.
type opening struct {
	number  int
	parent  Key
	count   int
	via     Via
	owner   string
	reverse *smtp.Path
	crc     uint32
}

const blockStart = " \n"

// appendOpening adds a block's first line.
func appendOpening(b []byte, o *opening) []byte {
	b = strconv.AppendInt(append(b, "expansion "...), int64(o.number), 10)
	b = appendKey(append(b, " of "...), o.parent)
	b = strconv.AppendInt(append(b, " count "...), int64(o.count), 10)
	if o.via != (Via{}) {
		b = append(append(append(b, " by "...), o.via.Source...), ' ')
		b = appendWord(b, o.via.Name)
	}
	if o.owner != "" {
		b = appendWord(append(b, " owner "...), o.owner)
	}
	if o.reverse != nil {
		b = AppendPath(append(b, " from "...), *o.reverse)
	}
	return append(b, '\n')
}

// appendClosing adds a block's last line.
func appendClosing(b []byte, number int, crc uint32) []byte {
	b = strconv.AppendInt(append(b, "end "...), int64(number), 10)
	return appendCheck(append(b, ' '), crc)
}

func appendKey(b []byte, k Key) []byte {
	b = strconv.AppendInt(b, int64(k.Block), 10)
	return strconv.AppendInt(append(b, '.'), int64(k.Index), 10)
}

func (p *scanner) key() Key {
	var k Key
	k.Block = p.number(".")
	p.lit(".")
	k.Index = p.number(" ,-")
	return k
}

// valid says whether a block may say by what and whose its expansion is: an
// owner is that of a file whose name alone does not tell it.
func (o *opening) valid() bool {
	return o.via.valid() && (o.owner == "" || o.via.Source == FromList || o.via.Source == FromUsermap)
}

// valid says whether a block may have v: all of it or nothing.
func (v Via) valid() bool {
	return v == (Via{}) || v.Name != "" && (v.Source == FromList || v.Source.agents())
}

// parseOpening reads a block's first line.
func parseOpening(line []byte) (*opening, bool) {
	p := scanner{s: string(line[:len(line)-1]), ok: true}
	var o opening
	p.lit("expansion ")
	o.number = p.number(" ")
	p.lit(" of ")
	o.parent = p.key()
	p.lit(" count ")
	o.count = p.number(" ")
	if p.more(" by ") {
		o.via.Source = AgentSource(p.token(" "))
		p.lit(" ")
		o.via.Name = p.word()
	}
	if p.more(" owner ") {
		o.owner = p.word()
	}
	if p.more(" from ") {
		from := p.path()
		o.reverse = &from
	}
	ok := p.ok && p.s == "" && o.number > 0 && o.count > 0 && o.valid() && string(appendOpening(nil, &o)) == string(line)
	return &o, ok
}

// AppendBlock adds a whole block, number of all that were ever tried for this
// message, behind a blank and an LF: whatever a crash, or a sync that failed, has
// made of the octets before, the block begins a line, and a block before it that
// lacks its last LF does not become whole. The checksum starts from the message's
// own, so that no other message's block can be taken for one of this. ErrInvalid:
// it can't be written.
func (f *File) AppendBlock(b []byte, number int, parent Key, x Expansion) ([]byte, error) {
	if n := len(x.Targets); n == 0 || n > MaxRecipients-len(f.rcpts) {
		return b, fmt.Errorf("%w: expansion to %d recipients", ErrInvalid, n)
	}
	return appendBlock(b, f.first.check, number, parent, x)
}

// appendBlock is AppendBlock for the message with that checksum.
func appendBlock(b []byte, check uint32, number int, parent Key, x Expansion) ([]byte, error) {
	o := &opening{number: number, parent: parent, count: len(x.Targets), via: x.Via, owner: x.Owner, reverse: x.ReversePath}
	if !o.valid() {
		return b, fmt.Errorf("%w: expanded by %q %q of %q", ErrInvalid, x.Via.Source, x.Via.Name, x.Owner)
	}
	b = append(b, blockStart...)
	at := len(b)
	b = appendOpening(b, o)
	crc := sum(check, b[at:])
	for _, t := range x.Targets {
		if err := validTarget(t); err != nil {
			return b, err
		}
		at = len(b)
		if b = appendTarget(b, t, Pending); len(b)-at > maxLine {
			return b, errLong
		}
		crc = sumPending(crc, b[at:], t.Kind)
	}
	return appendClosing(b, number, crc), nil
}

// step reads one line of the tail, which starts at offset at. open is the
// block it may belong to.
func (f *File) step(open *opening, line []byte, at int64) (*opening, error) {
	if open != nil {
		b := &f.blocks[len(f.blocks)-1]
		if b.n < open.count {
			crc, err := f.target(open.crc, line, at)
			if err == nil {
				open.crc = crc
				return open, nil
			}
		} else if string(appendClosing(nil, open.number, open.crc)) == string(line) {
			return nil, f.close(open, b)
		}
		f.drop(open)
	}
	if !strings.HasPrefix(string(line[:min(len(line), 10)]), "expansion ") {
		return nil, nil
	}
	o, ok := parseOpening(line)
	if !ok {
		return nil, nil
	}
	o.crc = sum(f.first.check, line)
	if f.names != nil {
		o.via.Name, o.owner = f.once(o.via.Name), f.once(o.owner)
	}
	f.blocks = append(f.blocks, block{number: o.number, via: o.via, owner: o.owner, reverse: o.reverse, first: len(f.rcpts)})
	return o, nil
}

// close takes the whole block b in.
func (f *File) close(open *opening, b *block) error {
	before := f.blocks[:len(f.blocks)-1]
	if last := before[len(before)-1].number; b.number <= last {
		return damage("expansion %d behind expansion %d", b.number, last)
	}
	if b.parent = f.find(open.parent); b.parent < 0 || b.parent >= b.first {
		return damage("expansion %d is of recipient %v, which is missing", b.number, open.parent)
	}
	return nil
}

// drop takes back a block that turned out not to be whole.
func (f *File) drop(open *opening) *opening {
	if open != nil {
		last := len(f.blocks) - 1
		f.rcpts = f.rcpts[:f.blocks[last].first]
		f.blocks = f.blocks[:last]
	}
	return nil
}
