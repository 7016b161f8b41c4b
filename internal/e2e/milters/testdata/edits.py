# A filter that makes every edit there is, and refuses what its subject says.
import sys
import Milter


class Edits(Milter.Base):
    def header(self, name, value):
        if name == "Subject" and "refuse me" in value:
            self.setreply("554", "5.7.1", "no 100%% letters like this")
            return Milter.REJECT
        return Milter.CONTINUE

    @Milter.noreply
    def body(self, chunk):
        return Milter.CONTINUE

    def eom(self):
        self.addheader("X-Added", "one\n\ttwo")
        self.addheader("X-First", self.getsymval("i") + " " + self.getsymval("j"), 0)
        self.chgheader("Subject", 1, "changed")
        self.chgheader("X-Gone", 1, "")
        self.replacebody("a new\r\nbody\r\n")
        self.addrcpt("<alice@one.test>")
        self.delrcpt("<carol@one.test>")
        self.chgfrom("<ann@one.test>")
        return Milter.CONTINUE


Milter.factory = Edits
Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.DELRCPT | Milter.CHGFROM)
Milter.runmilter("edits", "unix:" + sys.argv[1], 60)
