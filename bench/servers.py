"""The servers that are measured, each a process on an empty folder, and how requests are sent to them."""
import base64
import contextlib
import json
import os
import pathlib
import secrets
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demo"))
from meters import cpu_seconds  # noqa: E402
from region import Failed, check, free_port  # noqa: E402

REPOSITORY = "bench/app"


def tree(pid):
    """A process and its children: nginx works in a child."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


class Server:
    """A process on a free port, with a folder of its own."""

    headers = ()
    environment = {}
    # A path that answers 200 as soon as requests are taken.
    ready = "/"

    def __init__(self, tools, folder, pinned):
        self.tools, self.folder, self.pinned = tools, folder, pinned
        self.host, self.tls_host = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.process = None

    def start(self):
        command = self.command()
        if self.pinned:
            command = ["taskset", "-c", "0", *command]
        began = time.monotonic()
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                            env={**os.environ, **self.environment})
        while time.monotonic() < began + 30:
            check(self.process.poll() is None, f"{self.name} ended at its start: {self.last_lines()}")
            with contextlib.suppress(OSError), call("GET", f"http://{self.host}{self.ready}"):
                return time.monotonic() - began
            time.sleep(0.005)
        raise Failed(f"{self.name} does not listen")

    def last_lines(self):
        return pathlib.Path(self.folder, "log").read_text(errors="replace")[-1000:]

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def cpu_us(self):
        return 1e6 * sum(cpu_seconds(pid) for pid in tree(self.process.pid))

    def load(self, *arguments, clients=2):
        """Runs the load generator; returns what it printed and the server's CPU for each operation."""
        command = [self.tools.load, "--host", self.host, "--clients", str(clients)]
        if self.pinned:
            command = ["taskset", "-c", "1", *command]
        for header in self.headers:
            command += ["--header", header]
        before = self.cpu_us()
        done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
        check(done.returncode == 0, f"{self.name}: {done.stderr}")
        result = json.loads(done.stdout)
        result["cpu_us"] = (self.cpu_us() - before) / max(result["operations"], 1)
        return result


class Transship(Server):
    name = "transship"
    ready = "/readyz"

    def command(self):
        password = os.path.join(self.folder, "password")
        with open(os.open(password, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(18))
        self.password = pathlib.Path(password).read_text()
        config = os.path.join(self.folder, "transship.toml")
        with open(config, "w") as file:
            file.write(f"""\
[region]
id = "bench-1"
listen = "{self.host}"
listen_tls = "{self.tls_host}"
public_url = "http://{self.host}"
data_dir = "{self.folder}/data"

[tls]
certificate = "{self.tools.certificate}"
private_key = "{self.tools.key}"

[access]
open = true

[bootstrap]
account = "bench"
user = "admin"
password = {{ file = "{password}" }}
""")
        return [self.tools.transship, "serve", "--config", config]


class TransshipWithToken(Transship):
    """The same, with a token on each request, which the region verifies."""

    name = "transship+token"

    def command(self):
        command = super().command()
        config = pathlib.Path(self.folder, "transship.toml")
        config.write_text(config.read_text().replace("open = true", "open = false"))
        return command

    def log_in(self):
        """Makes the organization, and a token for the repository."""
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": "admin", "password": self.password, "domain": {"name": "bench"}}}},
            "scope": {"project": {"name": "bench-1"}}}}
        answer = call("POST", f"http://{self.host}/v3/auth/tokens", body)
        namespace = {"namespace": REPOSITORY.split("/")[0]}
        call("POST", f"http://{self.host}/v2/manage/namespaces", namespace, {"X-Auth-Token": answer.headers["X-Subject-Token"]})
        basic = base64.b64encode(f"bench/admin:{self.password}".encode()).decode()
        url = f"http://{self.host}/swr/auth/v2/registry/auth?service=dockyard&scope=repository:{REPOSITORY}:pull,push"
        token = json.load(call("GET", url, headers={"Authorization": f"Basic {basic}"}))["token"]
        self.headers = (f"Authorization: Bearer {token}",)


class Distribution(Server):
    name = "distribution"
    environment = {"OTEL_TRACES_EXPORTER": "none"}

    def command(self):
        config = os.path.join(self.folder, "config.yml")
        with open(config, "w") as file:
            file.write(f"""\
version: 0.1
log:
  level: info
storage:
  filesystem:
    rootdirectory: {self.folder}/data
http:
  addr: {self.host}
""")
        return [self.tools.distribution, "serve", config]


class Nginx(Server):
    """A file server: what a blob costs if nothing else is done."""

    name = "nginx"

    def command(self):
        os.makedirs(os.path.join(self.folder, "www"), exist_ok=True)
        pathlib.Path(self.folder, "www", "index.html").write_text("ready")
        config = os.path.join(self.folder, "nginx.conf")
        with open(config, "w") as file:
            file.write(f"""\
daemon off;
user root;
worker_processes 1;
pid {self.folder}/pid;
error_log {self.folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {self.folder}/access.log;
    sendfile off;
    output_buffers 2 256k;
    server {{
        listen {self.host};
        listen {self.tls_host} ssl http2;
        ssl_certificate {self.tools.certificate};
        ssl_certificate_key {self.tools.key};
        ssl_protocols TLSv1.3;
        root {self.folder}/www;
    }}
}}
""")
        return ["nginx", "-p", self.folder, "-c", config]


def call(method, url, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    return urllib.request.urlopen(request, timeout=60)


class Tools:
    """The programs and what they share."""

    def __init__(self, arguments, folder):
        self.transship, self.load, self.distribution = (
            os.path.abspath(program) for program in (arguments.transship, arguments.load, arguments.distribution))
        self.certificate, self.key = os.path.join(folder, "tls.pem"), os.path.join(folder, "tls.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", self.key, "-out", self.certificate],
                       check=True, capture_output=True)


def curl(*arguments):
    """Status and seconds of one transfer; the clock is curl's own."""
    command = ["taskset", "-c", "1", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    check(done.returncode == 0, f"curl: {done.stderr}")
    code, seconds = done.stdout.split()
    return int(code), float(seconds)
