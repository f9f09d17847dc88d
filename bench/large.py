"""Blobs of several GiB, like layers with models: pushed, pulled at once as a fleet or a replication does, and pulled cold.

A blob counts as pushed when the server has answered; the measurement does not wait until it is durable. The first pull
follows at once. Before a cold pull, everything in the server's folder is dropped from the page cache. On a virtual machine
the first cold pull may be the first time that the host reads these bytes; the second one finds them in the host's cache.
"""
import contextlib
import os
import subprocess

from servers import REPOSITORY, check, curl

GIB = 1 << 30
SIZES = {"4 GiB": 4 * GIB, "8 GiB": 8 * GIB}
PULLS = ("at once", "again", "cold", "cold again")


def row(name, pull=None):
    return f"PUT of {name}, then pulled, seconds" if pull is None else f"GET of {name}, {pull}, seconds"


def measure(bench, kinds):
    for name, size in SIZES.items():
        size = size >> 6 if bench.quick else size

        def work(server):
            digest, seconds = bench.put_blob(server, size)
            bench.note(row(name), server.name, seconds)
            for pull in PULLS:
                if pull.startswith("cold"):
                    forget(server.folder)
                code, seconds = curl(f"http://{server.host}/v2/{REPOSITORY}/blobs/{digest}")
                check(code == 200, f"{server.name}: GET of a blob answered {code}")
                bench.note(row(name, pull), server.name, seconds)

        bench.rounds(kinds, False, work)
        path, _ = bench.blob(size)
        os.remove(path)


def forget(folder):
    """Writes out what is not written yet, then drops all files of a folder from the page cache."""
    subprocess.run(["sync"], check=True)
    for place, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError), open(os.path.join(place, file), "rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# Of distribution's time. The first cold pull was once half of theirs: an earlier pull had already read the disk.
MOST = {"at once": 1.1, "again": 1.1, "cold": 0.75, "cold again": 1.1}


def bars(ratio, us, them):
    for name in SIZES:
        yield from ratio(f"PUT of {name}, time at most 1.0 x distribution", row(name), us, them, most=1.0)
        for pull, most in MOST.items():
            bar = f"GET of {name}, {pull}, time at most {most} x distribution"
            yield from ratio(bar, row(name, pull), us, them, most=most)
