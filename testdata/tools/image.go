//go:build ignore

// Image writes an OCI archive with postoffice's static binary, and nothing else but accounts
// and empty directories. The same binary makes the same archive, octet for octet.
//
//	go run testdata/tools/image.go -arch amd64 -version 1.2.3 BINARY ARCHIVE
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"time"
)

// passwd has the accounts: root's master, the server, the programs of aliases.
const passwd = `root:x:0:0:root:/root:/sbin/nologin
mail:x:8:8:mail:/var/mail:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
postoffice:x:900:900:postoffice:/var/spool/postoffice:/sbin/nologin
postoffice-alias:x:901:901:postoffice:/nonexistent:/sbin/nologin
`

// What is in the image, in this order. Directories are there to be mounted on.
var files = []struct {
	name  string
	mode  int64
	group int
	text  string // of a file
}{
	{name: "etc/", mode: 0o755},
	{name: "etc/passwd", mode: 0o644, text: passwd},
	{name: "run/", mode: 0o755},
	{name: "tmp/", mode: 0o1777},
	{name: "usr/", mode: 0o755},
	{name: "usr/sbin/", mode: 0o755},
	{name: "usr/sbin/postoffice", mode: 0o755},
	{name: "var/", mode: 0o755},
	{name: "var/lib/", mode: 0o755},
	{name: "var/mail/", mode: 0o2775, group: 8},
	{name: "var/spool/", mode: 0o755},
}

// command is what the image runs: a server in the foreground. Words behind the image's name
// are further options.
var command = []string{"/usr/sbin/postoffice", "smtpd", "-bD"}

// blob is content by its digest.
type blob struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`

	octets []byte
}

func newBlob(kind string, octets []byte) blob {
	return blob{"application/vnd.oci.image." + kind, fmt.Sprintf("sha256:%x", sha256.Sum256(octets)), len(octets), octets}
}

func main() {
	arch := flag.String("arch", "amd64", "GOARCH of the binary")
	version := flag.String("version", "", "of the binary")
	flag.Parse()
	binary, err := os.ReadFile(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(flag.Arg(1), image(binary, *arch, *version), 0o644); err != nil {
		log.Fatal(err)
	}
}

func image(binary []byte, arch, version string) []byte {
	layer := newBlob("layer.v1.tar", archive(func(add func(name string, mode int64, group int, text []byte)) {
		for _, f := range files {
			text := []byte(f.text)
			if f.name == "usr/sbin/postoffice" {
				text = binary
			}
			add(f.name, f.mode, f.group, text)
		}
	}))
	config := newBlob("config.v1+json", encode(map[string]any{
		"architecture": arch,
		"os":           "linux",
		"config": map[string]any{
			"Entrypoint":   command,
			"Env":          []string{"HOME=/"}, // of a uid without an account
			"ExposedPorts": map[string]any{"25/tcp": struct{}{}},
			"StopSignal":   "SIGTERM",
			"Labels":       map[string]string{"org.opencontainers.image.title": "postoffice", "org.opencontainers.image.version": version},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	}))
	manifest := newBlob("manifest.v1+json", encode(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        config,
		"layers":        []blob{layer},
	}))
	index := encode(map[string]any{
		"schemaVersion": 2,
		"manifests": []map[string]any{{
			"mediaType": manifest.MediaType, "digest": manifest.Digest, "size": manifest.Size,
			"annotations": map[string]string{"org.opencontainers.image.ref.name": "postoffice"},
		}},
	})
	return archive(func(add func(string, int64, int, []byte)) {
		add("oci-layout", 0o644, 0, []byte(`{"imageLayoutVersion":"1.0.0"}`))
		add("index.json", 0o644, 0, index)
		for _, b := range []blob{manifest, config, layer} {
			add("blobs/sha256/"+b.Digest[len("sha256:"):], 0o644, 0, b.octets)
		}
	})
}

// archive is a tar archive in which nothing depends on when and where it was made.
func archive(fill func(add func(name string, mode int64, group int, text []byte))) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	fill(func(name string, mode int64, group int, text []byte) {
		kind := byte(tar.TypeReg)
		if name[len(name)-1] == '/' {
			kind = tar.TypeDir
		}
		h := &tar.Header{Typeflag: kind, Name: name, Mode: mode, Gid: group, Size: int64(len(text)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			log.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			log.Fatal(err)
		}
	})
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	return out.Bytes()
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		log.Fatal(err)
	}
	return b
}
