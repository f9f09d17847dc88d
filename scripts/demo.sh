#!/usr/bin/env bash
# Builds what the demo needs, then runs it. KEEP=1 leaves both regions up.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

scripts/setup.sh rust python skopeo sdk-python

say "building transship (release)"
cargo build --release --quiet --package transship
say "building the program of the demo's image"
mkdir -p "$TARGET/demo"
# Static, so that it runs in an image that has nothing else.
rustc -O --edition 2024 -C target-feature=+crt-static -C strip=symbols -o "$TARGET/demo/hello" demo/hello.rs

exec "$TARGET/venv/bin/python" demo/demo.py --transship "$TARGET/release/transship" --hello "$TARGET/demo/hello" \
    ${KEEP:+--keep}
