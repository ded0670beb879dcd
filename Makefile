# The two commands of the README are "make demo" and "make test". Both work on
# a Debian 12 machine that has Go, make, git and root.

.PHONY: build demo test check unit e2e bench judge vulnerabilities clean setup

# Without git's stamp a build is the same wherever the source lies.
export GOFLAGS = -buildvcs=false

LAB = .lab/demo
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEADCODE = golang.org/x/tools/cmd/deadcode@v0.52.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@latest

# The project's files, committed or not yet, and the packages of those among
# them that a pattern is found in.
FILES := $(wildcard $(shell git ls-files --cached --others --exclude-standard --deduplicate))
ifeq ($(FILES),)
$(error git lists no files here: clone the project, as a user whom git trusts with the folder)
endif
tests = $(filter %_test.go,$(FILES))
packages = $(addprefix ./,$(sort $(dir $(shell grep -l $(1) $(tests)))))
# End-to-end tests and benchmarks go one package at a time: they share the
# machine's engine and its processors with the servers they deploy to.
in_lab = go test -tags lab -count 1 -p 1 -parallel 16 -timeout 50m

## build: the program, bin/holdfast
build:
	go build -trimpath -o bin/holdfast ./cmd/holdfast

## demo: two disposable servers on this machine, deployed to and verified
demo: setup build
	bin/holdfast lab up -C $(LAB)
	bin/holdfast deploy -C $(LAB) --yes

## test: everything
test: check e2e

## check: format, static analysis, and the tests that need no lab
check: setup
	@unformatted=$$(gofmt -l $(filter %.go,$(FILES))) && test -z "$$unformatted" || { echo "not formatted as by gofmt: $$unformatted"; exit 1; }
	go vet -tags lab ./...
	go run $(STATICCHECK) -tags lab ./...
	@dead=$$(go run $(DEADCODE) -test -tags lab ./...) && test -z "$$dead" || { echo "never called: $$dead"; exit 1; }
	shellcheck --shell sh $(filter %.sh .ci/%,$(FILES))
	$(MAKE) --no-print-directory unit

## unit: the tests that need no lab
unit: setup
	go test -timeout 10m ./...

## e2e: the tests that need a lab; they carry the build tag of that name
e2e: setup
	$(in_lab) $(call packages,'^//go:build lab$$')

## bench: times, round trips and memory against a lab
bench: setup
	$(in_lab) -run '^$$' -bench . $(call packages,'^func Benchmark')

## judge: others judge a hardened server, beside a plain one, into docs/judges.md;
## DEVSEC=FOLDER with ansible_collections/devsec/hardening measures that anew, too
judge: setup
	go run ./cmd/internal/judge -devsec '$(DEVSEC)'

## vulnerabilities: known ones in what is linked in; asks vuln.go.dev
vulnerabilities:
	go run $(GOVULNCHECK) ./...

## clean: removes the lab, its environment and what was built
clean:
	@test -x bin/holdfast || $(MAKE) --no-print-directory build
	bin/holdfast lab down
	@# Images of labs that are gone; one in use stays, and says so.
	-@docker image ls --format '{{.Repository}}:{{.Tag}}' --filter reference='holdfast.local/lab-*' | xargs -r docker image rm >/dev/null
	rm -rf bin .lab

setup:
	@.ci/setup
