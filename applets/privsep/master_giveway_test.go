package privsep

import (
	"strings"
	"testing"
	"time"
)

// TestGiveWay: a server that says so is followed at once by another one, which hears that
// it came so; one that says so again within the hour, or ends with a fault, or doesn't say
// so, ends as any other.
func TestGiveWay(t *testing.T) {
	patient := func(o *MasterOptions) { o.firstPause, o.lastPause = time.Hour, time.Hour }
	end := func(k *talk, gives bool, code int) { // its connection ends with it
		if gives {
			k.want("<nil>", "frame %x", frame{op: opDone}.append(nil))
		}
		k.say("exit %d", code)
	}
	h := start(t, patient)
	k := h.dial()
	k.want("false", "again")
	end(k, true, 0)
	k = h.dial()
	k.want("true", "again")
	if strings.Contains(h.log.String(), `msg="server ended"`) {
		t.Error("a server that gave way counts as one that died")
	}
	end(k, true, 0)
	h.log.Wait(t, `msg="server ended"`, 1)
	for _, code := range []int{0, 70} {
		h := start(t, patient)
		end(h.dial(), code > 0, code)
		h.log.Wait(t, `msg="server ended"`, 1)
	}
}

// TestGiveWayHangs: a server that says that it gives way, and then hangs, is killed, and
// followed by another one.
func TestGiveWayHangs(t *testing.T) {
	h := start(t, func(o *MasterOptions) { o.Grace = userEnd })
	h.dial().want("<nil>", "frame %x", frame{op: opDone}.append(nil))
	h.log.Wait(t, "it did not end in time", 1)
	h.log.Wait(t, `msg="server ended"`, 1)
	h.dial().want("false", "again")
}
