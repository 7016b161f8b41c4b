# postoffice. `make help` lists the targets.

SHELL   = /bin/sh
GO      = go
OUT     = postoffice
VERSION = $(shell cat VERSION)
COMMIT  = $(shell git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null)
LDFLAGS = -s -w -X postoffice/applets.release=$(VERSION) -X postoffice/applets.commit=$(COMMIT)

# Where `make install` puts things; DESTDIR comes in front of all.
PREFIX  = /usr/local
SBINDIR = $(PREFIX)/sbin
BINDIR  = $(PREFIX)/bin
MANDIR  = $(PREFIX)/share/man

# The lite build's packages go without inlining, which makes it 7 % smaller. Ours
# keep it, with errors.New in them: that keeps their variables free of start-up.
# The older collector is another 45 kB less.
SMALL   = -gcflags=all=-l -gcflags=errors= -gcflags=postoffice/...=

# The tools that `make check` uses, by exact version.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

# What stands in for modules that Pebble imports: modules in third_party.
STANDINS = github.com/cockroachdb/errors/... github.com/prometheus/client_golang/...

FUZZTIME = 20s
IMAGES   = 300
SEEDS    = 1
KILLS    = 5000
FAULTS   = ^(TestEverySystemCall|TestPowerCut|TestKillAnyProcess|TestSpoolFull|TestSpoolQuota|TestMailboxFull|TestMailboxQuota|TestNoRoomForBounce)

# The suites of power cuts run in full once, in the first half of `make test`:
# the race detector has nothing to find in them, and make quick is to be quick.
CRASH = TestMutants|TestReproducible|TestCrash.*|TestErrorAtEveryCall.*
FEWER = POSTOFFICE_CRASH_IMAGES=1

.PHONY: all lite pebble-check deps test quick race check vuln fuzz torture faults mutants bench demo cover man install uninstall clean help

all: ## build ./postoffice: static, stripped, the same from any directory
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags='$(LDFLAGS)' -o $(OUT) .

lite: ## build ./postoffice without databases, for small devices: it reads alias files as text
	GOEXPERIMENT=nogreenteagc CGO_ENABLED=0 $(GO) build -tags lite $(SMALL) -trimpath -buildvcs=false -ldflags='$(LDFLAGS)' -o $(OUT) .

deps: ## install the Debian packages that the tests use (as root)
	@sh testdata/tools/deps.sh

test: deps ## run every test, as shipped and with the race detector; needs root
	@sh testdata/tools/root.sh
	CGO_ENABLED=0 $(GO) test -tags e2e -timeout 25m ./... $(STANDINS)
	CGO_ENABLED=0 $(GO) test -tags lite ./internal/dbm
	$(FEWER) CGO_ENABLED=1 $(GO) test -race -timeout 20m -skip '^($(CRASH))$$' ./...

quick: ## run the tests beside the code, without root, in half a minute
	CGO_ENABLED=0 $(GO) test -short -skip '^($(CRASH)|TestInterleav.*)$$' ./... $(STANDINS)

race: ## run the tests beside the code with the race detector
	$(FEWER) CGO_ENABLED=1 $(GO) test -race -skip '^($(CRASH))$$' ./...

check: deps ## gofmt, vet, staticcheck, import table, banned calls, manual pages, advisories
	@sh testdata/tools/format.sh
	$(GO) vet ./...
	$(GO) vet -tags e2e,bench ./...
	$(GO) vet -tags lite . ./applets ./internal/dbm
	GOOS=freebsd CGO_ENABLED=0 $(GO) build -o /dev/null .
	$(GO) run $(STATICCHECK) -tags e2e,bench ./...
	$(GO) test -count=1 -run '^(TestLayers|TestArchitecturePage|TestBanned|TestNothingLeftForLater)$$' .
	$(GO) test -count=1 -run '^TestManualPage$$' ./internal/config
	mandoc -T lint -W warning docs/man/*.[1-9]
	@sh testdata/tools/vuln.sh

vuln: ## look for known advisories in what is linked, outside the standard library
	@sh testdata/tools/vuln.sh

fuzz: ## run every fuzz target for FUZZTIME (20s)
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' sh testdata/tools/fuzz.sh

torture: ## many more power cuts than make test, other ones each time; SEEDS=100 for hours
	@first=$$(date +%s); for n in $$(seq $(SEEDS)); do \
		CGO_ENABLED=0 POSTOFFICE_CRASH_IMAGES=$(IMAGES) POSTOFFICE_CRASH_SEED=$$((first + n)) \
			$(GO) test -count=1 -timeout 120m -run 'Crash|Step|Error|Interleav|Kill' ./spool ./deliver/... || exit 1; \
	done

faults: deps ## a fault in every system call, KILLS kills in each mode, 300 power cuts, full disks; needs root
	@sh testdata/tools/root.sh
	CGO_ENABLED=0 $(GO) test -tags e2e -count=1 -timeout 240m -v -run '$(FAULTS)' ./internal/e2e -faults=long -kills=$(KILLS)

mutants: ## leave out each sync, lock and second look in turn: a test must fail
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 60m -v -run '^TestMutants$$' ./spool ./deliver/... ./internal/dbm ./internal/disk/crashfs

bench: deps ## compare with Postfix on this machine; BENCH=ab picks lines; needs root
	CGO_ENABLED=0 $(GO) test -tags e2e,bench -count=1 -timeout 60m -run '^TestBench' -v ./internal/e2e

pebble-check: ## run Pebble's own tests with and without third_party, and compare (half an hour)
	@GO='$(GO)' sh testdata/tools/pebble-check.sh

demo: all ## show a message through two private servers, as an ordinary user
	@bash testdata/demo.sh ./$(OUT)

cover: ## print how much of each package the tests run
	CGO_ENABLED=0 $(GO) test -skip '^TestMutants$$' -coverpkg=./... -coverprofile=cover.out ./... >/dev/null
	@$(GO) tool cover -func=cover.out | awk 'END { print }'

man: ## renew the option list of postoffice.cf(5) from the code
	@sh testdata/tools/man.sh

install: all ## install the binary, its other names and the manual pages below PREFIX
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR)
	install -m 755 $(OUT) $(DESTDIR)$(SBINDIR)/postoffice
	for name in sendmail runq smtpd newaliases; do ln -sf postoffice $(DESTDIR)$(SBINDIR)/$$name; done
	ln -sf $(SBINDIR)/postoffice $(DESTDIR)$(BINDIR)/mailq
	for page in docs/man/*.[1-9]; do \
		dir=$(DESTDIR)$(MANDIR)/man$${page##*.}; \
		install -d $$dir && install -m 644 $$page $$dir || exit 1; \
	done

uninstall: ## remove what install put there
	for name in postoffice sendmail runq smtpd newaliases; do rm -f $(DESTDIR)$(SBINDIR)/$$name; done
	rm -f $(DESTDIR)$(BINDIR)/mailq
	for page in docs/man/*.[1-9]; do rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; done

clean: ## remove what was built
	rm -f postoffice cover.out

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
