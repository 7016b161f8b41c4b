# A filter that does what the sender's name says: insert0.plain@client.test.
import sys
import Milter


@Milter.header_leading_space
@Milter.rejected_recipients
class Beside(Milter.Base):
    def envfrom(self, path, *params):
        self.act, self.key = path.strip("<>").split("@")[0].split(".")
        return Milter.CONTINUE

    def header(self, name, value):
        return Milter.CONTINUE

    def hello(self, name):
        return Milter.CONTINUE

    def envrcpt(self, path, *params):
        return Milter.CONTINUE

    def data(self):
        return Milter.CONTINUE

    def eoh(self):
        return Milter.CONTINUE

    def body(self, chunk):
        return Milter.CONTINUE

    def unknown(self, line):
        return Milter.CONTINUE

    def eom(self):
        getattr(self, "do_" + self.act)()
        return self.verdicts.get(self.act, Milter.CONTINUE)

    verdicts = {"reject": Milter.REJECT, "tempfail": Milter.TEMPFAIL, "discard": Milter.DISCARD, "reply": Milter.REJECT, "accept": Milter.ACCEPT}

    def do_none(self): pass
    do_reject = do_tempfail = do_discard = do_accept = do_none

    def do_reply(self): self.setreply("554", "5.7.9", "go away")
    def do_insert0(self): self.addheader("X-In", " zero", 0)
    def do_insert1(self): self.addheader("X-In", " one", 1)
    def do_insert2(self): self.addheader("X-In", " two", 2)
    def do_insert99(self): self.addheader("X-In", " last", 99)

    def do_inserts(self):
        for n in range(4):
            self.addheader("X-In%d" % n, " here", n)

    def do_add(self): self.addheader("X-Added", " one\n\ttwo")
    def do_bare(self): self.addheader("X-Bare", "no blank in front")
    def do_change(self): self.chgheader("Subject", 1, " changed")
    def do_second(self): self.chgheader("X-Twice", 2, " changed\n folded")
    def do_missing(self): self.chgheader("X-Missing", 1, " made")
    def do_beyond(self): self.chgheader("X-Twice", 9, " made")
    def do_delete(self): self.chgheader("x-twice", 1, "")
    def do_received(self): self.chgheader("Received", 1, "")
    # What people have reported of servers: deleting in order of place, the first field of
    # all, an empty value, a fold by CR LF, and addresses written in other ways.
    def do_forward(self):
        for n in range(1, 4):
            self.chgheader("X-Twice", n, "")

    def do_first(self):
        self.chgheader("From", 1, " other@client.test")
        self.chgheader("Received", 1, " by a filter")

    def do_empty(self):
        self.addheader("X-Nothing", "")
        self.addheader("X-Front", "", 1)

    def do_crlf(self): self.addheader("X-Folded-In", " a;\r\n\tb;\r\n c")

    def do_written(self):
        self.addrcpt("written.%s.bare@far.test" % self.key)
        self.addrcpt("<written.%s.0@far.test>" % self.key)
        self.delrcpt("written.%s.1@FAR.test" % self.key)
        self.delrcpt("<nobody@far.test>")

    def do_body(self): self.replacebody("a new\r\nbody\r\n.\r\n\xc3\xbc and no last line end")
    def do_nobody(self): self.replacebody("")

    def do_rcpts(self):
        self.addrcpt("<rcpts.%s.added@far.test>" % self.key)
        self.delrcpt("<rcpts.%s.1@far.test>" % self.key)

    def do_sender(self): self.chgfrom("<other@client.test>")
    def do_hold(self): self.quarantine("looked odd")

    def do_many(self):
        self.addheader("X-Added", " one")
        self.addheader("X-First", " first", 0)
        self.chgheader("Subject", 1, " changed")
        self.chgheader("X-Twice", 1, "")
        self.chgheader("X-Added", 1, " two")
        self.do_body()


Milter.factory = Beside
Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.DELRCPT | Milter.CHGFROM | Milter.QUARANTINE)
Milter.runmilter("beside", "unix:" + sys.argv[1], 60)
