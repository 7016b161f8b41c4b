package policy

import (
	"context"
	"log/slog"
	"strings"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/internal/watched"
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
type banner struct{ watched.File[[]string] }

// follow returns the file that options name, with what is known of it.
func (b *banner) follow(o Options) *banner {
	if b != nil && b.Path == o.Banner {
		return b
	}
	return &banner{watched.File[[]string]{Path: o.Banner, Most: maxBannerFile, Missed: missedBanner}}
}

// Banner returns the lines that follow the greeting: of the file as it is now, in
// printable ASCII.
func (p *Policy) Banner() []string {
	b := p.banner
	if b.Path == "" {
		return nil
	}
	lines, _ := b.Get(bannerLines, func(err error, advice string) {
		p.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "banner not read", maillog.File(b.Path), maillog.Err(err), maillog.Reason(advice))
	})
	return lines
}

// CheckBanner says why the file of a banner can't be read, what is missed, and what to
// do.
func CheckBanner(path string) error {
	_, err := watched.Check(path, maxBannerFile, missedBanner, false)
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
