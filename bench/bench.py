#!/usr/bin/env python3
"""Push and replication, beside skopeo and docker-registry in the same run. Started by `make bench`.

Two sets of images from tests/tools/make-images.py: `big` is one image of 1 GiB in 4 layers, `many` is 200 tags that
share five layers. Each set goes through both systems, one after the other, in every round:

  transship         push: skopeo copies into the source region      replicate: one sync_images call, and its jobs
  docker-registry   push: skopeo copies into the first registry     replicate: skopeo copy (big) or skopeo sync (many)

Layers travel as they are (--preserve-digests): no time goes into compression. Each step has wall time, the CPU seconds
of every process that took part, and the peak memory (VmHWM) of each server over both steps. The table shows medians.
transship fsyncs what it acknowledges; docker-registry does not, and so has less to do.
"""
import argparse
import json
import os
import pathlib
import platform
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demo"))
import swr  # noqa: E402
from meters import cpu_seconds, status_mib  # noqa: E402
from region import Failed, Region, check, free_port  # noqa: E402

SOURCE, TARGET, NAMESPACE, TARGET_NAMESPACE = "cn-north-4", "cn-north-208", "group", "sdsad"
# The project's memory limit for a region, whatever it moves.
MEMORY_LIMIT_MIB = 64


class Meter:
    """Measures one step: wall time, and CPU of the servers and of the clients that ran in it."""

    def __init__(self, servers):
        self.servers, self.client_cpu_s = servers, 0.0

    def __enter__(self):
        self.before = [cpu_seconds(pid) for pid in self.servers]
        self.started = time.monotonic()
        return self

    def __exit__(self, *_):
        self.wall_s = time.monotonic() - self.started
        self.server_cpu_s = [cpu_seconds(pid) - was for pid, was in zip(self.servers, self.before)]

    def client(self, *command):
        """Runs a client to its end and counts its CPU."""
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        errors = child.stderr.read().decode()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        check(child.returncode == 0, f"{' '.join(command[:2])} failed: {errors}")
        self.client_cpu_s += usage.ru_utime + usage.ru_stime

    def result(self):
        source, target = self.server_cpu_s
        return {"wall_s": self.wall_s, "cpu_s": self.client_cpu_s + source + target, "client_cpu_s": self.client_cpu_s,
                "source_cpu_s": source, "target_cpu_s": target}


class Images:
    """A set of images as an OCI layout."""

    def __init__(self, folder, kind, arguments):
        self.kind, self.layout = kind, os.path.join(folder, kind)
        subprocess.run([sys.executable, ROOT / "tests/tools/make-images.py", kind, self.layout, *arguments], check=True)
        with open(os.path.join(self.layout, "index.json")) as file:
            entries = json.load(file)["manifests"]
        self.digests = {e["annotations"]["org.opencontainers.image.ref.name"]: e["digest"] for e in entries}
        blobs = pathlib.Path(self.layout, "blobs", "sha256")
        self.bytes = sum(blob.stat().st_size for blob in blobs.iterdir())

    def push(self, meter, repository, login):
        credentials = ["--dest-creds", ":".join(login)] if login else []
        for tag in self.digests:
            meter.client("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", *credentials,
                         f"oci:{self.layout}:{tag}", f"docker://{repository}:{tag}")


