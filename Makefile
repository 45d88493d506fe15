# make build    ./canalgo
# make test     everything that must pass: format, vet, staticcheck, unit tests, race detector, a little fuzzing, simulation, integration tests
# make fuzz     every fuzz target for FUZZ_TIME
# make simulate SIM_HOURS of whole clusters under faults in virtual time; no server is needed
# make demo     the story of a cluster on real servers; DEMO_KEEP=1 leaves all running
# make bench    the figures, on real servers
# make soak     the cluster's scenarios at full length, then SOAK_SCHEDULES random schedules of faults on three nodes,
#               as many in ZooKeeper mode, SOAK_KILLS kills and twice SOAK_CUTS cuts of the leader; adds to docs/reliability.jsonl
# make reliability  puts the figures of docs/reliability.jsonl into docs/reliability.md
# make clean    removes what build made; the cache of servers stays

SHELL      := bash
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The packages in which goroutines meet; the detector costs several times the test's time elsewhere.
RACE       := $(patsubst %,./%/...,$(wildcard backoff canal/server cluster lookup node peer raftfsm relay sink status binlog snapshot zkmode integration/proxy))
# Every fuzz target, as FOLDER:TARGET.
FUZZ       := $(shell grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z]*' . | sed 's|/[^/]*:func |:|')
FUZZ_TIME  ?= 5000x
SOAK_SCHEDULES ?= 100
SOAK_KILLS ?= 20
SOAK_CUTS  ?= 20
SOAK_SEED  ?= 0
SIM_HOURS  ?= 100
SIM_SEED   ?= 1

.PHONY: build test lint unit race fuzz simulate integration components demo bench soak reliability clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o canalgo .

test: lint unit race fuzz simulate integration

lint:
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; \
	if [ -n "$$unformatted" ]; then echo "gofmt wants to change:"; echo "$$unformatted"; exit 1; fi
	go vet -tags integration ./...
	go tool staticcheck -tags integration ./...

unit:
	go test ./...

race:
	go test -race $(RACE)

# One target at a time, as go test wants it. By default so many inputs and not so many seconds: at the end of its seconds go test
# sometimes fails a target that was not done with an input (FuzzEntry: "context deadline exceeded"). What is found is written to
# testdata/fuzz beside the test, and stays there.
fuzz:
	@for target in $(FUZZ); do \
		go test "$${target%:*}" -run '^$$' -fuzz "^$${target#*:}\$$" -fuzztime $(FUZZ_TIME) -fuzzminimizetime 1s || exit 1; \
	done

# Of hours in virtual time, each a few real seconds.
simulate:
	go test -count 1 -timeout 0 ./integration/sim -run '^TestRandom$$' -v -hours $(SIM_HOURS) -seed $(SIM_SEED)

# One package at a time, because each starts servers; never from the cache, which knows nothing of these.
integration: build components
	go test -tags integration -count 1 -p 1 -timeout 40m ./integration/...

# The servers that tests, demo and benchmarks run, once, into the user's cache folder.
components:
	go run ./integration/component/cmd install

demo: build components
	go run ./integration/demo

bench: build components
	go run ./integration/bench

# First the cluster's scenarios at their full length, which end by saying what they did, then random schedules, kills and cuts.
soak: build components
	go test -tags integration -count 1 -timeout 2h ./integration -soak -v \
		-run '^(TestClusterKills|TestClusterPauses|TestPausedWriteIsLate|TestLeaderCutOff|TestWriterCutOff|TestRollingRestart|TestMembersComeAndGo|TestMixedVersions|TestOneSinkDown|TestSpread|TestLarge|TestRendered|TestAnyMapping|TestCanalRows|TestBesideCanal|TestCanalTakeovers)$$'
	go run ./integration/soak -report docs/reliability.jsonl -mode zookeeper -schedules $(SOAK_SCHEDULES) -seed $(SOAK_SEED)
	go run ./integration/soak -report docs/reliability.jsonl -schedules $(SOAK_SCHEDULES) -seed $(SOAK_SEED) -kills $(SOAK_KILLS) -cuts $(SOAK_CUTS)

reliability:
	go run ./integration/soak -report docs/reliability.jsonl -render docs/reliability.md

clean:
	rm -f canalgo
