"""Regions as processes, for the demo and the benchmark: configuration, start, stop."""
import contextlib
import os
import secrets
import shlex
import socket
import subprocess
import time
import urllib.error

import swr


class Failed(Exception):
    """Something was not as it must be; the text says what."""


def check(true, otherwise):
    if not true:
        raise Failed(otherwise)


def run(*command, **options):
    """Runs a command that must succeed; gives back what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, **options)
    check(done.returncode == 0, f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Region:
    """A `transship serve` process with a folder of its own."""

    def __init__(self, binary, folder, id, access_key, secret_key):
        self.binary, self.id = os.path.abspath(binary), id
        self.folder = os.path.join(folder, id)
        os.makedirs(self.folder)
        self.host = f"127.0.0.1:{free_port()}"
        self.config, self.log = os.path.join(self.folder, "transship.toml"), os.path.join(self.folder, "log")
        self.process = None
        self.caller = swr.Caller(id, self.host, access_key, secret_key)
        for name, value in (("password", secrets.token_urlsafe(18)), ("secret-key", secret_key)):
            with open(os.open(os.path.join(self.folder, name), os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
                file.write(value)
        with open(self.config, "w") as file:
            file.write(f"""\
[region]
id = "{id}"
listen = "{self.host}"
public_url = "http://{self.host}"
data_dir = "{self.folder}/data"

[bootstrap]
account = "demo"
user = "admin"
password = {{ file = "{self.folder}/password" }}
access_key = "{access_key}"
secret_key = {{ file = "{self.folder}/secret-key" }}
""")

    def trust(self, other):
        """Makes another region known, with the key that it proves itself by."""
        key = run(other.binary, "region-key", "--config", other.config)
        with open(self.config, "a") as file:
            file.write(f'\n[[peer]]\nid = "{other.id}"\nkind = "transship"\nurl = "http://{other.host}"\npublic_key = "{key}"\n'
                       "administrators = true   # the demo has no other user\n")

    def start(self):
        with open(self.log, "wb") as log:
            # Apart from the terminal: Ctrl-C ends the demo, and the demo ends the region.
            self.process = subprocess.Popen([self.binary, "serve", "--config", self.config], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=self.folder, start_new_session=True)

    def wait_ready(self):
        for _ in range(300):
            check(self.process.poll() is None, f"region {self.id} ended at its start:\n{self.last_lines()}")
            with contextlib.suppress(urllib.error.URLError, OSError):
                if swr.send("GET", f"http://{self.host}/readyz", {})[0] == 200:
                    return
            time.sleep(0.1)
        raise Failed(f"region {self.id} is not ready after 30 s:\n{self.last_lines()}")

    def last_lines(self):
        with open(self.log, errors="replace") as file:
            return "".join(file.readlines()[-15:])

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=35)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
