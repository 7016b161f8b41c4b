package smtpd

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postoffice/internal/smtp"
)

// usualHeader is a header as a message has it after two hosts.
const usualHeader = "Received: from mail.client.example (mail.client.example [192.0.2.9])\n\tby mx.client.example (Mailer) with ESMTPS id 4XyZ1234567\n\tfor <alice@us.example>; Mon, 2 Jan 2006 15:04:05 -0700 (MST)\n" +
	"Received: by mail.client.example (Mailer, from userid 1000)\n\tid 4XyZ1234566; Mon, 2 Jan 2006 15:04:04 -0700 (MST)\n" +
	"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=client.example;\n\ts=mail; t=1136239445; h=From:To:Subject:Date;\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\n\tb=" + "dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\n\t" + "8F6sh7SIOFRVKHvXqMPyEQuAvVWL2KBTFbH5qVOAmYD7QHmMnYe2Sl1cRhR7vUYu\n" +
	"From: Joe Doe <joe@client.example>\nTo: Alice <alice@us.example>,\n\tBob <bob@us.example>\nCc: carol@us.example\nSubject: a benchmark of usual length\n" +
	"Date: Mon, 2 Jan 2006 15:04:05 -0700\nMessage-ID: <20060102150405.1234@client.example>\nUser-Agent: Reader/1.0\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=flowed\nContent-Transfer-Encoding: 8bit\n\n"

// BenchmarkHeader is what a message costs between the wire and the queue, for
// headers of each kind, in pieces as ReadData gives them.
func BenchmarkHeader(b *testing.B) {
	body := strings.Repeat("0123456789012345678901234567890123456789012345678901234567890123456789\n", 40)
	for _, bb := range []struct{ name, text string }{
		{"Usual", usualHeader + body},
		{"Fields1000", strings.Repeat("X-Field-Name: some value of usual length\n", 1000) + "\n" + body},
		{"Folded1000", "References:\n" + strings.Repeat(" <20060102150405.1234@client.example>\n", 1000) + "\n" + body},
		{"LongTo", "To: first@us.example" + strings.Repeat(",\n\tSomebody Else <somebody.else@us.example>", 1000) + "\n\n" + body},
		{"Body1MB", usualHeader + strings.Repeat(body, 365)},
	} {
		for _, local := range []bool{false, true} {
			name := bb.name + "/Stranger"
			if local {
				name = bb.name + "/Local"
			}
			b.Run(name, func(b *testing.B) {
				o := options(discardQueue{})
				s := &session{o: o.withDefaults(), server: New(o)}
				s.client = Client{Kind: Relay, Hello: "c", Local: local, ESMTP: true, Addr: netip.MustParseAddrPort("192.0.2.1:2")}
				s.tx = Transaction{Client: &s.client, ReversePath: smtp.Path{Local: "a", Domain: "b.example"}, Arrived: time.Unix(1136239445, 0).UTC()}
				s.incoming, _ = o.Queue.Begin(context.Background(), &s.tx)
				text := []byte(bb.text)
				b.ReportAllocs()
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					h := newHeader(s)
					for p := text; len(p) > 0; {
						n := min(len(p), 32<<10)
						if _, err := h.Write(p[:n]); err != nil {
							b.Fatal(err)
						}
						p = p[n:]
					}
					if err := h.finish(); err != nil {
						b.Fatal(err)
					}
					h.free()
					s.unclaim()
				}
			})
		}
	}
}
