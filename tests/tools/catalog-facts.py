"""Says what a SQLite catalog holds, so that a test can see whether a request changed anything.

One line comes in for each look, one JSON object goes out: for each table the number of its rows and a hash of them.
"""

import hashlib
import json
import sqlite3
import sys

# Work that goes on by itself in the background, whatever is asked meanwhile.
LEFT_OUT = {"tombstone"}
# Of these only what a request decides; leases and times of life move by themselves.
ONLY = {"upload": ["id", "repository_id", "user_id", "algorithm", "offset_bytes", "hash_state"]}


def facts(connection):
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = {}
    for table in tables:
        if table in LEFT_OUT or table.startswith("sqlite_"):
            continue
        columns = ", ".join(ONLY.get(table, ["*"]))
        rows = [repr(row) for row in connection.execute(f"SELECT {columns} FROM {table}")]
        found[table] = f"{len(rows)} rows, {hashlib.sha256(chr(10).join(sorted(rows)).encode()).hexdigest()[:16]}"
    return found


def main():
    connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=30, isolation_level=None)
    for _ in sys.stdin:
        # One transaction, so that all tables are of one moment.
        connection.execute("BEGIN")
        print(json.dumps(facts(connection)), flush=True)
        connection.execute("COMMIT")


main()
