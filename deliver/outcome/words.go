package outcome

import "postoffice/internal/smtp"

// Success returns a delivery with a text for people.
func Success(text string) Outcome {
	return Outcome{Action: Delivered, Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: text}}
}

// Deferral returns a temporary outcome. status is 4.x.x; err is the cause for
// the log, or nil where text says it.
func Deferral(status, text string, err error) Outcome {
	return Outcome{Action: Deferred, Reply: smtp.Reply{Code: 450, Status: status, Text: text}, Err: err}
}

// Refusal returns a permanent outcome. status is 5.x.x; err is the cause for
// the log, or nil where text says it.
func Refusal(status, text string, err error) Outcome {
	return Outcome{Action: Bounced, Reply: smtp.Reply{Code: 550, Status: status, Text: text}, Err: err}
}
