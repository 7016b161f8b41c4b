# A filter on python3-milter, which is libmilter, for debian_test.go: the client's name
# says what it answers where, "ANSWER.at.STEP". Its argument is its socket.
import sys

import Milter

ANSWERS = {
    "continue": Milter.CONTINUE,
    "accept": Milter.ACCEPT,
    "reject": Milter.REJECT,
    "tempfail": Milter.TEMPFAIL,
    "reply": Milter.TEMPFAIL,
    "discard": Milter.DISCARD,
    "skip": Milter.SKIP,
    "edits": Milter.ACCEPT,
}


class Filter(Milter.Base):
    answer, at = "continue", ""

    def told(self, step):
        if step != self.at:
            return Milter.CONTINUE
        if self.answer == "reply":
            self.setreply("471", "4.7.8", "a 100%% %%s", "last")
        return ANSWERS[self.answer]

    def connect(self, name, family, address):
        self.answer, self.at = name.split(".at.")
        return self.told("connect")

    def hello(self, name):
        return self.told("helo")

    def envfrom(self, path, *params):
        return self.told("mail")

    def envrcpt(self, path, *params):
        return self.told("rcpt")

    def data(self):
        return self.told("data")

    def header(self, name, value):
        return self.told("header")

    def eoh(self):
        return self.told("end-of-header")

    def body(self, chunk):
        return self.told("body")

    def unknown(self, command):
        return self.told("unknown-command")

    def eom(self):
        if self.answer == "edits":
            self.addheader("X-Add", "one\n two " + self.getsymval("i"))
            self.addheader("X-Insert", "three", 3)
            self.chgheader("Subject", 2, "four")
            self.chgheader("Subject", 1, "")
            self.progress()
            self.addrcpt("<c@us.example>")
            self.addrcpt("<d@us.example>", "NOTIFY=NEVER")
            self.delrcpt("<b@us.example>")
            self.chgfrom("<e@us.example>", "RET=HDRS")
            self.replacebody(b"a line of a body\r\n" * 20000)
            self.quarantine("why")
        return self.told("end-of-message")

    def abort(self):
        return Milter.CONTINUE


Milter.factory = Filter
Milter.set_flags(Milter.CHGBODY | Milter.CHGHDRS | Milter.ADDHDRS | Milter.ADDRCPT | Milter.DELRCPT
                 | Milter.QUARANTINE | Milter.CHGFROM | Milter.ADDRCPT_PAR)
Milter.runmilter("postoffice-test", "unix:" + sys.argv[1], 600)
