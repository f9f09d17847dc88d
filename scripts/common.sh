# shellcheck shell=bash
# Sourced by the other scripts: messages, look-ups and root's rights. Does nothing by itself.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TARGET="${CARGO_TARGET_DIR:-$ROOT/target}"
export ROOT TARGET
# Exit code of a set-up step whose toolchain is not available: the suite is skipped, not failed.
SKIPPED=77

# These servers listen on the loopback address; a proxy variable must not catch them.
export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost"
export no_proxy="$NO_PROXY"

# Keeps the demo from leaving files in the source tree.
export PYTHONDONTWRITEBYTECODE=1

say() { printf '==> %s\n' "$*"; }

die() {
    printf 'stopped: %s\n' "$*" >&2
    exit 1
}

# For a toolchain that is missing and cannot be installed from Debian's packages.
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

# rust-toolchain.toml names a version, and rustup downloads it if it has no toolchain of that name. If `stable` is the same version, a
# second copy is not needed, and without a network it is not available.
if [ -z "${RUSTUP_TOOLCHAIN:-}" ] && have rustup; then
    pinned="$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$ROOT/rust-toolchain.toml")"
    installed="$(rustup toolchain list 2>/dev/null)" || installed=""
    if ! grep -q "^$pinned-" <<<"$installed" && grep -q '^stable-' <<<"$installed" &&
        [[ "$(RUSTUP_TOOLCHAIN=stable rustc --version 2>/dev/null)" = "rustc $pinned "* ]]; then
        export RUSTUP_TOOLCHAIN=stable
    fi
    unset pinned installed
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo -n "$@" || sudo "$@"
    else
        return 1
    fi
}

# Replaces the shell with the command, with root's rights. Use it only in the background: `exec_as_root COMMAND… &`. There `$!` is the
# command itself (or sudo, which passes signals on). With as_root it would be a shell, and the command would outlive it.
exec_as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        exec "$@"
    elif have sudo; then
        # sudo empties the environment, but the mark of the run must get through.
        exec sudo -n env "TRANSSHIP_TEST_RUN=${TRANSSHIP_TEST_RUN:-}" "$@"
    else
        exit 1
    fi
}

# stop_process PID [SECONDS]: ends a process with root's rights and waits for its end; kills it after SECONDS (10).
stop_process() {
    local pid="$1" tenths=$((${2:-10} * 10))
    as_root kill "$pid" 2>/dev/null || return 0
    for _ in $(seq "$tenths"); do
        runs "$pid" || return 0
        sleep 0.1
    done
    as_root kill -KILL "$pid" 2>/dev/null || true
    for _ in $(seq 50); do
        runs "$pid" || return 0
        sleep 0.1
    done
    say "process $pid does not end"
}

# Whether a process runs. A zombie, which has ended and waits for its parent, does not.
runs() {
    local state
    state="$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)" || return 1
    [ -n "$state" ] && [ "$state" != Z ]
}

# marked_processes RUN: prints the ids of the processes that carry the mark of a run in their environment. Every process that the run starts
# inherits the mark, even one that has left its parent and its session. The caller must not carry it.
marked_processes() {
    local file pid
    while read -r file; do
        pid="${file#/proc/}"
        pid="${pid%/environ}"
        if runs "$pid"; then
            printf '%s\n' "$pid"
        fi
    done < <(as_root grep -lszx -- "TRANSSHIP_TEST_RUN=$1" /proc/[0-9]*/environ || true)
}

# nothing_left RUN: waits a moment for processes that are ending, then names and ends those that the run left behind. Returns 1 if there
# were any.
nothing_left() {
    local pids=() pid
    for _ in $(seq 50); do
        mapfile -t pids < <(marked_processes "$1")
        [ ${#pids[@]} -gt 0 ] || return 0
        sleep 0.2
    done
    for pid in "${pids[@]}"; do
        printf 'failed: process %s still runs: %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c 1-200)"
        stop_process "$pid" 5
    done
    return 1
}

# Prints a port that nobody listens on. It is free when this returns; more cannot be promised.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
