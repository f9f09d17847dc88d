#!/usr/bin/env bash
# Checks format, clippy and the unit tests of what changed, for the minutes between two edits. `make test` and `make lint` decide.
# A crate counts as changed if one of its files differs from the point where the branch left main, committed or not, or if it uses such a
# crate.
#
#   scripts/check.sh          compares with main
#   BASE=REF scripts/check.sh compares with REF
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

# package FOLDER: prints the name of the package in it.
package() { sed -n '/^\[package\]/,/^\[/ s/^name = "\(.*\)"/\1/p' "$1/Cargo.toml"; }

# In a shallow clone there may be no commit but those of the branch: then only uncommitted changes count.
base="$(git merge-base HEAD "${BASE:-main}" 2>/dev/null || git rev-parse HEAD)"
mapfile -t files < <(
    git diff --name-only "$base"
    git ls-files --others --exclude-standard
)

# The folder of each package, and the packages that changed or use one that did.
declare -A folders=() chosen=()
for folder in crates/* tests bench/load; do
    [ -f "$folder/Cargo.toml" ] || continue
    folders["$(package "$folder")"]="$folder"
done
for name in "${!folders[@]}"; do
    for file in "${files[@]}"; do
        case "$file" in
        # Files that all crates share.
        Cargo.toml | Cargo.lock | clippy.toml | rust-toolchain.toml) ;;
        "${folders[$name]}"/*) ;;
        # Tests of the server read some of them.
        docs/*) [ "$name" = transship ] || continue ;;
        *) continue ;;
        esac
        while read -r user _; do
            chosen["$user"]=1
        done < <(cargo tree --quiet --workspace --invert "$name" --prefix none)
        break
    done
done

say "cargo fmt"
cargo fmt --all --check
cargo fmt --check --manifest-path fuzz/Cargo.toml
if [ ${#chosen[@]} -eq 0 ]; then
    say "no crate has changed since $(git rev-parse --short "$base")"
    exit 0
fi
say "changed since $(git rev-parse --short "$base"), with what uses it: ${!chosen[*]}"

# Both commands name the whole workspace, as `make test` and `make lint` do. Fewer packages would mean fewer features of their dependencies,
# and cargo would build those a second time. Unchanged crates are not built again.
say "cargo clippy"
cargo clippy --quiet --workspace --all-targets -- -D warnings
say "unit tests"
built="$(cargo test --workspace --lib --bins --test architecture --no-run 2>&1)" || {
    printf '%s\n' "$built" >&2
    exit 1
}
failed=()
while read -r program; do
    program="$(realpath "$program")"
    name="$(basename "$program" | sed 's/-[0-9a-f]*$//; s/_/-/g')"
    folder="${folders[$name]:-}"
    # The arrows between the crates belong to all of them.
    if [ "$name" = architecture ]; then folder=tests; elif [ -z "${chosen[$name]:-}" ]; then continue; fi
    say "$name"
    (cd "$folder" && "$program" --quiet) || failed+=("$name")
done < <(printf '%s\n' "$built" | sed -n "s|^ *Executable .* (\(.*\))\$|\1|p")
[ ${#failed[@]} -eq 0 ] || die "unit tests failed: ${failed[*]}"
say "nothing to complain about"
