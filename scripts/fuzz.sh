#!/usr/bin/env bash
# Builds and runs the fuzz targets of fuzz/ with libFuzzer, on stable Rust.
#   scripts/fuzz.sh                    every target, a short fixed number of runs: what `make test` does
#   scripts/fuzz.sh long [SECONDS]     every target for so long (600), with new seeds; what is found stays in target/
#   scripts/fuzz.sh TARGET FILE…       one target on these inputs: how a failure is run again
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

TARGETS=(manifest route range scope challenge jwt)
# Enough to mutate every seed some hundred times; all six together take seconds.
SHORT_RUNS=20000
# The flags of cargo-fuzz without the address sanitizer, which only nightly has and which code without `unsafe` needs least. Counters for
# each edge and the operands of comparisons steer libFuzzer.
FLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"

scripts/setup.sh fuzz
host="$(rustc -vV | sed -n 's/^host: //p')"
out="$TARGET/fuzz"
# With --target the flags apply only to the fuzzed code, not to build scripts and macros.
RUSTFLAGS="$FLAGS" CARGO_TARGET_DIR="$out" \
    cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$host"

# fuzz TARGET OPTION…: new inputs go to target/, never into the seeds that are checked in.
fuzz() {
    local target="$1"
    shift
    local found="$out/corpus/$target"
    mkdir -p "$found" "$out/artifacts"
    "$out/$host/release/$target" -timeout=30 -rss_limit_mb=1024 -artifact_prefix="$out/artifacts/$target-" "$@" \
        "$found" "fuzz/corpus/$target"
}

if [ $# -gt 0 ] && [ "$1" != long ]; then
    target="$1"
    shift
    exec "$out/$host/release/$target" "$@"
fi

passed=0
failed=0
for target in "${TARGETS[@]}"; do
    options=(-runs="$SHORT_RUNS" -seed=1)
    if [ "${1:-}" = long ]; then
        options=(-max_total_time="${2:-600}" -print_final_stats=1)
    else
        # The same start each time, so that the same seed gives the same runs.
        rm -rf "$out/corpus/$target"
    fi
    log="$out/$target.log"
    if fuzz "$target" "${options[@]}" >"$log" 2>&1; then
        passed=$((passed + 1))
        printf 'test fuzz target %s ... ok (%s)\n' "$target" "$(grep -E '^Done ' "$log" || tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        printf 'test fuzz target %s ... FAILED\n' "$target"
        tail -n 40 "$log"
        printf 'again: scripts/fuzz.sh %s %s\n' "$target" "$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)"
    fi
done
# In the format of cargo's tests, so that they are counted with them.
if [ "$failed" -eq 0 ]; then result=ok; else result=FAILED; fi
printf 'test result: %s. %s passed; %s failed; 0 ignored\n' "$result" "$passed" "$failed"
[ "$failed" -eq 0 ]
