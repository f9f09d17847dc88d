"""Stands between the SDK and a region, passes every request on as it is, and remembers what was answered.

The SDK shows an empty list as `{}`; what the region really said is on the wire.
"""
import http.server
import threading
import urllib.error
import urllib.request

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Wire:
    """A relay to `host`, at `url` while the `with` block runs. `seen` has (method, path, status, body) of each exchange."""

    def __init__(self, host):
        self.seen = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler(host))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def handler(self, host):
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                # The Host header stays the SDK's: it is part of what was signed.
                request = urllib.request.Request(f"http://{host}{self.path}", data=body or None, headers=dict(self.headers),
                                                 method=self.command)
                try:
                    answer = OPENER.open(request, timeout=120)
                except urllib.error.HTTPError as refusal:
                    answer = refusal
                with answer:
                    data = answer.read()
                seen.append((self.command, self.path, answer.status, data.decode()))
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = pass_on

            def log_message(self, *_):
                pass

        return Handler

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
