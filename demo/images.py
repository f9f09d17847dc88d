"""Makes the demo's images: real, runnable, with a program of our own and nothing else in them.

Two layers each, as tar+gzip: the program, and a message that it prints. Both images share the program's layer.
Written once as an OCI image layout (for skopeo) and once as a docker archive (for `docker load`).

    images.py ARCHIVE NAME PROGRAM MESSAGE      writes a docker archive of an image called NAME
"""
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_tar(files):
    """A tar of {name: (mode, bytes)}, the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (mode, data) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def config_of(tars):
    return json.dumps({
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
        "config": {"Cmd": ["/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
    }).encode()


class Layout:
    """An OCI image layout in a folder."""

    def __init__(self, folder):
        self.folder, self.entries = folder, []
        os.makedirs(os.path.join(folder, "blobs", "sha256"))

    def put(self, data, media_type):
        digest = digest_of(data)
        with open(os.path.join(self.folder, "blobs", "sha256", digest.split(":")[1]), "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def add(self, tag, tars):
        """Adds an image of these layers under a tag; gives back the manifest's digest."""
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": IMAGE, "config": self.put(config_of(tars), CONFIG),
            "layers": [self.put(gzip.compress(tar, mtime=0), LAYER) for tar in tars],
        }).encode()
        entry = self.put(manifest, IMAGE)
        self.entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag}})
        with open(os.path.join(self.folder, "oci-layout"), "w") as file:
            json.dump({"imageLayoutVersion": "1.0.0"}, file)
        with open(os.path.join(self.folder, "index.json"), "w") as file:
            json.dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}, file)
        return entry["digest"]


def docker_archive(path, name, tars):
    """What `docker load` reads: an image called `name`."""
    config = config_of(tars)
    files = {"config.json": (0o644, config)}
    layers = []
    for number, tar in enumerate(tars):
        layers.append(f"{number}/layer.tar")
        files[layers[-1]] = (0o644, tar)
    files["manifest.json"] = (0o644, json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": layers}]).encode())
    with open(path, "wb") as file:
        file.write(layer_tar(files))


def unpack(layout, tag, folder):
    """Unpacks the image of a layout into a folder and checks every part against its digest; gives back the manifest's."""
    def blob(descriptor):
        with open(os.path.join(layout, "blobs", "sha256", descriptor["digest"].split(":")[1]), "rb") as file:
            data = file.read()
        if digest_of(data) != descriptor["digest"] or len(data) != descriptor["size"]:
            raise ValueError(f"{descriptor['digest']} holds other bytes")
        return data

    with open(os.path.join(layout, "index.json")) as file:
        entries = json.load(file)["manifests"]
    entry = next(e for e in entries if e["annotations"]["org.opencontainers.image.ref.name"] == tag)
    manifest = json.loads(blob(entry))
    blob(manifest["config"])
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blob(layer))) as tar:
            tar.extractall(folder)
    return entry["digest"]


def hello_layers(program, message):
    """The two layers: the program, and what it prints."""
    return [layer_tar({"hello": (0o755, program)}), layer_tar({"message": (0o644, message.encode())})]


if __name__ == "__main__":
    path, name, program, message = sys.argv[1:]
    with open(program, "rb") as file:
        docker_archive(path, name, hello_layers(file.read(), message))
