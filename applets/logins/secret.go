package logins

import (
	"crypto/rand"
	"errors"

	"postoffice/internal/disk"
	"postoffice/internal/statedir"
)

const (
	secretDir  = "logins"
	secretFile = "secret"
	secretSize = 32 // octets: as many as SHA-256, which is keyed with it, has
)

// Secret returns what the salts of names that there aren't are made from, the same at each
// start: who asks twice would else tell them from accounts. It is kept below dir, and made
// where there is none. The error says why it couldn't be kept; the secret is good all the
// same, for this run.
func Secret(fsys disk.FS, dir string) ([]byte, error) {
	secret := make([]byte, secretSize)
	rand.Read(secret) // never fails
	home, err := statedir.Open(fsys, dir, secretDir)
	if err != nil {
		return secret, err
	}
	defer home.Close()
	if kept, err := read(home); err == nil {
		return kept, nil
	}
	if err := statedir.Write(home, secretFile, secret); err != nil {
		return secret, err
	}
	kept, err := read(home) // somebody else's, who has made one at the same moment
	if err != nil {
		return secret, err
	}
	return kept, nil
}

func read(home disk.Dir) ([]byte, error) {
	kept, err := statedir.Read(home, secretFile, secretSize+1)
	if err == nil && len(kept) != secretSize {
		err = errors.New("the secret of logins has another size: it is made anew")
	}
	return kept, err
}
