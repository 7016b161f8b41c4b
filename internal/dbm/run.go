package dbm

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"postoffice/internal/disk"
)

// run is a file of sorted records, each as two lengths (varints), key and
// value. It has no name any more, so that nothing is left of it after a crash.
type run struct{ file disk.File }

// runBuffer is what writing or reading one run holds in memory, in octets.
const runBuffer = 64 << 10

type runWriter struct {
	out *bufio.Writer
	buf []byte
}

// writeRun fills f with what fill writes.
func writeRun(f disk.File, fill func(*runWriter) error) (*run, error) {
	w := &runWriter{out: bufio.NewWriterSize(f, runBuffer)}
	if err := fill(w); err != nil {
		return nil, err
	}
	if err := w.out.Flush(); err != nil {
		return nil, err
	}
	return &run{f}, nil
}

func (w *runWriter) write(r Record) error {
	w.buf = binary.AppendUvarint(w.buf[:0], uint64(len(r.Key)))
	w.buf = binary.AppendUvarint(w.buf, uint64(len(r.Value)))
	w.buf = append(w.buf, r.Key...)
	if _, err := w.out.Write(w.buf); err != nil {
		return err
	}
	_, err := w.out.Write(r.Value)
	return err
}

// reader returns a function that returns the records one after the other.
func (r *run) reader() func() (Record, bool, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(r.file, 0, math.MaxInt64), runBuffer)
	var buf []byte
	return func() (Record, bool, error) {
		key, err := binary.ReadUvarint(in)
		if err == io.EOF {
			return Record{}, false, nil
		}
		value, err2 := binary.ReadUvarint(in)
		if err != nil || err2 != nil || key > MaxKey || value > MaxValue {
			return Record{}, false, fmt.Errorf("a temporary file is damaged")
		}
		size := int(key + value)
		if cap(buf) < size {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if _, err := io.ReadFull(in, buf); err != nil {
			return Record{}, false, fmt.Errorf("read a temporary file: %w", err)
		}
		return Record{buf[:key:key], buf[key:]}, true, nil
	}
}
