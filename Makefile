# Works with BSD make and GNU make.

PACKAGES = ./... ./cmd/aioring/... ./bench/... ./contrib/prometheus/...

all: test

test:
	go test $(PACKAGES)

race:
	go test -race $(PACKAGES)

lint:
	golangci-lint run ./...
	GOOS=freebsd golangci-lint run ./...

bench:
	cd bench && go test -run '^$$' -bench . -benchmem ./...

# What a change to the library should outlive: a minute of each, or of SOAK, with the
# race detector. CONTRIBUTING.md says what to run for an hour and for a night.
SOAK = 1m
soak:
	go build -race -o /tmp/aioring-soak ./cmd/aioring
	for kernel in sim threads auto; do \
		/tmp/aioring-soak stress --kernel $$kernel --faults all --duration $(SOAK) || exit 1; \
	done
	go test ./examples/kvlog -run 'Killed|Crash' -kills 100
	go test ./cmd/aioring -run TestCopyKilled -kills 25
	for target in FuzzProgram FuzzHostileSQEs FuzzKernelReplies FuzzChains; do \
		go test . -run '^$$' -fuzz "^$$target\$$" -fuzztime $(SOAK) || exit 1; \
	done
	go test ./aio/sim -run '^$$' -fuzz FuzzDisk -fuzztime $(SOAK)
	go test ./examples/kvlog -run '^$$' -fuzz FuzzRecovery -fuzztime $(SOAK)

# Needs ../shared/freebsd-vm, or another go_freebsd_amd64_exec on PATH.
freebsd:
	GOOS=freebsd CGO_ENABLED=0 go test -p 1 $(PACKAGES)

ci:
	bash .ci/run

.PHONY: all test race lint bench soak freebsd ci
