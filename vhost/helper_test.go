package vhost

import (
	"strings"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

var noVersion disk.Version

// firstLine finds a name in a passwd file by going through it.
func firstLine(text, name string) (spelt string, ok bool) {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		spelt, _, _ := strings.Cut(line, ":")
		if !isComment(line) && CheckName(spelt) == nil && smtp.EqualFold(spelt, name) {
			return spelt, true
		}
	}
	return "", false
}
