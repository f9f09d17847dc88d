#!/usr/bin/env python3
"""Shows the main job, end to end: two regions, a real push, one call, and the image is there.

Started by `make demo`, which builds what it needs. Every step says what it did and checks it; the last line says what
was proved. Exit code 0 only when everything was. Nothing is left running, unless --keep.
"""
import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import images
import wire
from region import Failed, Region, check, run

SOURCE, TARGET = "cn-north-4", "cn-north-208"
NAMESPACE, REPOSITORY, TARGET_NAMESPACE = "group", "hello", "sdsad"  # as the sample has them


def step(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def show(text):
    print("  " + str(text).replace("\n", "\n  "), flush=True)


class Skopeo:
    """Pushes and pulls with skopeo, from and to OCI image layouts."""

    name = "skopeo"

    def __init__(self, folder):
        self.folder = folder
        self.layout = images.Layout(os.path.join(folder, "images"))

    def push(self, region, tag, tars):
        build = f"build{len(self.layout.entries)}"
        self.layout.add(build, tars)
        run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--dest-creds", ":".join(region.caller.login),
            f"oci:{self.layout.folder}:{build}", f"docker://{region.host}/{NAMESPACE}/{REPOSITORY}:{tag}")

    def run(self, region, tag):
        """Pulls from the target, checks every byte, and runs the program: (digest, what it printed)."""
        pulled = tempfile.mkdtemp(prefix="pulled-", dir=self.folder)
        run("skopeo", "copy", "--quiet", "--src-tls-verify=false", "--src-creds", ":".join(region.caller.login),
            f"docker://{region.host}/{TARGET_NAMESPACE}/{REPOSITORY}:{tag}", f"oci:{pulled}/layout:{tag}")
        root = os.path.join(pulled, "root")
        digest = images.unpack(os.path.join(pulled, "layout"), tag, root)
        return digest, run(os.path.join(root, "hello"), os.path.join(root, "message"))


class Docker:
    """Pushes, pulls and runs with the docker engine that answers."""

    name = "docker"

    def __init__(self, folder, regions):
        self.archive = os.path.join(folder, "image.tar")
        self.config = os.path.join(folder, "docker")  # the user's own logins stay as they are
        self.names = set()
        self.environment = {**os.environ, "DOCKER_CONFIG": self.config}
        for region in regions:
            user, password = region.caller.login
            self.docker("login", "--username", user, "--password", password, region.host)

    def docker(self, *arguments):
        return run("docker", *arguments, env=self.environment)

    def push(self, region, tag, tars):
        name = f"{region.host}/{NAMESPACE}/{REPOSITORY}:{tag}"
        images.docker_archive(self.archive, name, tars)
        self.docker("load", "--quiet", "--input", self.archive)
        self.names.add(name)
        self.docker("push", "--quiet", name)

    def run(self, region, tag):
        name = f"{region.host}/{TARGET_NAMESPACE}/{REPOSITORY}"
        for old in self.names:  # so that the layers come from the target and not from the engine's own store
            subprocess.run(["docker", "rmi", "--force", old], capture_output=True, env=self.environment)
        self.names.clear()
        self.docker("pull", "--quiet", f"{name}:{tag}")
        self.names.add(f"{name}:{tag}")
        digests = self.docker("inspect", "--format", '{{join .RepoDigests "\\n"}}', f"{name}:{tag}").split("\n")
        digest = next((d.split("@")[1] for d in digests if d.startswith(name + "@")), None)
        return digest, self.docker("run", "--rm", "--network", "none", f"{name}:{tag}")

    def close(self):
        for name in self.names:
            subprocess.run(["docker", "rmi", "--force", name], capture_output=True, env=self.environment)