class Transship:
    """Two regions."""

    name = "transship"

    def __init__(self, binary, folder):
        access_key, secret_key = "BENCH" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30)
        self.source, self.target = (Region(binary, folder, id, access_key, secret_key) for id in (SOURCE, TARGET))
        self.source.trust(self.target)
        self.target.trust(self.source)
        self.regions = (self.source, self.target)

    def start(self):
        for region in self.regions:
            region.start()
        for region, namespace in zip(self.regions, (NAMESPACE, TARGET_NAMESPACE)):
            region.wait_ready()
            status, answer = region.caller.call("POST", "/v2/manage/namespaces", {"namespace": namespace})
            check(status == 201, f"CreateNamespace answered {status}: {answer}")
        return [region.process.pid for region in self.regions]

    def push(self, meter, images):
        images.push(meter, f"{self.source.host}/{NAMESPACE}/{images.kind}", self.source.caller.login)

    def replicate(self, meter, images):
        path = f"/v2/manage/namespaces/{NAMESPACE}/repos/{images.kind}"
        body = {"imageTag": list(images.digests), "override": True, "remoteNamespace": TARGET_NAMESPACE, "remoteRegionId": TARGET}
        status, answer = self.source.caller.call("POST", f"{path}/sync_images", body)
        check(status == 200, f"sync_images answered {status}: {answer}")
        # Tags in the answer mean that the wait ended first. Their jobs continue in the background, and report how they end.
        while True:
            _, jobs = self.source.caller.call("GET", f"{path}/sync_job", query={"filter": "limit::1000|offset::0|order::desc"})
            states = [job["status"] for job in jobs]
            check(not {"failed", "timeout", "cancel"} & set(states), f"jobs ended badly: {states}")
            if states.count("success") == len(images.digests):
                return
            time.sleep(0.2)

    def digest(self, images, tag):
        return self.target.caller.digest(f"{TARGET_NAMESPACE}/{images.kind}", tag)

    def stop(self):
        for region in self.regions:
            region.stop()


