package message

import "bytes"

// Write takes the next piece of the message.
func (e *Edit) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && !e.body && e.err == nil {
		if e.mid {
			p = e.restOfLine(p)
		} else {
			p = e.startOfLine(p)
		}
	}
	if len(p) > 0 && !e.alone {
		e.put(p)
	}
	if e.err != nil {
		return 0, e.err
	}
	return n, nil
}

// Close takes the end of the message. What was written last is still in the
// buffer of the writer behind e.
func (e *Edit) Close() error {
	switch {
	case e.body:
	case len(e.line) > 0:
		e.endAt()
		e.rest(e.line)
	default:
		e.end()
	}
	return e.err
}

// rest writes what is the body's.
func (e *Edit) rest(p []byte) {
	if !e.alone {
		e.put(p)
	}
}

func (e *Edit) put(p []byte) {
	if e.err == nil {
		_, e.err = e.out.Write(p)
	}
}

// startOfLine takes from p what is needed to know the line, and returns the
// rest of p.
func (e *Edit) startOfLine(p []byte) []byte {
	held := len(e.line)
	b := p
	if held > 0 {
		e.line = append(e.line, p[:min(len(p), maxName-held)]...)
		b = e.line
	}
	kind, name := classify(b)
	switch kind {
	case unknown:
		if held == 0 {
			e.line = append(e.line, p...)
		}
		return nil // all of p is in line: otherwise line is full, and known
	case blank:
		e.end()
		return p
	case newField:
		e.begin(name)
	case folded:
		if !e.any {
			e.endAt()
			return p
		}
		e.mid = true
	case other:
		e.endAt()
		e.rest(e.line[:held])
		return p
	}
	e.text(e.line[:held])
	e.line = e.line[:0]
	return p
}

// restOfLine takes the line's rest from p, and returns the rest of p.
func (e *Edit) restOfLine(p []byte) []byte {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		e.text(p)
		return nil
	}
	e.text(p[:i+1])
	e.mid = false
	return p[i+1:]
}

// begin opens a field.
func (e *Edit) begin(name []byte) {
	e.endField()
	e.any, e.mid = true, true
	if e.wanted&bit(name) == 0 {
		return
	}
	e.open.name = len(name)
	if !e.through(0, name, "") {
		e.do = drop
		return
	}
	for i := range e.rewrites {
		if r := &e.rewrites[i]; same(r.name, name) {
			e.do, e.open.by = hold, r
			e.open.keep = max(e.open.keep, r.limit)
			return
		}
	}
}

// text takes a piece of the open field.
func (e *Edit) text(p []byte) {
	o := &e.open
	if e.do == hold {
		if len(o.text)+len(p) <= o.by.limit {
			o.text = append(o.text, p...)
			return
		}
		e.do = pass
		if o.by.strict {
			e.do = drop
			return
		}
		e.put(o.text)
		if !o.watch {
			o.text = o.text[:0]
		}
	}
	if o.watch {
		room := max(o.keep-len(o.text), 0)
		o.cut = o.cut || len(p) > room
		o.text = append(o.text, p[:min(len(p), room)]...)
	}
	if e.do == pass {
		e.put(p)
	}
}

// endField closes the open field, if there is one.
func (e *Edit) endField() {
	o := &e.open
	if e.do == pass && !o.watch {
		return
	}
	if o.watch {
		for k := range e.ops {
			if w := &e.ops[k]; w.wants {
				w.wants = false
				e.show(w, Field{Text: o.text, Cut: o.cut, name: o.name})
			}
		}
	}
	if e.do == hold && e.err == nil {
		e.err = o.by.f(e.out, o.text)
	}
	e.do = pass
	*o = opened{text: o.text[:0]}
}

// end closes the header: what follows is an empty line, a line that is none of
// a header, or nothing. What operations have to do at the header's end they do
// now.
func (e *Edit) end() {
	e.mid = e.mid && e.do != drop
	e.endField()
	e.body = true
	for k := range e.ops {
		if e.err == nil && e.ops[k].due() {
			e.make(k)
		}
	}
	if e.alone {
		if e.mid {
			e.put(newline)
		}
		e.put(newline)
	}
}

// putMade writes a field that an operation has made.
func (e *Edit) putMade(field string) {
	if e.body {
		if e.mid { // the message's last line has no end
			e.put(newline)
			e.mid = false
		}
		e.made = true
	}
	if e.err == nil {
		_, e.err = e.out.WriteString(field)
	}
}

var newline = []byte{'\n'}

// endAt closes the header in front of a line that is none of it. If that is
// the first, it must not become part of a field written before, and gets an
// empty line (A24); further down it stays as it is, but where fields were
// added.
func (e *Edit) endAt() {
	e.end()
	if !e.alone && (!e.any || e.made || e.separate) {
		e.put(newline)
	}
}
