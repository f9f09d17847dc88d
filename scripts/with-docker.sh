#!/usr/bin/env bash
# Runs a command beside a docker engine of its own: scripts/with-docker.sh COMMAND…
# The command finds it in TRANSSHIP_TEST_DOCKER; the engine, its images and its folder are gone afterwards.
# Exit 77 without running the command: an engine cannot run here.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

[ $# -gt 0 ] || die "usage: scripts/with-docker.sh COMMAND…"
"$ROOT/scripts/setup.sh" docker

folder="$(mktemp -d /tmp/transship-docker.XXXXXX)"
socket="unix://$folder/d.sock"
engine_pid=""

stop() {
    # Stops only its own child, and nobody else's engine. Also stops the containerd that the engine has started, which outlives an engine
    # that had to be killed.
    if [ -n "$engine_pid" ]; then
        stop_process "$engine_pid" 20
    fi
    local file
    for file in "$folder/pid" "$folder/exec/containerd/containerd.pid"; do
        if as_root test -f "$file"; then
            stop_process "$(as_root cat "$file")"
        fi
    done
    # The engine sometimes leaves a network namespace mounted.
    while read -r _ mount _; do
        case "$mount" in
        "$folder"/*) as_root umount --lazy "$mount" || true ;;
        esac
    done </proc/mounts
    as_root rm -rf "$folder" || say "could not take away $folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

say "a docker engine in $folder"
# No bridge and no firewall rules: the engine needs nothing of the machine but the right to mount.
exec_as_root dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs --group "$(id -gn)" \
    -H "$socket" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" >"$folder/log" 2>&1 &
engine_pid=$!
for _ in $(seq 150); do
    docker -H "$socket" info >/dev/null 2>&1 && break
    sleep 0.2
done
docker -H "$socket" info >/dev/null 2>&1 ||
    skip "a docker engine does not start here ($(tail -n 1 "$folder/log" | cut -c 1-200))"
export TRANSSHIP_TEST_DOCKER="$socket"
"$@"
