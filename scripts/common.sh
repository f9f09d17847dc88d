# shellcheck shell=bash
# Sourced by the other scripts: how they speak, find things and get root's rights. Does nothing by itself.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TARGET="${CARGO_TARGET_DIR:-$ROOT/target}"
export ROOT TARGET
# Exit code of a set-up step whose toolchain cannot be had: the suite is skipped, not failed.
SKIPPED=77

# These servers listen on the loopback address; a proxy variable must not catch them.
export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost"
export no_proxy="$NO_PROXY"

# Running the demo leaves nothing in the source tree.
export PYTHONDONTWRITEBYTECODE=1

say() { printf '==> %s\n' "$*"; }

die() {
    printf 'stopped: %s\n' "$*" >&2
    exit 1
}

# A toolchain is not there and cannot be installed from Debian's packages.
skip() {
    printf 'skipped: %s\n' "$*" >&2
    exit "$SKIPPED"
}

have() { command -v "$1" >/dev/null 2>&1; }

# Debian keeps the daemons here, and an ordinary user's PATH leaves it out.
case ":$PATH:" in
*:/usr/sbin:*) ;;
*) export PATH="$PATH:/usr/sbin:/sbin" ;;
esac

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo -n "$@" || sudo "$@"
    else
        return 1
    fi
}

# A port nobody listens on; the number is free when this returns, which is as much as can be promised.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