def choose_client(folder, regions):
    """docker where an engine answers and can reach the regions, otherwise skopeo."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        try:
            return Docker(folder, regions)
        except Failed as reason:
            show(f"the docker engine cannot log in to a region here, so skopeo it is: {str(reason).splitlines()[-1]}")
    return Skopeo(folder)


def sync(caller, tag, override):
    """sync_images as it goes over the wire: the array of the answer."""
    body = {"imageTag": [tag], "override": override, "remoteNamespace": TARGET_NAMESPACE, "remoteRegionId": TARGET}
    status, answer = caller.call("POST", f"/v2/manage/namespaces/{NAMESPACE}/repos/{REPOSITORY}/sync_images", body)
    show(f"POST …/sync_images {json.dumps(body)}\n-> {status} {json.dumps(answer)}")
    check(status == 200, f"sync_images answered {status}: {answer}")
    return answer


def last_job(caller, tag):
    job = next((j for j in caller.jobs(NAMESPACE, REPOSITORY) if j["tag"] == tag), None)
    check(job is not None, f"no job for {tag} in sync_job")
    show(f"job {job['id']}: {NAMESPACE}/{REPOSITORY}:{tag} -> {job['remoteRegionId']} {job['remoteNamespace']}: {job['status']}")
    return job["status"]


def both_digests(source, target, tag):
    """Shows what the tag points at in both regions, as pairs of digests."""
    pair = (source.caller.digest(f"{NAMESPACE}/{REPOSITORY}", tag), target.caller.digest(f"{TARGET_NAMESPACE}/{REPOSITORY}", tag))
    show(f"{SOURCE:<13} {NAMESPACE + '/' + REPOSITORY}:{tag:<3} {pair[0]}")
    show(f"{TARGET:<13} {TARGET_NAMESPACE + '/' + REPOSITORY}:{tag:<3} {pair[1]}")
    return pair


def run_sample(source):
    """The printed Python sample on the real SDK, pointed at our region by its own environment variables.

    Gives back what the region answered to sync_images."""
    sample = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample.py")
    with wire.Wire(source.host) as between:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HUAWEICLOUD_", "CLOUD_SDK_"))},
            "CLOUD_SDK_AK": source.caller.access_key, "CLOUD_SDK_SK": source.caller.secret_key,
            "HUAWEICLOUD_SDK_REGION_SWR_" + SOURCE.upper().replace("-", "_"): between.url,
            "HUAWEICLOUD_SDK_IAM_ENDPOINT": between.url,
        }
        printed = run(sys.executable, sample, env=environment)
    show(f"the sample printed: {printed}   (the SDK's way to show an empty list)")
    for method, path, status, body in between.seen:
        show(f"{method} {path}\n-> {status} {body if path.endswith('/sync_images') else '…'}")
    answers = [(status, body) for _, path, status, body in between.seen if path.endswith("/sync_images")]
    check(len(answers) == 1, f"the sample called sync_images {len(answers)} times")
    return answers[0]


def prove(source, target, client, hello):
    first, second = "hello from the first image\n", "hello from the second image\n"

    step("1. organizations: group in the source, sdsad in the target")
    for region, namespace in ((source, NAMESPACE), (target, TARGET_NAMESPACE)):
        status, answer = region.caller.call("POST", "/v2/manage/namespaces", {"namespace": namespace})
        check(status == 201, f"CreateNamespace answered {status}: {answer}")
        show(f"{region.id}: {namespace}")

    step(f"2. push two images that share a layer, with {client.name}")
    client.push(source, "V1", images.hello_layers(hello, first))
    client.push(source, "V2", images.hello_layers(hello, second))
    digests = {tag: source.caller.digest(f"{NAMESPACE}/{REPOSITORY}", tag) for tag in ("V1", "V2")}
    for tag, digest in digests.items():
        check(digest is not None, f"{tag} was pushed and is not there")
        show(f"{source.host}/{NAMESPACE}/{REPOSITORY}:{tag}  {digest}")

    step("3. the printed sample, through the real Python SDK")
    status, body = run_sample(source)
    check((status, body) == (200, "[]"), f"the region answered {status} {body}")
    check(last_job(source.caller, "V1") == "success", "the job of V1 did not succeed")
    here, there = both_digests(source, target, "V1")
    check(here == there == digests["V1"], "V1 is not the same in both regions")

    step("4. the same call once more: the target has the image, nothing is sent")
    check(sync(source.caller, "V1", True) == [], "the answer is not []")
    check(last_job(source.caller, "V1") == "existed", "the second job did not find the image there")

    step(f"5. pull from the target with {client.name}, verify, run")
    digest, printed = client.run(target, "V1")
    check(digest == digests["V1"], f"pulled {digest}, not {digests['V1']}")
    check(printed == first.strip(), f"the program printed {printed!r}")
    show(f"{digest}, every part matches its digest\nand it says: {printed}")

    step("6. move V1 at the source to the second image; override=false is refused")
    client.push(source, "V1", images.hello_layers(hello, second))
    check(sync(source.caller, "V1", False) == ["V1"], "override=false was not refused")
    check(last_job(source.caller, "V1") == "failed", "the refused job is not marked as failed")
    here, there = both_digests(source, target, "V1")
    check(here == digests["V2"] and there == digests["V1"], "the target was changed, or the source was not")

    step("7. override=true is accepted")
    check(sync(source.caller, "V1", True) == [], "override=true was not accepted")
    check(last_job(source.caller, "V1") == "success", "the job of the moved V1 did not succeed")
    here, there = both_digests(source, target, "V1")
    check(here == there == digests["V2"], "the moved V1 is not the same in both regions")
    digest, printed = client.run(target, "V1")
    check(digest == digests["V2"] and printed == second.strip(), f"the target gave {digest}, which says {printed!r}")
    show(f"and it says: {printed}")


def print_next_steps(source, target, folder):
    user, password = source.caller.login
    their_user, their_password = target.caller.login
    registry, remote = f"{source.host}/{NAMESPACE}/{REPOSITORY}", f"{target.host}/{TARGET_NAMESPACE}/{REPOSITORY}"
    iam = f"http://{source.host}"
    print(f"""
