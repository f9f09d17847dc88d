#!/usr/bin/env bash
# Format, clippy, dependencies, shell scripts.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

scripts/setup.sh rust lint

say "cargo fmt"
cargo fmt --all --check
cargo fmt --check --manifest-path fuzz/Cargo.toml
say "cargo clippy"
cargo clippy --workspace --all-targets -- -D warnings
# Not `advisories`: its database changes from day to day, so the same commit would pass today and fail tomorrow.
say "cargo deny"
"$TARGET/tools/bin/cargo-deny" --log-level error check bans licenses sources
if have shellcheck; then
    say "shellcheck"
    shellcheck --external-sources scripts/*.sh .ci/run
fi
say "nothing to complain about"
