package policy

import (
	"context"
	"log/slog"
	"strings"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	maxBannerFile = 64 << 10 // octets of the file that the greeting is continued from
	maxBanner     = 40       // lines of it that are shown
	maxBannerLine = 400      // octets of one of them
)

// missedBanner is what becomes of the greeting while nothing is known of its file.
const missedBanner = "until it can be read, the greeting goes without its lines"

// banner is the file whose lines follow the greeting. One that can't be read shows
// what it said before.
type banner struct {
	watchedFile
	lines []string
}

// follow returns the file that options name, with what is known of it.
func (b *banner) follow(o Options) *banner {
	if b != nil && b.path == o.Banner {
		return b
	}
	return &banner{watchedFile: watchedFile{path: o.Banner, most: maxBannerFile, missed: missedBanner}}
}

// Banner returns the lines that follow the greeting: of the file as it is now, in
// printable ASCII.
func (p *Policy) Banner() []string {
	b := p.banner
	if b.path == "" {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh(func(text string) { b.lines = bannerLines(text) }, func(err error) {
		p.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "banner not read", maillog.File(b.path), maillog.Err(err), maillog.Reason(b.advice(err)))
	})
	return b.lines
}

// CheckBanner says why the file of a banner can't be read, what is missed, and what to
// do.
func CheckBanner(path string) error {
	_, err := checked(path, maxBannerFile, missedBanner)
	return err
}

// bannerLines makes lines of a greeting from a text.
func bannerLines(text string) []string {
	var lines []string
	for line := range strings.Lines(strings.TrimRight(text, " \t\r\n")) {
		if len(lines) == maxBanner {
			break
		}
		line = strings.ReplaceAll(strings.TrimRight(line, " \t\r\n"), "\t", " ")
		lines = append(lines, smtp.Masked(line[:min(len(line), maxBannerLine)], '?', smtp.IsPrintable))
	}
	return lines
}
