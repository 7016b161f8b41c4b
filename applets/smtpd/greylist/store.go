package greylist

import "context"

// A Store keeps text under keys, for several who use it at once. Each call ends when its
// context does. greytest.Run says whether something is one.
type Store interface {
	// Get returns what a key holds; there is false where it holds nothing.
	Get(ctx context.Context, key string) (value string, there bool, err error)
	// Update puts what change makes of a key's value in its place, with no other change of
	// that key between the two; keep is false where the key is to hold nothing. change may
	// be called more than once and has no effects of its own. Without an error what it said
	// last survives a crash.
	Update(ctx context.Context, key string, change func(old string, there bool) (now string, keep bool)) error
	// Scan calls each with keys and what they hold, in the order of their octets, from the
	// first one behind after on ("" is from the start) until it says no. What changes
	// meanwhile is seen or not.
	Scan(ctx context.Context, after string, each func(key, value string) bool) error
	// Delete empties those of keys of which gone says yes when asked again, with no change
	// between the two, and returns how many.
	Delete(ctx context.Context, keys []string, gone func(key, value string) bool) (int, error)
}
