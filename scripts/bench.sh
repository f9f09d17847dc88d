#!/usr/bin/env bash
# Measures: one region beside distribution 3.1 and nginx (docs/performance.md), then replication beside skopeo and
# docker-registry (bench/results.md). Each prints its tables; bench/registry.py and bench/bench.py say more.
#
#   scripts/bench.sh [registry|replication] [ARGUMENT…]     both without an argument
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

what="${1:-all}"
[ $# -eq 0 ] || shift
case "$what" in all | registry | replication) ;; *) die "usage: scripts/bench.sh [registry|replication] [ARGUMENT…]" ;; esac

scripts/setup.sh rust python
say "building transship (release)"
cargo build --release --quiet --package transship --package transship-load

if [ "$what" != replication ]; then
    scripts/setup.sh openssl curl nginx distribution
    python3 bench/registry.py --transship "$TARGET/release/transship" --load "$TARGET/release/transship-load" \
        --distribution "$TARGET/tools/bin/registry" --results "$TARGET/bench/registry.md" "$@"
fi
if [ "$what" != registry ]; then
    scripts/setup.sh skopeo docker-registry
    python3 bench/bench.py --transship "$TARGET/release/transship" --results "$TARGET/bench/results.md" "$@"
fi
