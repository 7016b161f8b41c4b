package remote

// A Transcript sees the lines of a conversation as they are: '>' is ours, '<'
// the peer's, message data are a dot. '+' is a connection that was opened, '-'
// one that ended or could not be had, with the reason where there is one. It
// must not wait. nil sees nothing.
type Transcript func(relay string, dir byte, line string)

func (t Transcript) lines(relay string) func(dir byte, line string) {
	if t == nil {
		return nil
	}
	return func(dir byte, line string) { t(relay, dir, line) }
}

func (t Transcript) opened(relay string) {
	if t != nil {
		t(relay, '+', "")
	}
}

func (t Transcript) closed(relay string, why error) {
	switch {
	case t == nil:
	case why == nil:
		t(relay, '-', "")
	default:
		t(relay, '-', why.Error())
	}
}
