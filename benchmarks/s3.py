"""An S3 server that counts what is written to it: moto's, in a process of its own. `python -m benchmarks.s3`.

`GET /count` of the second port it prints tells: by method and kind of object (`images`, `receipts`, ...).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

BUCKET = "bucket"
WRITES = ("PUT", "POST", "DELETE")


@dataclass(frozen=True)
class CountingS3:
    """It runs; `env` has a worker use it."""

    url: str
    counter: str

    @property
    def env(self) -> dict[str, str]:
        """The environment of its clients."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def count(self) -> Counter[str]:
        """Calls so far, by method and kind of object."""
        with urllib.request.urlopen(f"{self.counter}/count") as answer:
            return Counter(json.load(answer))


@contextmanager
def counting_s3() -> Iterator[CountingS3]:
    """The server, with an empty bucket."""
    command = [sys.executable, "-m", "benchmarks.s3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        ports = process.stdout.readline().split() if process.stdout else []
        url, counter = (f"http://127.0.0.1:{port}" for port in ports)
        make = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
        urllib.request.urlopen(make).close()
        yield CountingS3(url, counter)
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def kind_of(method: str, path: str) -> str:
    """`PUT images`, `GET receipts`: the third part of `/bucket/<dataset>/<kind>/...`."""
    parts = path.strip("/").split("/")
    return f"{method} {parts[2] if len(parts) > 2 else ''}".strip()


def main() -> None:
    """Serve until the process ends."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    from tests.s3_server import put_one_at_a_time

    put_one_at_a_time()
    calls, lock = Counter[str](), threading.Lock()
    inner = DomainDispatcherApplication(create_backend_app)

    def counted(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            calls[kind_of(environ["REQUEST_METHOD"], environ["PATH_INFO"])] += 1
        answer: Iterable[bytes] = inner(environ, start)
        return answer

    class Count(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                body = json.dumps(calls).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server, counter = make_server("127.0.0.1", 0, counted, threaded=True), HTTPServer(("127.0.0.1", 0), Count)
    threading.Thread(target=counter.serve_forever, daemon=True).start()
    print(server.server_port, counter.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
