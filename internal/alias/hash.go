package alias

import "crypto/sha256"

// Hash names a target without its text: the SHA-256 of it as String prints it.
type Hash [sha256.Size]byte

// Hash returns t's hash.
func (t Target) Hash() Hash { return sha256.Sum256([]byte(t.String())) }
