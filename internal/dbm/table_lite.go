//go:build lite

package dbm

import (
	"io"

	"postoffice/internal/disk"
)

const available = false

// Without Pebble there is no table: Open and Create return ErrLite before
// they come here.

type tableWriter struct{}

func newTableWriter(io.Writer, Source) tableWriter { return tableWriter{} }
func (tableWriter) add(Record) error               { return ErrLite }
func (tableWriter) finish() error                  { return ErrLite }

type tableReader struct{}

func openTable(disk.File, int64) (tableReader, Source, error) {
	return tableReader{}, Source{}, ErrLite
}
func (tableReader) close() error                       { return nil }
func (tableReader) fetch([]byte) ([]byte, bool, error) { return nil, false, ErrLite }
func (tableReader) all(func(Record) bool) error        { return ErrLite }
