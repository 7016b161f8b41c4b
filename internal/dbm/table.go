//go:build !lite

package dbm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"

	"postoffice/internal/disk"
)

const available = true

// stampName is the property of a table that holds a Source's stamp. Pebble
// puts one octet of its own before it.
const stampName = "postoffice.dbm"

// tableWriter writes records, which must come in order, as a table.
type tableWriter struct{ w *sstable.Writer }

func newTableWriter(f io.Writer, src Source) tableWriter {
	return tableWriter{sstable.NewWriter(&writable{bufio.NewWriterSize(f, 64<<10)}, sstable.WriterOptions{
		TableFormat:        sstable.TableFormatPebblev4, // rows: columns need loose alignment
		Compression:        block.SnappyCompression,
		BlockSize:          4096,
		DisableValueBlocks: true,
		BlockPropertyCollectors: []func() sstable.BlockPropertyCollector{
			func() sstable.BlockPropertyCollector { return stamper{stamp: src.stamp()} },
		},
	})}
}

func (t tableWriter) add(r Record) error { return t.w.Set(r.Key, r.Value) }

// finish ends the table. It must be called, also after an error of add.
func (t tableWriter) finish() error { return t.w.Close() }

// writable is a file as Pebble writes it.
type writable struct{ out *bufio.Writer }

func (w *writable) Write(p []byte) error { _, err := w.out.Write(p); return err }
func (w *writable) Finish() error        { return w.out.Flush() }
func (w *writable) Abort()               {}

// stamper is a property of the whole table and of no block.
type stamper struct {
	sstable.BlockPropertyCollector
	stamp []byte
}

func (stamper) Name() string                                  { return stampName }
func (stamper) AddPointKey(sstable.InternalKey, []byte) error { return nil }
func (stamper) FinishDataBlock(buf []byte) ([]byte, error)    { return buf, nil }
func (stamper) AddPrevDataBlockToIndexBlock()                 {}
func (stamper) FinishIndexBlock(buf []byte) ([]byte, error)   { return buf, nil }
func (s stamper) FinishTable(buf []byte) ([]byte, error)      { return append(buf, s.stamp...), nil }
func (stamper) SupportsSuffixReplacement() bool               { return false }

// tableReader reads a table. Its errors are the system's, or say what is
// wrong with the file.
type tableReader struct{ r *sstable.Reader }

func openTable(f disk.File, size int64) (t tableReader, src Source, err error) {
	defer caught(&err)
	r, err := sstable.NewReader(context.Background(), &readable{f, size}, sstable.ReaderOptions{})
	if err != nil {
		return tableReader{}, Source{}, err
	}
	stamp := r.UserProperties[stampName]
	if len(stamp) > 0 {
		stamp = stamp[1:]
	}
	if src, err = parseStamp(stamp); err != nil {
		r.Close()
		return tableReader{}, Source{}, err
	}
	return tableReader{r}, src, nil
}

func (t tableReader) close() error { return t.r.Close() }

func (t tableReader) fetch(key []byte) (value []byte, found bool, err error) {
	defer caught(&err)
	it, err := t.iterator()
	if err != nil {
		return nil, false, err
	}
	defer closed(it, &err)
	kv := it.SeekGE(key, 0)
	if kv == nil || !bytes.Equal(kv.K.UserKey, key) {
		return nil, false, it.Error()
	}
	v, _, err := kv.Value(nil)
	return bytes.Clone(v), err == nil, err
}

// all calls yield with every record until it returns false.
func (t tableReader) all(yield func(Record) bool) (err error) {
	defer caught(&err)
	it, err := t.iterator()
	if err != nil {
		return err
	}
	defer closed(it, &err)
	for kv := it.First(); kv != nil; kv = it.Next() {
		v, _, err := kv.Value(nil)
		if err != nil {
			return err
		}
		if !yield(Record{kv.K.UserKey, v}) {
			return nil
		}
	}
	return it.Error()
}

func (t tableReader) iterator() (sstable.Iterator, error) {
	return t.r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
}

// closed ends an iterator, whose Close gives the error again that it had.
func closed(it sstable.Iterator, err *error) {
	if again := it.Close(); *err == nil {
		*err = again
	}
}

// caught makes an error of a panic of Pebble's: some of its checks of what it
// reads are assertions.
func caught(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%v", r)
	}
}

// readable is a file as Pebble reads it.
type readable struct {
	f    disk.File
	size int64
}

func (r *readable) ReadAt(_ context.Context, p []byte, off int64) error {
	n, err := r.f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return errors.New("the file ends too early")
	}
	return err
}

func (r *readable) Close() error { return nil } // File closes it
func (r *readable) Size() int64  { return r.size }

func (r *readable) NewReadHandle(objstorage.ReadBeforeSize) objstorage.ReadHandle {
	h := objstorage.MakeNoopReadHandle(r)
	return &h
}
