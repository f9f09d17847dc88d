#!/usr/bin/env bash
# Push and replication, beside skopeo and docker-registry in the same run. Prints a table; bench/bench.py says more.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

scripts/setup.sh rust python skopeo docker-registry

say "building transship (release)"
cargo build --release --quiet --package transship
exec python3 bench/bench.py --transship "$TARGET/release/transship" --results "$TARGET/bench/results.md" "$@"
