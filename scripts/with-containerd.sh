#!/usr/bin/env bash
# Runs a command beside a containerd of its own: scripts/with-containerd.sh COMMAND…
# The command finds its socket in TRANSSHIP_TEST_CONTAINERD; containerd and its folder are gone afterwards.
# Exit 77 without running the command: it cannot run here.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

[ $# -gt 0 ] || die "usage: scripts/with-containerd.sh COMMAND…"
"$ROOT/scripts/setup.sh" containerd

folder="$(mktemp -d /tmp/transship-containerd.XXXXXX)"
socket="$folder/c.sock"
containerd_pid=""

stop() {
    # Stops only its own child, and nobody else's containerd.
    if [ -n "$containerd_pid" ]; then
        stop_process "$containerd_pid"
    fi
    as_root rm -rf "$folder" || say "could not take away $folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

# Images are stored and unpacked, never run: no runtime, no Kubernetes interface, and copies instead of overlays.
cat >"$folder/config.toml" <<END
version = 2
root = "$folder/root"
state = "$folder/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "$socket"
uid = $(id -u)
gid = $(id -g)
[ttrpc]
address = "$socket.ttrpc"
END

say "containerd in $folder"
exec_as_root containerd --config "$folder/config.toml" >"$folder/log" 2>&1 &
containerd_pid=$!
ready() { timeout 5 ctr --address "$socket" version >/dev/null 2>&1; }
for _ in $(seq 150); do
    ready && break
    sleep 0.2
done
ready || skip "containerd does not start here ($(tail -n 1 "$folder/log" | cut -c 1-200))"
export TRANSSHIP_TEST_CONTAINERD="$socket"
"$@"
