#!/usr/bin/env bash
# Format, clippy, documents of the code, dependencies, spelling, shell scripts.
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
# Documents private items too, because those who read these documents change the code. So a link to a private item is no mistake.
say "cargo doc"
RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --quiet --workspace --no-deps --document-private-items
say "unused dependencies"
"$TARGET/tools/bin/cargo-machete" crates tests bench/load fuzz
say "spelling"
"$TARGET/tools/typos/bin/typos"
# Not `advisories`: its database changes from day to day, so the same commit would pass today and fail tomorrow.
say "cargo deny"
"$TARGET/tools/bin/cargo-deny" --log-level error check bans licenses sources
if have shellcheck; then
    say "shellcheck"
    shellcheck --external-sources scripts/*.sh .ci/run
fi
say "nothing to complain about"
