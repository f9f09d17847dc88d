#!/usr/bin/env bash
# The long form of every black-box suite that draws random numbers: scripts/soak.sh [SUITE…]
# A suite belongs to it if its file asks tests/src/soak.rs for its rounds, or for its seed.
# TRANSSHIP_SOAK_MINUTES (20) is how long time-based suites run; TRANSSHIP_SEED sets the seed of all suites.
# Every test prints its seed when it begins. At the end, each failed test is named with the command that runs it again.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

# The outer call starts the throw-away PostgreSQL, which runs this script again with its address.
if [ -z "${TRANSSHIP_TEST_POSTGRES:-}" ]; then
    exec scripts/with-postgres.sh "$0" "$@"
fi

scripts/setup.sh rust python openssl
export TRANSSHIP_SOAK=1

suites=("$@")
if [ ${#suites[@]} -eq 0 ]; then
    while read -r file; do
        suites+=("$(basename "$file" .rs)")
    done < <(grep -lE 'soak::|Random::for_test' tests/tests/*.rs)
fi

log="$TARGET/setup/soak.log"
mkdir -p "$(dirname "$log")"
failed=()
again=()

say "building transship and its tests"
cargo test --workspace --no-run --quiet
export TRANSSHIP_BIN="$TARGET/debug/transship"

for suite in "${suites[@]}"; do
    say "$suite"
    status=0
    cargo test --workspace --no-fail-fast --test "$suite" -- --nocapture 2>&1 | tee "$log" || status=$?
    [ "$status" -ne 0 ] || continue
    failed+=("$suite")
    # The names of the failed tests are indented by four below the last "failures:".
    while read -r name; do
        command="$(grep -oE "\b$name: seed [0-9]+; again with: .*" "$log" | head -n 1 || true)"
        command="${command#*again with: }"
        again+=("$name: ${command:-cargo test -p transship-tests --test $suite -- $name}")
    done < <(sed -n '/^failures:$/,$ s/^    \([a-z0-9_:]*\)$/\1/p' "$log" | sort -u)
done

echo
for line in "${again[@]}"; do
    printf 'failed: %s\n' "$line"
done
if [ ${#failed[@]} -gt 0 ]; then
    die "suites with failures: ${failed[*]}"
fi
say "${#suites[@]} suites held"
