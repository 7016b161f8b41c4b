package sasl

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

// TestEndPoint: the hash of a certificate is that of its signature, SHA-256 for MD5 and
// SHA-1, and none where the signature has no hash (RFC 5929 section 4.1). The certificates
// and their hashes are OpenSSL's.
func TestEndPoint(t *testing.T) {
	for name, want := range map[string]string{
		"sha1":   "761317cf662325484b346ea8ec897bf0499ae358ed11934675aad4cc857dfc6a",
		"sha256": "76bb93f9d0b5c0ea4fcd6991de0864979fe175644bdb5f73a8525d36d4b51cb8",
		"sha384": "09f46b6b93206f2a3578885d4f1bdf817d370112658b7cd8b80e76922bb070ab36c629ec2e0637f4d9dddff22fac448e",
		"md5":    "3344f506e9a4589c40655c2f553f644e9948ebbc99d4f1748e3e85fd647bdf05",
		"sha512": "296d86c1fb413c62817c073da76c86f12f8a8bb545b08fa6a3b27ecd5994824c8448c3555a6644caeabd25b05e4d00a21cfd951a26e0ef179e394dcbda64c2a4",
		"pss":    "f0c6fe84f44119eb35bb0ff5a6e8ff9dfc8d19b03f035fa8fa3be30a1197c6dff6cd4b3f33143a6a24b605bca2545485",
		"ed":     "",
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "endpoint", name+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		b := BindingsOf(tls.ConnectionState{Version: tls.VersionTLS12}, cert).Best()
		if got := hex.EncodeToString(b.Data); got != want || want != "" && b.Name != endPoint {
			t.Errorf("%s: %s %s, want %s", name, b.Name, got, want)
		}
	}
	b := BindingsOf(tls.ConnectionState{Version: tls.VersionTLS12, TLSUnique: []byte("finished")}, nil)
	if len(b) != 1 || b[0].Name != unique {
		t.Errorf("a session whose certificate isn't known: %+v", b)
	}
	if b := BindingsOf(tls.ConnectionState{Version: tls.VersionTLS12}, nil); b != nil || b.Best().Name != "" {
		t.Errorf("one without anything: %+v", b)
	}
}
