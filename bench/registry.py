#!/usr/bin/env python3
"""One region as a registry, beside distribution 3.1 and nginx in the same run. Started by `make bench`.

Every round starts every server anew on an empty folder of the same disk, in an order that changes; the tables show
min / median / max over the rounds. The rows are those of docs/performance.md:

  W1    push and pull of images of 1 MiB, 2 clients; server on core 0, clients on core 1
  W2    manifest GET and HEAD in turn, by tag, 20 tags (Zipf), 2 and 32 clients, which share the cores with the server
  blob  GET of 1 GiB by curl, plain, TLS 1.3 and TLS with HTTP/2, server on core 0, curl on core 1; PUT of 1 GiB and of 10 GiB
  large PUT of 4 and of 8 GiB, then GET: at once, again, and with nothing of it in the page cache
  memory  4 uploads and then 4 downloads of 10 GiB beside 500 clients that send or take a byte a second
  W10   lists of 1 000 and of 100 000 tags, 10 000 repositories, 5 000 referrers; time to start

`transship` runs open (no login), as the others do; `transship+token` sends a token with each request. All answer to
`/dev/null` and log as they do by default, into a file. distribution exports no traces (OTEL_TRACES_EXPORTER=none).
"""
import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import platform
import re
import secrets
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import large
from meters import status_mib
from servers import REPOSITORY, Distribution, Failed, Nginx, Tools, Transship, TransshipWithToken, call, check, curl

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
GIB = 1 << 30
ROWS = ("w1", "w2", "get", "put", "large", "memory", "w10")


