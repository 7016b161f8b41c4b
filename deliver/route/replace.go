package route

import (
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// Replace says what becomes of pending recipients of one expansion now that
// its file has another text (decisions/0009). members are all that the file had.
// kept are those that it still has and gone are the others, in their order;
// added is what the text has besides the members, each once. All of added is to
// stand in the place of the first that is gone, and the rest of gone to be
// cancelled.
func Replace(pending []envelope.Recipient, members, text []envelope.Target) (kept, gone []envelope.Recipient, added []envelope.Target) {
	now, before := map[identity]bool{}, map[identity]bool{}
	for _, t := range text {
		now[identityOf(t)] = true
	}
	for _, m := range members {
		before[identityOf(m)] = true
	}
	for _, rc := range pending {
		if now[identityOf(rc.Target)] {
			kept = append(kept, rc)
		} else {
			gone = append(gone, rc)
		}
	}
	for _, t := range text {
		if p := identityOf(t); !before[p] {
			before[p] = true
			added = append(added, t)
		}
	}
	return kept, gone, added
}

// An identity is what two targets have in common that are the same one.
type identity struct {
	kind  envelope.Kind
	path  string
	agent envelope.Agent
}

func identityOf(t envelope.Target) identity {
	if t.Agent != nil {
		return identity{kind: t.Kind, agent: *t.Agent}
	}
	return identity{kind: t.Kind, path: smtp.Fold(t.Path.String())}
}
