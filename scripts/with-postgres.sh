#!/usr/bin/env bash
# Runs a command beside a throw-away PostgreSQL: scripts/with-postgres.sh COMMAND…
# The command finds it in TRANSSHIP_TEST_POSTGRES; the cluster and its folder are gone afterwards.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

[ $# -gt 0 ] || die "usage: scripts/with-postgres.sh COMMAND…"
"$ROOT/scripts/setup.sh" postgres

bin=""
for candidate in /usr/lib/postgresql/*/bin; do
    [ -x "$candidate/initdb" ] && bin="$candidate"
done
[ -n "$bin" ] || bin="$(dirname "$(command -v initdb)")"

# The server refuses to run as root. Then the user that Debian's package made owns the cluster.
if [ "$(id -u)" -eq 0 ]; then
    as_owner() { runuser -u postgres -- "$@"; }
else
    as_owner() { "$@"; }
fi

folder="$(mktemp -d /tmp/transship-postgres.XXXXXX)"
[ "$(id -u)" -ne 0 ] || chown postgres "$folder"
chmod 700 "$folder"

stop() {
    local pid
    pid="$(head -n 1 "$folder/data/postmaster.pid" 2>/dev/null || true)"
    as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate -s stop >/dev/null 2>&1 || true
    # A server that is still starting ignores pg_ctl.
    if [ -n "$pid" ] && runs "$pid"; then
        stop_process "$pid"
    fi
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

port="$(free_port)"
say "PostgreSQL on port $port"
cd /tmp
as_owner "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$folder/initdb.log" 2>&1 ||
    die "initdb failed: $(tail -n 3 "$folder/initdb.log")"
# The data may be lost: the tests kill regions, never the database, and fsync is what makes it slow.
as_owner "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 -s start -o \
    "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c fsync=off -c max_connections=300" ||
    die "PostgreSQL does not start: $(tail -n 3 "$folder/log")"
cd "$ROOT"
export TRANSSHIP_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres"
"$@"