Both regions are up. To go on by hand:

  skopeo login --tls-verify=false -u {user} -p {password} {source.host}
  skopeo login --tls-verify=false -u {their_user} -p {their_password} {target.host}
  skopeo copy --src-tls-verify=false --dest-tls-verify=false docker://{registry}:V2 docker://{registry}:V3
  skopeo inspect --tls-verify=false docker://{remote}:V1

  export CLOUD_SDK_AK={source.caller.access_key} CLOUD_SDK_SK={source.caller.secret_key}
  export HUAWEICLOUD_SDK_REGION_SWR_CN_NORTH_4={iam} HUAWEICLOUD_SDK_IAM_ENDPOINT={iam}
  {sys.executable} demo/sample.py

  logs: {source.log} and {target.log}
  stop: kill {source.process.pid} {target.process.pid} && rm -r {folder}
""")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transship", required=True, help="the binary")
    parser.add_argument("--hello", required=True, help="the static program for the image")
    parser.add_argument("--keep", action="store_true", help="leave both regions up")
    arguments = parser.parse_args()
    with open(arguments.hello, "rb") as file:
        hello = file.read()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    started = time.monotonic()
    folder = tempfile.mkdtemp(prefix="transship-demo-")
    access_key, secret_key = "DEMO" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30)
    source = target = client = None
    keep = False
    try:
        source, target = (Region(arguments.transship, folder, id, access_key, secret_key) for id in (SOURCE, TARGET))
        source.trust(target)
        target.trust(source)
        step(f"two regions, each with SQLite and a directory, in {folder}")
        for region in (source, target):
            region.start()
        for region in (source, target):
            region.wait_ready()
            show(f"{region.id:<13} http://{region.host}")
        client = choose_client(folder, (source, target))
        prove(source, target, client, hello)
        keep = arguments.keep
        if keep:
            print_next_steps(source, target, folder)
        print(f"\nproved in {time.monotonic() - started:.1f} s: an image pushed with {client.name} to {SOURCE} went to {TARGET} by one "
              "SDK call, byte for byte; it runs from there; a different image is replaced only with override")
        return 0
    except Failed as reason:
        print(f"\nnot proved: {reason}", file=sys.stderr)
        for region in filter(None, (source, target)):
            if os.path.exists(region.log):
                print(f"\nthe end of the log of {region.id}:\n{region.last_lines()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if isinstance(client, Docker):
            client.close()
        if not keep:
            for region in filter(None, (source, target)):
                region.stop()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
