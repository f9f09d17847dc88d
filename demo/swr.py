"""The management and registry calls of the demo, with nothing but Python's own library.

The signature is SDK-HMAC-SHA256 as the hosted service's SDKs make it (contract 7.2), the registry login the one that
follows from an access key (contract 7.5).
"""
import base64
import datetime
import hashlib
import hmac
import json
import re
import urllib.error
import urllib.parse
import urllib.request

MANIFESTS = ", ".join([
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
])
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def send(method, url, headers, body=None):
    """One exchange: (status, headers, body)."""
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with OPENER.open(request, timeout=120) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


class Caller:
    """One region for the owner of an access key."""

    def __init__(self, region, host, access_key, secret_key):
        self.region, self.host, self.access_key, self.secret_key = region, host, access_key, secret_key

    def hmac(self, message):
        return hmac.new(self.secret_key.encode(), message.encode(), hashlib.sha256).hexdigest()

    @property
    def login(self):
        """User and password for docker, skopeo and the rest."""
        return f"{self.region}@{self.access_key}", self.hmac(self.access_key)

    def call(self, method, path, body=None, query=None):
        """A signed call: (status, JSON of the answer)."""
        raw = b"" if body is None else json.dumps(body).encode()
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        pairs = sorted((query or {}).items())
        text = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in pairs)
        canonical = "\n".join([method, urllib.parse.quote(path, safe="/-_.~") + "/", text, f"host:{self.host}",
                               f"x-sdk-date:{date}", "", "host;x-sdk-date", hashlib.sha256(raw).hexdigest()])
        signature = self.hmac(f"SDK-HMAC-SHA256\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}")
        headers = {
            "X-Sdk-Date": date, "Content-Type": "application/json",
            "Authorization": f"SDK-HMAC-SHA256 Access={self.access_key}, SignedHeaders=host;x-sdk-date, Signature={signature}",
        }
        url = f"http://{self.host}{path}" + (f"?{text}" if text else "")
        status, _, answer = send(method, url, headers, raw or None)
        return status, json.loads(answer) if answer else None

    def jobs(self, namespace, repository):
        """The replication jobs of a repository, newest first."""
        status, jobs = self.call("GET", f"/v2/manage/namespaces/{namespace}/repos/{repository}/sync_job",
                                 query={"filter": "limit::100|offset::0|order::desc"})
        if status != 200:
            raise RuntimeError(f"sync_job answered {status}: {jobs}")
        return jobs

    def digest(self, repository, tag):
        """The digest a tag points at."""
        _, headers, _ = send("GET", f"http://{self.host}/v2/", {})
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', headers["WWW-Authenticate"]))
        query = urllib.parse.urlencode({"service": challenge["service"], "scope": f"repository:{repository}:pull"})
        basic = base64.b64encode(":".join(self.login).encode()).decode()
        _, _, answer = send("GET", f"{challenge['realm']}?{query}", {"Authorization": f"Basic {basic}"})
        bearer = {"Authorization": "Bearer " + json.loads(answer)["token"], "Accept": MANIFESTS}
        status, headers, _ = send("HEAD", f"http://{self.host}/v2/{repository}/manifests/{tag}", bearer)
        return headers["Docker-Content-Digest"] if status == 200 else None
