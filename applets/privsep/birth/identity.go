package birth

import (
	"encoding/binary"
	"errors"

	"postoffice/applets/privsep/creds"
)

// identitySize is that of an identity without its groups, which a child has from
// its birth: uid, gid and bare, numbers of four octets.
const identitySize = 3 * 4

func encode(i creds.Identity) []byte {
	bare := uint32(0)
	if i.Bare {
		bare = 1
	}
	var b []byte
	for _, n := range []uint32{uint32(i.UID), uint32(i.GID), bare} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

var errIdentity = errors.New("this is not who to be")

func decode(b []byte) (creds.Identity, error) {
	if len(b) != identitySize {
		return creds.Identity{}, errIdentity
	}
	number := func(n int) uint32 { return binary.BigEndian.Uint32(b[4*n:]) }
	i := creds.Identity{UID: int(number(0)), GID: int(number(1)), Bare: number(2) == 1}
	if number(2) > 1 {
		return creds.Identity{}, errIdentity
	}
	return i, nil
}