class DockerRegistry:
    """Two registries of Debian's docker-registry package, with skopeo between them."""

    name = "docker-registry + skopeo"

    def __init__(self, _binary, folder):
        self.folder, self.processes = folder, []
        self.hosts = [f"127.0.0.1:{free_port()}" for _ in range(2)]

    def start(self):
        for number, host in enumerate(self.hosts):
            config = os.path.join(self.folder, f"registry{number}.yml")
            with open(config, "w") as file:
                file.write(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: "
                           f"{{rootdirectory: {self.folder}/registry{number}}}}}\nhttp: {{addr: '{host}'}}\n")
            self.processes.append(subprocess.Popen(["docker-registry", "serve", config], stdin=subprocess.DEVNULL,
                                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for host in self.hosts:
            for _ in range(100):
                try:
                    if swr.send("GET", f"http://{host}/v2/", {})[0] == 200:
                        break
                except urllib.error.URLError:
                    time.sleep(0.1)
            else:
                raise Failed(f"docker-registry does not answer at {host}")
        return [process.pid for process in self.processes]

    def push(self, meter, images):
        images.push(meter, f"{self.hosts[0]}/{NAMESPACE}/{images.kind}", None)

    def replicate(self, meter, images):
        plain = ("--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false")
        here = f"{self.hosts[0]}/{NAMESPACE}/{images.kind}"
        if len(images.digests) == 1:
            tag = next(iter(images.digests))
            there = f"docker://{self.hosts[1]}/{TARGET_NAMESPACE}/{images.kind}:{tag}"
            meter.client("skopeo", "copy", "--quiet", *plain, f"docker://{here}:{tag}", there)
        else:
            meter.client("skopeo", "sync", *plain, "--src", "docker", "--dest", "docker", here, f"{self.hosts[1]}/{TARGET_NAMESPACE}")

    def digest(self, images, tag):
        url = f"http://{self.hosts[1]}/v2/{TARGET_NAMESPACE}/{images.kind}/manifests/{tag}"
        status, headers, _ = swr.send("HEAD", url, {"Accept": swr.MANIFESTS})
        return headers["Docker-Content-Digest"] if status == 200 else None

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait()


def measure(system, binary, images, folder):
    """Runs one round of one system with fresh servers. Returns what push and replication took, and the servers' peak memory."""
    with tempfile.TemporaryDirectory(prefix="round-", dir=folder) as place:
        it = system(binary, place)
        try:
            servers = it.start()
            with Meter(servers) as push:
                it.push(push, images)
            with Meter(servers) as replicate:
                it.replicate(replicate, images)
            for tag, digest in images.digests.items():
                there = it.digest(images, tag)
                check(there == digest, f"{it.name}: {tag} is {there} in the target, not {digest}")
            peaks = [status_mib(pid, "VmHWM") for pid in servers]
        finally:
            it.stop()
    return {"push": push.result(), "replicate": replicate.result(), "peaks_mib": peaks}


def middle(rounds, step, field):
    return statistics.median(r[step][field] for r in rounds)


def table(images, results):
    """The rows of one set of images, as Markdown."""
    lines = [
        f"### `{images.kind}`: {len(images.digests)} tag{'s'[: len(images.digests) > 1]}, {images.bytes / 2**20:.0f} MiB of distinct bytes", "",
        "| step | system | wall s | MiB/s | CPU s | of it client | source | target | peak source MiB | peak target MiB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for step in ("push", "replicate"):
        for name, rounds in results.items():
            wall = middle(rounds, step, "wall_s")
            cpu = " | ".join(f"{middle(rounds, step, field):.2f}" for field in ("cpu_s", "client_cpu_s", "source_cpu_s", "target_cpu_s"))
            peaks = " | ".join(f"{max(r['peaks_mib'][n] for r in rounds):.1f}" for n in (0, 1))
            lines.append(f"| {step} | {name} | {wall:.2f} | {images.bytes / 2**20 / wall:.0f} | {cpu} | {peaks} |")
    return lines


def verdicts(sets):
    """The bars that must hold: (sentence, holds)."""
    for images, results in sets:
        ours, theirs = results[Transship.name], results[DockerRegistry.name]
        peak = max(max(r["peaks_mib"]) for r in ours)
        yield f"{images.kind}: peak memory of a region {peak:.1f} MiB, at most {MEMORY_LIMIT_MIB}", peak <= MEMORY_LIMIT_MIB
        mine, other = middle(ours, "replicate", "wall_s"), middle(theirs, "replicate", "wall_s")
        yield f"{images.kind}: replication {mine:.2f} s, skopeo {other:.2f} s", mine <= other


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip().split("\n")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transship", required=True, help="the binary, built with --release")
    parser.add_argument("--results", help="also write the table into this file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small sets, one round: to see that the benchmark itself works")
    parser.add_argument("--folder", help="where images and registries are kept meanwhile (about 8 GiB)")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    kinds = [("big", ["--layer-mib", "16"]), ("many", ["--tags", "10"])] if arguments.quick else [("big", []), ("many", [])]

    folder = tempfile.mkdtemp(prefix="transship-bench-", dir=arguments.folder)
    try:
        sets = []
        for kind, options in kinds:
            print(f"making the images of '{kind}'", flush=True)
            images = Images(folder, kind, options)
            results = {Transship.name: [], DockerRegistry.name: []}
            for number in range(rounds):
                # The order changes from round to round, so that a warm cache favours no system.
                systems = (Transship, DockerRegistry) if number % 2 == 0 else (DockerRegistry, Transship)
                for system in systems:
                    print(f"{kind}, round {number + 1} of {rounds}: {system.name}", flush=True)
                    results[system.name].append(measure(system, arguments.transship, images, folder))
            sets.append((images, results))
            shutil.rmtree(images.layout)
        lines = [
            f"{os.cpu_count()} cores, Linux {platform.release()}, {first_line(arguments.transship, '--version')}, "
            f"{first_line('skopeo', '--version')}, docker-registry {first_line('docker-registry', '--version').split()[-1]}. "
            f"Medians of {rounds} round{'s'[: rounds > 1]}; peaks are the highest of all rounds.", "",
        ]
        for images, results in sets:
            lines += [*table(images, results), ""]
        held = True
        for sentence, holds in verdicts(sets):
            lines.append(f"- {'holds' if holds else 'DOES NOT HOLD'}: {sentence}")
            held = held and holds
        text = "\n".join(lines) + "\n"
        print("\n" + text)
        if arguments.results:
            os.makedirs(os.path.dirname(arguments.results), exist_ok=True)
            with open(arguments.results, "w") as file:
                file.write(text)
            print(f"written to {arguments.results}")
        return 0 if held else 1
    except Failed as reason:
        print(f"stopped: {reason}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
