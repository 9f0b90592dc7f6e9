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

# Needs ../shared/freebsd-vm, or another go_freebsd_amd64_exec on PATH.
freebsd:
	GOOS=freebsd CGO_ENABLED=0 go test -p 1 $(PACKAGES)

ci:
	bash .ci/run

.PHONY: all test race lint bench freebsd ci
