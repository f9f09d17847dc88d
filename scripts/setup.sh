#!/usr/bin/env bash
# Installs what a target needs on this machine: scripts/setup.sh NAME…
# Exit 0: it is installed. Exit 77: its toolchain is not available here. Anything else: stopped, with the reason.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

# Pinned, so that a failing test points at our change and not at theirs.
CRANE_VERSION=v0.20.6
ORAS_VERSION=v1.3.0
DISTRIBUTION_VERSION=v3.1.1
REGCTL_VERSION=v0.11.1
CONFORMANCE_VERSION=v0.0.0-20260831232431-97274622c111
CARGO_DENY_VERSION=0.20.2
CARGO_MACHETE_VERSION=0.9.2
TYPOS_VERSION=1.52.0
# The oldest Go that builds the pinned clients.
GO_MINOR=24

# debian COMMAND PACKAGE…: installs the packages if the command is missing.
debian() {
    local command="$1"
    shift
    if have "$command"; then
        return 0
    fi
    install_debian "$@" || return 1
    have "$command" || die "the Debian packages '$*' were installed, and '$command' is still not to be found"
}

install_debian() {
    have apt-get || {
        printf 'apt-get is missing; install by hand what gives: %s\n' "$*" >&2
        return 1
    }
    say "installing Debian packages: $*"
    local log="$TARGET/setup/apt.log"
    mkdir -p "$TARGET/setup"
    # The package lists are fetched once per run, and only if something is missing.
    if [ -z "${TRANSSHIP_APT_UPDATED:-}" ]; then
        as_root apt-get update -qq >"$log" 2>&1 || printf 'apt-get update failed; going on with the lists that are there\n' >&2
        export TRANSSHIP_APT_UPDATED=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        printf 'apt-get could not install: %s (is root or sudo to be had, and the network?)\n' "$*" >&2
        return 1
    }
}

need() { debian "$@" || die "'$1' is needed and could not be installed"; }

setup_rust() {
    have cargo || die "cargo is missing: install Rust 1.95 or newer (rustup), then run this again"
    local minor
    # With rustup, the first call fetches the version of rust-toolchain.toml if it is missing.
    rustc --version >/dev/null || die "rustc does not start (with rustup: rustup toolchain install)"
    minor="$(rustc --version | sed -E 's/^rustc 1\.([0-9]+).*/\1/')"
    [ "$minor" -ge 95 ] 2>/dev/null || die "Rust 1.95 or newer is needed, this is $(rustc --version)"
    # Two crates contain C: the cryptography and SQLite.
    need cc build-essential cmake
}

setup_python() { need python3 python3; }

setup_skopeo() { need skopeo skopeo; }

setup_openssl() { need openssl openssl; }

# new_venv FOLDER: makes an empty virtual environment.
new_venv() {
    setup_python
    if ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
        install_debian python3-venv || die "python3-venv is needed and could not be installed"
    fi
    rm -rf "$1"
    python3 -m venv "$1" || die "python3 -m venv failed; on Debian the package is python3-venv"
}

# The SDK of the samples, in a virtual environment of our own.
setup_sdk_python() {
    local venv="$TARGET/venv" wanted="demo/requirements.txt"
    if cmp -s "$wanted" "$venv/installed.txt"; then
        return 0
    fi
    say "Python SDK into $venv"
    new_venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" ||
        die "pip could not install $(tr '\n' ' ' <"$wanted")(is the network to be had?)"
    cp "$wanted" "$venv/installed.txt"
}

need_go() {
    have go || skip "Go 1.$GO_MINOR or newer is not installed (Debian 12 has only 1.19)"
    local minor
    minor="$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')"
    [ "$minor" -ge "$GO_MINOR" ] 2>/dev/null || skip "Go 1.$GO_MINOR or newer is needed, this is $(go env GOVERSION)"
}

setup_go_clients() {
    need_go
    local bin="$TARGET/tools/bin"
    mkdir -p "$bin"
    go_install crane "github.com/google/go-containerregistry/cmd/crane@$CRANE_VERSION" "$bin"
    go_install oras "oras.land/oras/cmd/oras@$ORAS_VERSION" "$bin"
    go_install regctl "github.com/regclient/regclient/cmd/regctl@$REGCTL_VERSION" "$bin"
}

go_install() {
    local name="$1" module="$2" bin="$3"
    if [ -x "$bin/$name" ] && [ "$(cat "$bin/.$name" 2>/dev/null)" = "$module" ]; then
        return 0
    fi
    say "go install $module"
    GOBIN="$bin" GOFLAGS=-buildvcs=false go install "$module" || die "go could not install $module (is the network to be had?)"
    printf '%s' "$module" >"$bin/.$name"
}

