# postoffice. `make help` lists the targets.

SHELL   = /bin/sh
# The first target that needs a Go looks for it, once.
GO      = $(eval GO := $(shell sh testdata/tools/go.sh find))$(GO)
OUT     = postoffice
COMMIT  = $(shell cat .commit 2>/dev/null || git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null)
# Functions begin at 16 octets, as they did in Go for years, and not at 32: 164 kB less.
LDFLAGS = -s -w -funcalign=16 -X postoffice/applets/cmdline.commit=$(COMMIT)

# Tools of ours may need a newer Go than go.mod does, and a Go from 1.21 on fetches that.
export GOTOOLCHAIN ?= auto

# Where `make install` puts things; DESTDIR comes in front of all. MAILERCONF is the file of
# a mailwrapper, where it isn't the system's usual one.
PREFIX  = /usr/local
MANDIR  = $(PREFIX)/share/man

# postoffice install does it, postoffice-install(8); the manual pages are make's.
PLACE   = $(DESTDIR)$(PREFIX)/sbin/postoffice
INSTALL = --root '$(or $(DESTDIR),/)' --prefix '$(PREFIX)'

# Pages that other mail servers install too: they are only put there, and only removed,
# where they are ours.
PAGES   = $(wildcard docs/man/*.[1-9])
SHARED  = $(foreach page,$(PAGES),$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page)))

# The lite build's packages go without inlining, which makes it 7 % smaller. Ours
# keep it, with errors.New in them: that keeps their variables free of start-up;
# PLAIN are those that have no such variables. The older collector is another
# 45 kB less, and functions that stand closer together than the processor likes
# best are 200 kB.
PLAIN   = applets applets/install applets/install/plan deliver/outcome deliver/report deliver/route deliver/schedule internal/maillog
SMALL   = -gcflags=all=-l -gcflags=errors= -gcflags=postoffice/...= $(PLAIN:%=-gcflags=postoffice/%=-l)

# The same of packages where it costs nobody time: 170 kB.
FIRM    = $(foreach p,github.com/miekg/dns github.com/google/nftables/... github.com/mdlayher/... encoding/json \
	github.com/spf13/pflag github.com/cockroachdb/redact/... github.com/cockroachdb/pebble/v2/wal postoffice/applets/install/...,-gcflags=$(p)=-l)

# The tools that `make check` uses, by exact version.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

# What stands in for modules that Pebble imports: modules in internal/dbm/standin.
STANDINS = github.com/cockroachdb/errors/... github.com/prometheus/client_golang/...

# What runs under qemu as on arm64 and mips: all packages but those that need such a
# machine's kernel (programs that start themselves, netlink), and those that need minutes
# there for what has no octets to count.
KERNEL   = applets applets/passwords applets/preflight applets/privsep applets/privsep/auth applets/privsep/shadow applets/service \
	deliver/local/user internal/peer internal/testenv internal/testenv/% internal/e2e/%
MINUTES  = applets/control applets/filters applets/server applets/smtpd applets/smtpd/greykeeper deliver internal/house
EMULATED = $(filter-out postoffice $(addprefix postoffice/,$(KERNEL) $(MINUTES)),$(shell $(GO) list ./...))

# Tests of the others that start themselves as well, or ask for words of errors, of which
# qemu gives programs of mips this machine's numbers.
SELVES   = ^Test(Kill|Locked|Full|FullDisk|Process|StaleLocksA46|LockLeftBehindA46|ErrorsAreWords|NobodyThere|InWordsOfTheSystem)$$
SLOW     = ^TestCrash|^TestInterleav|^TestReproducible

QEMU     = -trimpath -ldflags='-s -w' -short -timeout 20m -skip '$(SLOW)|$(SELVES)'

# What the program is to run on: decisions/0036. For TURNS it is built by turns, two for a
# commit; TestBSDPage builds for FreeBSD.
PLATFORMS = linux/amd64 linux/arm64 linux/mips freebsd/amd64 $(TURNS)
TURNS     = linux/arm linux/386 linux/riscv64 linux/mipsle linux/ppc64le linux/s390x \
	netbsd/amd64 openbsd/amd64 dragonfly/amd64 darwin/amd64 darwin/arm64

IMAGE    = postoffice.oci
FUZZTIME = 20s
IMAGES   = 300
SEEDS    = 1
KILLS    = 5000
FAULTS   = .

# The suites of power cuts, errors and mutants, which internal/house holds to their
# prefix, run in full once, in the first half of `make test`: the race detector has
# nothing to find in them, and make quick is to be quick.
CRASH = ^TestCrash|^TestReproducible$$
FEWER = POSTOFFICE_CRASH_IMAGES=1

# Tests that become other users, or set options that are root's, ask for root
# (testenv.NeedsRoot): an ordinary user runs the others.
ORDINARY = $(filter-out 0,$(shell id -u))

# The tests of the house read files, and there is no race in them either.
RACED = $$($(GO) list ./... | grep -v /internal/house$$)

# A line that has $(MAKE) in it runs even for make -n.
AGAIN    = $(MAKE) --no-print-directory

.PHONY: all lite go pebble-check deps test aside quick race check platforms vuln fuzz torture faults mutants bench demo cover man package image install uninstall dist clean help

all: go ## build ./postoffice: static, stripped, the same from any directory
	CGO_ENABLED=0 $(GO) build $(FIRM) -trimpath -buildvcs=false -ldflags='$(LDFLAGS)' -o $(OUT) .

lite: go ## build ./postoffice without databases, for small devices: it reads alias files as text
	GOEXPERIMENT=nogreenteagc CGO_ENABLED=0 $(GO) build -tags lite $(SMALL) -trimpath -buildvcs=false -ldflags='$(LDFLAGS) -funcalign=1' -o $(OUT) .

go: # the Go that go.mod names is there, or is fetched, or a sentence says what is missing
	@GO='$(GO)' sh testdata/tools/go.sh

deps: go ## install the Debian packages that the tests use (as root)
	@sh testdata/tools/deps.sh

# Each part runs, whatever became of those before it. A fifth of the time the first one
# waits for clocks: the builds for other platforms, which nobody waits for, run then. Its
# longest packages come first, so that none is left to run alone.
test: deps go ## run every test, as shipped and with the race detector; needs root
	@sh testdata/tools/root.sh
	@failed=; part() { echo "$$*"; env "$$@" || failed="$$failed$$*\n"; }; \
	aside=$$(mktemp); chrt --idle 0 $(AGAIN) aside >"$$aside" 2>&1 & built=$$!; \
	trap 'kill $$built; rm -f "$$aside"; exit 130' INT TERM; \
	part CGO_ENABLED=0 $(GO) test -tags e2e -timeout 25m ./internal/e2e/programs ./internal/e2e/faults ./... $(STANDINS); \
	part CGO_ENABLED=0 $(GO) test -tags lite ./internal/dbm ./internal/idn; \
	part CGO_ENABLED=0 $(GO) test -tags peerflag -run '^TestPeerFlag$$' ./applets; \
	part $(FEWER) CGO_ENABLED=1 $(GO) test -race -timeout 20m -skip '$(CRASH)' $(RACED); \
	wait $$built || failed="$${failed}make aside\n"; cat "$$aside"; rm "$$aside"; \
	part CGO_ENABLED=0 GOARCH=arm64 $(GO) test $(QEMU) -exec qemu-aarch64-static $(EMULATED); \
	part CGO_ENABLED=0 GOARCH=mips $(GO) test $(QEMU) -exec qemu-mips-static $(EMULATED); \
	[ -z "$$failed" ] || { printf 'failed:\n%b' "$$failed" >&2; exit 1; }

# What the tests under qemu need is built, but not joined: those are built again in time.
aside: go
	for arch in arm64 mips; do GOARCH=$$arch CGO_ENABLED=0 $(GO) list -trimpath -test -export -deps $(EMULATED) >/dev/null || exit 1; done
	$(AGAIN) platforms PLATFORMS="linux/arm64 linux/mips $$(sh testdata/tools/turn.sh $(TURNS))"

quick: go ## run the tests beside the code in half a minute; as an ordinary user those that need no root
	@rooted=; $(if $(ORDINARY),rooted=$$($(GO) run testdata/tools/rooted.go) || exit 1; \
		echo "tests that need root are left out: $$(echo "$$rooted" | tr '|' '\n' | wc -l)"; rooted="|$$rooted";) \
	CGO_ENABLED=0 $(GO) test -short -skip '$(CRASH)|^TestInterleav'"$$rooted" ./... $(STANDINS)

race: go ## run the tests beside the code with the race detector
	$(FEWER) CGO_ENABLED=1 $(GO) test -race -skip '$(CRASH)' $(RACED)

check: deps go ## gofmt, go.mod, vet, staticcheck, import table, banned calls, manual pages, advisories
	@GO='$(GO)' sh testdata/tools/format.sh
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags e2e,bench ./...
	$(GO) vet -tags peerflag ./applets/...
	$(GO) vet -tags lite . ./applets ./applets/larger ./internal/dbm ./internal/dbm/store ./internal/idn
	$(GO) run testdata/tools/platforms.go $(PLATFORMS)
	$(GO) run testdata/tools/platforms.go -tags lite linux/mips linux/arm
	$(GO) run $(STATICCHECK) -tags e2e,bench ./...
	$(GO) test -count=1 -run '^(TestLayers|TestImportsRunDown|TestArchitecturePage|TestBanned|TestNothingLeftForLater|TestRules|TestPrefixes|TestLoggingPage|TestFileLists|TestSizes|TestLimitsPage|TestRepliesPage|TestSecurityPage)$$' ./internal/house
	$(GO) test -count=1 -run '^TestManualPage$$' ./applets/config
	mandoc -T lint -W warning docs/man/*.[1-9]
	@GO='$(GO)' sh testdata/tools/vuln.sh

platforms: go ## build it for every platform that it is to run on (a minute for each)
	@for platform in $(PLATFORMS); do \
		echo $$platform; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o /dev/null . || exit 1; \
	done

vuln: go ## look for known advisories in what is linked, outside the standard library
	@GO='$(GO)' sh testdata/tools/vuln.sh

fuzz: go ## run every fuzz target for FUZZTIME (20s)
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' sh testdata/tools/fuzz.sh

torture: go ## many more power cuts than make test, other ones each time; SEEDS=100 for hours
	@first=$$(date +%s); for n in $$(seq $(SEEDS)); do \
		CGO_ENABLED=0 POSTOFFICE_CRASH_IMAGES=$(IMAGES) POSTOFFICE_CRASH_SEED=$$((first + n)) \
			$(GO) test -count=1 -timeout 120m -run '^Test(Crash|Interleav)' ./... || exit 1; \
	done

faults: deps go ## a fault in every system call, KILLS kills in each mode, 300 power cuts, full disks; FAULTS=PowerCut picks; needs root
	@sh testdata/tools/root.sh
	CGO_ENABLED=0 $(GO) test -tags e2e -count=1 -timeout 240m -v -run '$(FAULTS)' ./internal/e2e/faults -faults=long -kills=$(KILLS)

mutants: go ## leave out each sync, lock and second look in turn: a test must fail
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 60m -v -run '^TestCrashMutants$$' ./...

bench: deps go ## compare with Postfix on this machine; BENCH=ab picks lines; needs root
	CGO_ENABLED=0 $(GO) test -tags e2e,bench -count=1 -timeout 60m -run '^TestBench' -v ./internal/e2e/bench

pebble-check: go ## run Pebble's own tests with and without standin, and compare (half an hour)
	@GO='$(GO)' sh testdata/tools/pebble-check.sh

demo: all ## show a message through two private servers, as an ordinary user
	@bash testdata/demo.sh ./$(OUT)

cover: go ## print how much of each package the tests run
	CGO_ENABLED=0 $(GO) test -skip '^TestCrashMutants$$' -coverpkg=./... -coverprofile=cover.out ./... >/dev/null
	@$(GO) tool cover -func=cover.out | awk 'END { print }'

man: go ## renew what is made from the code: the lists of options in the manual, docs/limits.md, docs/replies.md, completions of shells
	@GO='$(GO)' sh testdata/tools/man.sh
	$(GO) test -count=1 -run '^(TestLimitsPage|TestRepliesPage)$$' ./internal/house -update
	$(GO) test -count=1 -run '^TestCompletions$$' ./applets -update-completions

package: go ## make deb, rpm and apk in dist/, the same octets from the same tree; GOARCH chooses the machine
	@GO='$(GO)' packaging/package.sh dist

# Root installs what somebody else has built.
$(OUT):
	@echo 'there is no ./$(OUT) yet: run make first, which needs no root' >&2; exit 1

image: all ## write postoffice.oci, an image for containers, without docker: docs/containers.md
	$(GO) run testdata/tools/image.go -arch $$($(GO) env GOARCH) -version "$(COMMIT)" $(OUT) $(IMAGE)

install: $(OUT) ## install what make built in sendmail's place, with its manual pages, below PREFIX
	@sh testdata/tools/ours.sh check $(SHARED)
	@install -d '$(or $(DESTDIR),/)'
	$(abspath $(OUT)) install $(INSTALL) $(if $(MAILERCONF),--mailer-conf '$(MAILERCONF)')
	@for page in $(PAGES); do \
		dir=$(DESTDIR)$(MANDIR)/man$${page##*.}; \
		install -d $$dir && install -m 644 $$page $$dir || exit 1; \
	done

uninstall: ## take back what install did
	@[ -x $(PLACE) ] || { echo 'nothing is installed below $(DESTDIR)$(PREFIX): there is no $(PLACE)' >&2; exit 1; }
	@sh testdata/tools/ours.sh remove $(SHARED)
	$(PLACE) uninstall $(INSTALL)

dist: go ## write postoffice-VERSION.tar.gz: the source of HEAD, which builds without a network
	@GO='$(GO)' sh testdata/tools/dist.sh .

clean: ## remove what was built
	rm -f postoffice postoffice.oci cover.out
	rm -rf dist

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
