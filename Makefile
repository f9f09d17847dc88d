# Every target does its own set-up, says in one line what it does, and stops with a sentence when something cannot be had.
#
#   make demo [KEEP=1]   two regions, a real push, one call, the image is there
#   make check           format, clippy and unit tests of what changed since the branch left main
#   make test            every suite; CI=true makes a skipped suite a failure
#   make soak            the long form of the random and fault suites; prints seeds, and how to run a failure again
#   make fuzz            each fuzz target for SECONDS (600) with new seeds; what it finds stays in target/fuzz
#   make bench           one region beside distribution and nginx, replication beside skopeo; prints tables (half an hour)
#   make lint            format, clippy, cargo doc, dependencies, spelling, shell scripts
#   make fmt             format the Rust code

.DEFAULT_GOAL := help
.PHONY: help demo check test soak fuzz bench lint fmt

help:
	@sed -n 's/^#   //p' Makefile

demo:
	@KEEP="$(KEEP)" scripts/demo.sh

check:
	@scripts/check.sh

test:
	@scripts/test.sh

soak:
	@scripts/soak.sh

fuzz:
	@scripts/fuzz.sh long $(SECONDS)

bench:
	@scripts/bench.sh

lint:
	@scripts/lint.sh

fmt:
	@cargo fmt --all
