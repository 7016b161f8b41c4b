package envelope

import (
	"errors"
	"io"
)

// Parse reads a message file of size octets; verify says whether also its
// header and body, which may be long. ErrDamaged is about the file's contents;
// any other error comes from r, or names a newer format.
func Parse(r io.ReaderAt, size int64, verify bool) (*File, error) {
	return new(File).parse(r, size, verify)
}

func (f *File) parse(r io.ReaderAt, size int64, verify bool) (*File, error) {
	l := newLineReader(r, 0, size)
	defer func() { l.free() }()
	if err := f.head(l); err != nil {
		return nil, err
	}
	if size < f.Tail() {
		return nil, cut(io.EOF, "data")
	}
	if size > f.Tail()+MaxTail {
		return nil, damage("%d octets behind the data, more than %d", size-f.Tail(), MaxTail)
	}
	if verify {
		if err := f.verify(l); err != nil {
			return nil, err
		}
	} else {
		l.free()
		l = newLineReader(r, f.Tail(), size)
	}
	if err := f.tail(l); err != nil {
		return nil, err
	}
	if err := f.settle(); err != nil {
		return nil, err
	}
	return f, nil
}

// verify reads the data.
func (f *File) verify(l *lineReader) error {
	crc, cr, err := l.sum(f.first.data)
	switch {
	case err != nil:
		return cut(err, "data")
	case crc != f.first.dataSum:
		return damage("data has checksum %08x, not %08x", crc, f.first.dataSum)
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
func (f *File) head(l *lineReader) error {
	line, err := l.next()
	switch {
	case errors.Is(err, io.EOF) && len(line) == 0:
		return damage("empty")
	case errors.Is(err, io.EOF) || errors.Is(err, errLong):
		return firstFault(line[:min(len(line), firstLen)])
	case err != nil:
		return err
	}
	if f.first, err = parseFirst(line); err != nil {
		return err
	}
	crc := uint32(0)
	f.data = int64(firstLen + f.first.envelope)
	f.blocks = []block{{parent: -1, live: true}}
	for field := 0; l.at < f.data; field++ {
		at := l.at
		line, err := l.next()
		if err != nil {
			return cut(err, "envelope")
		}
		if l.at > f.data {
			return damage("envelope longer than %d octets", f.first.envelope)
		}
		if crc, err = f.field(crc, line, field, at); err != nil {
			return err
		}
	}
	if crc = sum(crc, appendFirst(nil, f.first)); crc != f.first.check {
		return damage("envelope has checksum %08x, not %08x", crc, f.first.check)
	}
	return nil
}

// field reads line number n of the envelope, which starts at offset at.
func (f *File) field(crc uint32, line []byte, n int, at int64) (uint32, error) {
	text := line[:len(line)-1]
	p := scanner{s: string(text), ok: true}
	var again []byte
	switch n {
	case 0:
		p.lit("arrived ")
		f.env.Arrived = p.time(" ")
		again = appendTime([]byte("arrived "), f.env.Arrived)
	case 1:
		p.lit("client ")
		f.env.Client = p.word()
		again = appendWord([]byte("client "), f.env.Client)
	case 2:
		p.lit("session ")
		f.env.Session = p.word()
		again = appendWord([]byte("session "), f.env.Session)
	case 3:
		p.lit("folder ")
		f.env.Folder = p.word()
		again = appendWord([]byte("folder "), f.env.Folder)
	case 4:
		p.lit("from ")
		f.env.ReversePath = p.path()
		f.env.Params = p.params()
		again = AppendParams(AppendPath([]byte("from "), f.env.ReversePath), f.env.Params)
	default:
		if len(text) == 0 && n > 5 {
			if at+1 != f.data {
				return 0, damage("envelope shorter than %d octets", f.first.envelope)
			}
			return sum(crc, line), nil
		}
		if at+int64(len(line)) == f.data {
			return 0, damage("envelope without its empty line")
		}
		return f.target(crc, line, at)
	}
	if !p.ok || p.s != "" || string(again) != string(text) {
		return 0, damage("envelope line %d can't be understood: %.60q", n+1, text)
	}
	return sum(crc, line), nil
}

// target reads a recipient's line into the last block.
func (f *File) target(crc uint32, line []byte, at int64) (uint32, error) {
	b := len(f.blocks) - 1
	t, state, ok := parseTarget(line[:len(line)-1])
	if !ok || b == 0 && t.Kind != Address {
		return 0, damage("recipient's line can't be understood: %.60q", line[:len(line)-1])
	}
	if len(f.rcpts) == MaxRecipients {
		return 0, damage("more than %d recipients", MaxRecipients)
	}
	at += int64(slotAt(t.Kind))
	s := slot{at: at, block: int32(b), kind: t.Kind, State: state}
	if f.names == nil {
		s.target = &t
	}
	f.rcpts = append(f.rcpts, s)
	f.blocks[b].n++
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
func (f *File) tail(l *lineReader) error {
	var open *opening
	for {
		at := l.at
		line, err := l.next()
		switch {
		case errors.Is(err, io.EOF):
			f.drop(open)
			return nil
		case errors.Is(err, errLong):
			open = f.drop(open)
			if err := l.skip(); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		case err != nil:
			return err
		default:
			if open, err = f.step(open, line, at); err != nil {
				return err
			}
		}
	}
}