setup_conformance() {
    need_go
    local bin="$TARGET/tools/bin"
    mkdir -p "$bin"
    go_install conformance "github.com/opencontainers/distribution-spec/conformance@$CONFORMANCE_VERSION" "$bin"
}

setup_sdk_go() {
    need_go
    setup_openssl
    mkdir -p "$TARGET/samples/go"
    say "building the Go sample"
    (cd tests/samples/go && GOFLAGS=-buildvcs=false go build -o "$TARGET/samples/go/sample" .) ||
        die "the Go sample does not build (is the network to be had for its modules?)"
}

setup_sdk_java() {
    { debian javac default-jdk-headless && debian mvn maven; } || skip "a JDK and Maven cannot be installed"
    local out="$TARGET/samples/java"
    say "building the Java sample"
    mkdir -p "$out"
    local run=(mvn -q -B -f tests/samples/java/pom.xml "-DbuildFolder=$out" package)
    "${run[@]}" -o >"$out.log" 2>&1 || "${run[@]}" >"$out.log" 2>&1 || {
        tail -n 5 "$out.log" >&2
        die "the Java sample does not build (is the network to be had for its jars?)"
    }
}

setup_postgres() {
    if ! have initdb && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
        install_debian postgresql || die "PostgreSQL is needed and could not be installed"
    fi
    need psql postgresql-client
}

setup_docker() {
    # Debian 12 ships the client inside docker.io, Debian 13 in a package of its own.
    { debian dockerd docker.io && debian docker docker-cli; } || skip "a docker engine cannot be installed"
}

setup_containerd() {
    { debian containerd containerd && have ctr; } || skip "containerd cannot be installed"
}

# Volumes for single tests: an ext4 in a file. A copy of the file is what a power cut leaves.
setup_volumes() {
    [ "$(id -u)" -eq 0 ] || skip "mounting volumes needs root"
    debian mkfs.ext4 e2fsprogs || skip "mkfs.ext4 cannot be installed"
    local folder
    folder="$(mktemp -d)"
    truncate -s 16M "$folder/image"
    mkdir "$folder/mounted"
    if ! { mkfs.ext4 -q -F "$folder/image" && mount -o loop,commit=600 "$folder/image" "$folder/mounted"; } 2>/dev/null; then
        rm -rf "$folder"
        skip "an image cannot be mounted here (no loop devices)"
    fi
    umount "$folder/mounted"
    rm -rf "$folder"
}

setup_buildah() { need buildah buildah; }

# libFuzzer comes as C++ source in a crate. Rust has everything else that the fuzz targets need.
setup_fuzz() {
    setup_rust
    need c++ build-essential
}

setup_curl() { need curl curl; }

setup_nginx() { need nginx nginx-light; }

# The registry that the benchmarks compare with.
setup_distribution() {
    need_go
    local bin="$TARGET/tools/bin"
    mkdir -p "$bin"
    go_install registry "github.com/distribution/distribution/v3/cmd/registry@$DISTRIBUTION_VERSION" "$bin"
}

setup_docker_registry() { need docker-registry docker-registry; }

setup_lint() {
    { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 ||
        rustup component add rustfmt clippy || die "rustfmt and clippy are needed and could not be installed"
    debian shellcheck shellcheck || say "shellcheck cannot be installed: the scripts are not checked"
    setup_typos
    cargo_install cargo-deny "$CARGO_DENY_VERSION"
    cargo_install cargo-machete "$CARGO_MACHETE_VERSION"
}

# A spelling checker for all files. Its package has a program for each platform, so nothing is built.
setup_typos() {
    local venv="$TARGET/tools/typos"
    if [ "$("$venv/bin/typos" --version 2>/dev/null)" = "typos-cli $TYPOS_VERSION" ]; then
        return 0
    fi
    say "typos $TYPOS_VERSION into $venv"
    new_venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "typos==$TYPOS_VERSION" ||
        die "pip could not install typos $TYPOS_VERSION (is the network to be had?)"
}

# cargo_install NAME VERSION: builds a tool into target/tools, once.
cargo_install() {
    local tools="$TARGET/tools"
    if grep -qs "^\"$1 $2 " "$tools/.crates.toml" && [ -x "$tools/bin/$1" ]; then
        return 0
    fi
    say "cargo install $1 $2 (a few minutes, once)"
    cargo install --quiet "$1" --locked --version "$2" --root "$tools" || die "cargo could not install $1 $2"
}

[ $# -gt 0 ] || die "usage: scripts/setup.sh NAME… (see the functions setup_NAME in this file)"
for name in "$@"; do
    function="setup_${name//-/_}"
    declare -F "$function" >/dev/null || die "scripts/setup.sh knows no '$name'"
    "$function"
done