class Bench:
    """The measurements: for each row and system a list of values, one for each round."""

    def __init__(self, arguments, folder):
        self.arguments, self.folder, self.tools = arguments, folder, Tools(arguments, folder)
        self.values, self.quick = {}, arguments.quick

    def note(self, row, system, value):
        self.values.setdefault(row, {}).setdefault(system, []).append(value)
        print(f"  {row}: {system} {value:.4g}", flush=True)

    @contextlib.contextmanager
    def server(self, kind, pinned):
        with tempfile.TemporaryDirectory(prefix="server-", dir=self.folder) as folder:
            server = kind(self.tools, folder, pinned)
            try:
                server.start()
                if hasattr(server, "log_in"):
                    server.log_in()
                yield server
            finally:
                server.stop()

    def rounds(self, kinds, pinned, work):
        count = 1 if self.quick else self.arguments.rounds
        for number in range(count):
            # The order changes, so that a warm disk favours no system.
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                with self.server(kind, pinned) as server:
                    print(f"round {number + 1} of {count}: {kind.name}", flush=True)
                    work(server)
                subprocess.run(["sync"], check=True)

    def w1(self):
        images, pulls = (20, 100) if self.quick else (200, 2000)

        def work(server):
            pushed = server.load("push", "--repository", REPOSITORY, "--images", images)
            self.note("W1 push, images a second", server.name, pushed["per_second"])
            self.note("W1 push, server CPU us an image", server.name, pushed["cpu_us"])
            pulled = server.load("pull", "--repository", REPOSITORY, "--images", images, "--pulls", pulls)
            self.note("W1 pull, images a second", server.name, pulled["per_second"])
            self.note("W1 pull, server CPU us an image", server.name, pulled["cpu_us"])

        self.rounds([Transship, Distribution], True, work)

    def w2(self):
        seconds = 1 if self.quick else 5

        def work(server):
            server.load("push", "--repository", REPOSITORY, "--images", 20, "--layer-bytes", 1024)
            paths = [f"/v2/{REPOSITORY}/manifests/t1-{n}" for n in range(20)]
            server.headers = (*server.headers, f"Accept: {MANIFEST}")
            for clients in (2, 32):
                asked = server.load("get", "--method", "both", "--seconds", seconds, *paths, clients=clients)
                self.note(f"W2, {clients} clients, requests a second", server.name, asked["per_second"])
                self.note(f"W2, {clients} clients, server CPU us a request", server.name, asked["cpu_us"])

        self.rounds([Transship, TransshipWithToken, Distribution], False, work)

    def blob(self, size):
        """Returns a file of random bytes and its digest; makes the file once."""
        path = os.path.join(self.folder, f"blob-{size}")
        if not os.path.exists(path):
            seed, digest = os.urandom(1 << 20), hashlib.sha256()
            with open(path, "wb") as file:
                for number in range(size >> 20):
                    block = number.to_bytes(8, "little") + seed[8:]
                    digest.update(block)
                    file.write(block)
            pathlib.Path(path + ".digest").write_text("sha256:" + digest.hexdigest())
        return path, pathlib.Path(path + ".digest").read_text()

    def put_blob(self, server, size):
        path, digest = self.blob(size)
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
        base = f"http://{server.host}"
        location = call("POST", f"{base}/v2/{REPOSITORY}/blobs/uploads/").headers["Location"]
        location = location if location.startswith("http") else base + location
        url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        subprocess.run(["sync"], check=True)
        code, seconds = curl("-X", "PUT", "-T", path, "-H", "Content-Type: application/octet-stream", "-H", "Expect:", url)
        check(code == 201, f"{server.name}: PUT of a blob answered {code}")
        return digest, seconds

    def get(self):
        size = GIB >> 6 if self.quick else GIB

        def work(server):
            if server.name == "nginx":
                path, digest = self.blob(size)
                shutil.copy(path, os.path.join(server.folder, "www", "blob"))
                path = "/blob"
            else:
                digest, _ = self.put_blob(server, size)
                path = f"/v2/{REPOSITORY}/blobs/{digest}"
            tls = f"https://{server.tls_host}"
            rows = (("plain", f"http://{server.host}", "--http1.1"), ("TLS 1.3", tls, "--http1.1"), ("TLS 1.3 HTTP/2", tls, "--http2"))
            for row, base, protocol in rows:
                if row != "plain" and server.name == "distribution":
                    continue
                # The first transfer fills the page cache, for all systems alike.
                for take in range(4):
                    code, seconds = curl("-k", protocol, base + path)
                    check(code == 200, f"{server.name}: GET of a blob answered {code}")
                    if take:
                        self.note(f"GET of 1 GiB, {row}, seconds", server.name, seconds)

        self.rounds([Transship, Distribution, Nginx], True, work)

    def put(self):
        for name, size in (("1 GiB", GIB >> 6 if self.quick else GIB), ("10 GiB", GIB >> 4 if self.quick else 10 * GIB)):
            path, _ = self.blob(size)

            def work(server):
                self.note(f"PUT of {name}, seconds", server.name, self.put_blob(server, size)[1])

            if name == "1 GiB":
                for _ in range(1 if self.quick else self.arguments.rounds):
                    self.note(f"PUT of {name}, seconds", "dd + sha256sum", self.plain_copy(path))
            self.rounds([Transship, Distribution], False, work)
            os.remove(path)

    def large(self):
        large.measure(self, [Transship, Distribution])

    def plain_copy(self, path):
        """The minimum that the bytes cost: writing them durably, and hashing them at the same time."""
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
        subprocess.run(["sync"], check=True)
        copy, began = path + ".copy", time.monotonic()
        both = [subprocess.Popen(["dd", f"if={path}", f"of={copy}", "bs=256k", "conv=fdatasync"], stderr=subprocess.DEVNULL),
                subprocess.Popen(["sha256sum", path], stdout=subprocess.DEVNULL)]
        for process in both:
            check(process.wait() == 0, "dd and sha256sum")
        seconds = time.monotonic() - began
        os.remove(copy)
        return seconds

    def memory(self):
        size = GIB >> 4 if self.quick else 10 * GIB
        with self.server(Transship, False) as server:
            path, digest = self.blob(64 << 20)
            self.put_blob(server, 64 << 20)
            pid = server.process.pid
            time.sleep(2)
            idle = status_mib(pid, "VmRSS")
            zeros = hashlib.sha256()
            block = bytes(1 << 20)
            for _ in range(size >> 20):
                zeros.update(block)
            big = "sha256:" + zeros.hexdigest()
            stop = threading.Event()
            slow = threading.Thread(target=slow_clients, args=(server.host, digest, 500, stop))
            slow.start()
            peak = Peak(pid)
            try:
                base = f"http://{server.host}/v2/{REPOSITORY}/blobs"
                streams = []
                for _ in range(4):
                    location = call("POST", f"{base}/uploads/").headers["Location"]
                    command = (f"head -c {size} /dev/zero | curl -sSf -o /dev/null -X PUT -T - -H 'Expect:' "
                               f"'http://{server.host}{location}?digest={big}'")
                    streams.append(subprocess.Popen(["sh", "-c", command]))
                check(all(stream.wait() == 0 for stream in streams), "an upload of 10 GiB failed")
                streams = [subprocess.Popen(["curl", "-sSf", "-o", "/dev/null", f"{base}/{big}"]) for _ in range(4)]
                check(all(stream.wait() == 0 for stream in streams), "a download of 10 GiB failed")
            finally:
                stop.set()
                slow.join()
                top = peak.end()
            self.note("memory over idle, MiB", server.name, top - idle)
            self.note("memory idle, MiB", server.name, idle)

    def w10(self):
        tags = 10_000 if self.quick else 100_000
        with self.server(Transship, False) as server:
            server.load("push", "--repository", REPOSITORY, "--images", 1, "--layer-bytes", 1024)
            server.load("push", "--repository", "bench/few", "--images", 1, "--layer-bytes", 1024)
            server.stop()
            subjects = seed(os.path.join(server.folder, "data", "catalog.db"), tags, 10_000, 5_000)
            self.note("W10 start with all of it, seconds", server.name, server.start())
            for row, paths in (
                ("tags, 100 000", pages(server.host, f"/v2/{REPOSITORY}/tags/list?n=100", 300)),
                ("tags, 1 000", pages(server.host, "/v2/bench/few/tags/list?n=100", 300)),
                ("catalog, 10 000", pages(server.host, "/v2/_catalog?n=100", 300)),
                ("referrers, 5 000", pages(server.host, f"/v2/{REPOSITORY}/referrers/{subjects[0]}", 300)),
                ("referrers, 1 000", pages(server.host, f"/v2/{REPOSITORY}/referrers/{subjects[1]}", 300)),
            ):
                many = (paths * (600 // len(paths) + 1))[:600]
                for _ in range(1 if self.quick else self.arguments.rounds):
                    walked = server.load("walk", *many, clients=1)
                    self.note(f"W10 {row}: page p99, ms", server.name, walked["p99_ms"])


class Peak:
    """The peak of the resident size from now on. VmHWM would also count what came before."""

    def __init__(self, pid):
        self.pid, self.top, self.ended = pid, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.ended.wait(0.05):
            self.top = max(self.top, status_mib(self.pid, "VmRSS"))

    def end(self):
        self.ended.set()
        self.thread.join()
        return self.top


def slow_clients(host, digest, count, stop):
    """Half of the clients receive a blob and half send one, each at one byte per second."""
    address = (host.split(":")[0], int(host.split(":")[1]))
    readers, writers = [], []
    for number in range(count):
        client = socket.create_connection(address)
        if number % 2:
            client.sendall(f"GET /v2/{REPOSITORY}/blobs/{digest} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            readers.append(client)
        else:
            location = call("POST", f"http://{host}/v2/{REPOSITORY}/blobs/uploads/").headers["Location"]
            client.sendall(f"PATCH {location} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n".encode())
            writers.append(client)
    while not stop.wait(1):
        for client in readers:
            check(client.recv(1), "a slow reader was cut off")
        for client in writers:
            client.sendall(b"x")
    for client in readers + writers:
        client.close()


def seed(database, tags, repositories, referrers):
    """Writes the rows for the lists straight into the catalog of a stopped region: pushing them would take hours."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        now = int(time.time() * 1000)
        (big, digest), (few, _) = [db.execute(
            "SELECT r.id, m.digest FROM repository r JOIN manifest m ON m.repository_id = r.id JOIN namespace n"
            " ON n.id = r.namespace_id WHERE n.name || '/' || r.name = ?", (name,)).fetchone()
            for name in (REPOSITORY, "bench/few")]
        few_digest = db.execute("SELECT digest FROM manifest WHERE repository_id = ?", (few,)).fetchone()[0]
        rows = ((big, f"v{n:06}", digest, now, now) for n in range(tags))
        db.executemany("INSERT INTO tag (repository_id, name, digest, created_at, updated_at) VALUES (?,?,?,?,?)", rows)
        rows = ((few, f"v{n:06}", few_digest, now, now) for n in range(1000))
        db.executemany("INSERT INTO tag (repository_id, name, digest, created_at, updated_at) VALUES (?,?,?,?,?)", rows)
        columns = [row[1] for row in db.execute("PRAGMA table_info(repository)") if row[1] != "id"]
        template = dict(zip(columns, db.execute(f"SELECT {','.join(columns)} FROM repository WHERE id = ?", (big,)).fetchone()))
        marks = ",".join("?" * len(columns))
        db.executemany(f"INSERT INTO repository ({','.join(columns)}) VALUES ({marks})",
                       ([{**template, "name": f"seeded/r{n:05}", "path": f"bench/seeded/r{n:05}"}[column] for column in columns] for n in range(repositories)))
        columns = [row[1] for row in db.execute("PRAGMA table_info(manifest)")]
        template = dict(zip(columns, db.execute(f"SELECT {','.join(columns)} FROM manifest WHERE repository_id = ?", (big,)).fetchone()))
        marks, subjects = ",".join("?" * len(columns)), []
        for count in (referrers, 1000):
            subject = "sha256:" + secrets.token_hex(32)
            subjects.append(subject)
            made = []
            for n in range(count):
                raw = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/example", "config": {
                    "mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}, "layers": [],
                    "subject": {"mediaType": MANIFEST, "digest": subject, "size": 100}, "annotations": {"number": str(n)}})
                row = {**template, "digest": "sha256:" + hashlib.sha256(raw.encode()).hexdigest(), "raw": raw,
                       "media_type": MANIFEST, "artifact_type": "application/example", "subject_digest": subject}
                made.append([row[column] for column in columns])
            db.executemany(f"INSERT INTO manifest ({','.join(columns)}) VALUES ({marks})", made)
        db.commit()
    return subjects


def pages(host, path, most):
    """The paths of a list's pages, found by following its Link headers."""
    found = []
    while path and len(found) < most:
        found.append(path)
        link = call("GET", f"http://{host}{path}").headers.get("Link") or ""
        match = re.match(r"<([^>]*)>", link)
        path = match and match.group(1)
    return found


def report(bench):
    lines = ["| what | system | min | median | max |", "|---|---|--:|--:|--:|"]
    for row, systems in bench.values.items():
        for system, values in systems.items():
            spread = " | ".join(f"{value:.4g}" for value in (min(values), statistics.median(values), max(values)))
            lines.append(f"| {row} | {system} | {spread} |")
    lines += ["", "| bar | measured | |", "|---|--:|---|"]
    for sentence, value, holds in bars(bench.values):
        lines.append(f"| {sentence} | {value} | {'holds' if holds else '**missed**'} |")
    return "\n".join(lines)


def bars(values):
    """The bars that must hold: (sentence, figure, holds)."""
    def middle(row, system):
        return statistics.median(values[row][system])

    def ratio(sentence, row, ours, theirs, least=None, most=None):
        if row in values and ours in values[row] and theirs in values[row]:
            figure = middle(row, ours) / middle(row, theirs)
            yield sentence, f"{figure:.2f}", (least is None or figure >= least) and (most is None or figure <= most)

    us, them = "transship", "distribution"
    yield from ratio("W1 push at least 2 x distribution", "W1 push, images a second", us, them, least=2)
    yield from ratio("W1 pull at least 3.5 x distribution", "W1 pull, images a second", us, them, least=3.5)
    yield from ratio("W1 pull, CPU at most 1/6 of distribution", "W1 pull, server CPU us an image", us, them, most=1 / 6)
    for clients in (2, 32):
        yield from ratio(f"W2, {clients} clients, at least 2.7 x distribution", f"W2, {clients} clients, requests a second", us, them, least=2.7)
        row = f"W2, {clients} clients, server CPU us a request"
        yield from ratio(f"W2, {clients} clients, CPU at most 1/4 of distribution", row, us, them, most=0.25)
        if row in values:
            more = middle(row, "transship+token") - middle(row, us)
            yield f"W2, {clients} clients, a token costs at most 15 us", f"{more:.1f} us", more <= 15
    row = "GET of 1 GiB, plain, seconds"
    if row in values:
        best = min(middle(row, them), middle(row, "nginx"))
        yield "GET of 1 GiB at least as fast as the faster of distribution and nginx", f"{best / middle(row, us):.2f}", best >= middle(row, us)
    for protocol in ("TLS 1.3", "TLS 1.3 HTTP/2"):
        yield from ratio(f"GET of 1 GiB by {protocol}, seconds of nginx at least 0.95 of ours", f"GET of 1 GiB, {protocol}, seconds", "nginx", us, least=0.95)
    row = "PUT of 1 GiB, seconds"
    if row in values:
        figure = middle(row, "dd + sha256sum") / middle(row, us)
        yield "PUT of 1 GiB at least 0.88 x dd and sha256sum", f"{figure:.2f}", figure >= 0.88
    row = "PUT of 10 GiB, seconds"
    if row in values:
        figure = middle(row, them) / middle(row, us)
        yield "PUT of 10 GiB at least 1.35 x distribution", f"{figure:.2f}", figure >= 1.35
    yield from large.bars(ratio, us, them)
    row = "memory over idle, MiB"
    if row in values:
        yield "memory over idle at most 64 MiB", f"{max(values[row][us]):.1f} MiB", max(values[row][us]) <= 64
    for row in values:
        if row.startswith("W10") and row.endswith("ms"):
            figure = middle(row, us)
            yield f"{row}, at most 20", f"{figure:.2f}", figure <= 20
        elif row.startswith("W10"):
            yield f"{row}, at most 2", f"{middle(row, us):.2f}", middle(row, us) <= 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transship", required=True, help="the binary, built with --release")
    parser.add_argument("--load", required=True, help="the load generator, built with --release")
    parser.add_argument("--distribution", required=True, help="the registry of distribution 3.1")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=ROWS)
    parser.add_argument("--results", help="also write the tables into this file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small and once: to see that the benchmark itself works")
    parser.add_argument("--folder", help="where the servers' data lies meanwhile (about 60 GiB for all rows)")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="transship-bench-", dir=arguments.folder)
    os.chmod(folder, 0o755)
    try:
        bench = Bench(arguments, folder)
        for row in arguments.rows:
            getattr(bench, row)()
        text = report(bench) + f"\n\n{os.cpu_count()} cores, Linux {platform.release()}.\n"
        print("\n" + text)
        if arguments.results:
            os.makedirs(os.path.dirname(arguments.results), exist_ok=True)
            pathlib.Path(arguments.results).write_text(text)
        return 0
    except Failed as reason:
        print(f"stopped: {reason}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
