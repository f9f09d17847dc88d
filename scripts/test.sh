#!/usr/bin/env bash
# Runs every suite: unit and property tests of the crates, then real regions with real clients.
# A suite whose toolchain is not available is named at the end; with CI=true that is a failure.
# Before the end it prints how long each run took, the longest first. The last line counts over all runs: "N passed, N failed".
# shellcheck disable=SC2317 # the functions are called by name, through run
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

# The outer call starts the throw-away PostgreSQL, which runs this script again with its address. Everything that it starts carries the mark
# of this run, and nothing with the mark may still run at the end.
if [ -z "${TRANSSHIP_TEST_RUN:-}" ]; then
    run="$$-$(date +%s%N)"
    counts="$(mktemp)"
    again=("$0" "$@")
    [ -n "${TRANSSHIP_TEST_POSTGRES:-}" ] || again=(scripts/with-postgres.sh "${again[@]}")
    trap 'rm -f "$counts"; nothing_left "$run" || true; exit 130' INT TERM
    status=0
    TRANSSHIP_TEST_RUN="$run" TRANSSHIP_TEST_COUNTS="$counts" "${again[@]}" || status=$?
    read -r passed failed <"$counts" || passed=0 failed=1
    rm -f "$counts"
    if nothing_left "$run"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        status=1
    fi
    printf '%s passed, %s failed\n' "$passed" "$failed"
    exit "$status"
fi

scripts/setup.sh rust python skopeo openssl buildah sdk-python

log="$TARGET/setup/test.log"
mkdir -p "$(dirname "$log")"
: >"$log"
failed_runs=()
skipped=()
times=()

# took SECONDS NAME: notes how long something took, for the list at the end.
took() { times+=("$(printf '%5d s  %s' "$1" "$2")"); }

# run NAME COMMAND…: runs the command, keeps its output for the count, notes how long it took, and goes on if it fails.
run() {
    local name="$1" status=0 start="$SECONDS"
    shift
    say "$name"
    "$@" 2>&1 | tee -a "$log" || status=$?
    took $((SECONDS - start)) "$name"
    case "$status" in
    0) ;;
    "$SKIPPED") skipped+=("$name") ;;
    *) failed_runs+=("$name") ;;
    esac
}

# suites NAME…: runs the black-box suites of these names together.
suites() {
    local arguments=()
    for suite in "$@"; do
        arguments+=(--test "$suite")
    done
    # Names the whole workspace each time, so that nothing is built twice with other features.
    cargo test --workspace --no-fail-fast "${arguments[@]}"
}

# with_tools SETUP SUITE…: sets up a toolchain and runs the suites that need it; 77 if it is not available.
with_tools() {
    scripts/setup.sh "$1" || return $?
    shift
    suites "$@"
}

containerd_suite() { scripts/with-containerd.sh cargo test --workspace --no-fail-fast --test containerd; }
with_volumes() {
    scripts/setup.sh volumes || return $?
    suites power_cut disk_faults
}

docker_suite() { scripts/with-docker.sh cargo test --workspace --no-fail-fast --test docker_engine; }

say "building transship and its tests"
start="$SECONDS"
cargo test --workspace --no-run --quiet
took $((SECONDS - start)) "building"
export TRANSSHIP_BIN="$TARGET/debug/transship"
[ -x "$TRANSSHIP_BIN" ] || die "cargo built the tests and no $TRANSSHIP_BIN"

run "unit and property tests of every crate" cargo test --workspace --exclude transship-tests --no-fail-fast
run "the registry protocol" suites protocol_uploads protocol_manifests protocol_lists protocol_tokens
run "regions, replication, permissions, faults" \
    suites architecture logging collection push_pull sync_images resync fairness faults permissions tenancy people peers keeping scrub sdk_python postgres
run "the harness of the black-box tests" cargo test -p transship-tests --lib
run "many clients at one thing" suites concurrency
run "a region at work" suites soak
run "crowds, floods, slow bodies and large lists" suites edges slow_bodies lists
run "kill -9 of a region that is pushed to" suites crash
run "power cuts, full and failing disks (root, loop devices)" with_volumes
run "skopeo and buildah" suites skopeo buildah
run "crane, oras and regctl (Go)" with_tools go-clients go_clients regctl protocol_access
run "bad inputs: every row, and more of each group" suites bad_inputs bad_input_groups
run "fuzz targets, a short fixed number of runs each" scripts/fuzz.sh
run "the OCI conformance suite (Go)" with_tools conformance conformance
run "the Go SDK (Go)" with_tools sdk-go sdk_go
run "the Java SDK (a JDK and Maven)" with_tools sdk-java sdk_java
run "containerd" containerd_suite
run "a docker engine" docker_suite

sum() { sed -nE "s/^test result: .* ([0-9]+) $1[;.].*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'; }
passed="$(sum passed)"
failed="$(sum failed)"

echo
say "how long each took, $((SECONDS / 60)) minutes in all"
printf '%s\n' "${times[@]}" | sort -rn
for name in "${skipped[@]}"; do
    printf 'skipped: %s\n' "$name"
done
for name in "${failed_runs[@]}"; do
    printf 'failed: %s\n' "$name"
done
status=0
[ ${#failed_runs[@]} -eq 0 ] || status=1
if [ ${#skipped[@]} -gt 0 ] && [ "${CI:-}" = true ]; then
    printf 'a skipped suite is a failure here, because CI=true\n'
    status=1
fi
# A run can fail without a failed test: it did not compile, or the process died.
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=$((${#failed_runs[@]} + ${#skipped[@]}))
# The outer call prints the counts, after it has looked for processes that were left behind.
printf '%s %s\n' "$passed" "$failed" >"$TRANSSHIP_TEST_COUNTS"
exit "$status"
