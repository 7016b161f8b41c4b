//go:build lite

package store

// Supported says why this build keeps no records.
func Supported() error { return ErrLite }

// openEngine: without Pebble there is nothing to keep records in.
func openEngine(*life) (engine, error) { return nil, ErrLite }

// Mended is what Mend found.
type Mended struct {
	Records int
	Damaged []string
	Old     string
}

// Mend: there is nothing to mend.
func Mend(string, Options) (Mended, error) { return Mended{}, ErrLite }

// Check: there is nothing to look at.
func Check(string, Options) error { return nil }
