"""A receiver of webhooks, as tests see it: what came, and what is answered."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.emulator.harness import Emulator, until


@dataclass(frozen=True)
class Came:
    """One delivery."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def told(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def prefix(self) -> str:
        """What is signed, up to the hash of the body."""
        names = ("request-id", "user-id", "timestamp")
        return "\n".join(self.headers[f"x-fal-webhook-{name}"] for name in names)


class Receiver:
    """Answers each delivery with the next of its `answers`, then with 200."""

    def __init__(self) -> None:
        self.came: list[Came] = []
        self.answers: list[int] = []
        self.pause = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if len(body) < int(self.headers["Content-Length"]):
                    return  # its sender was killed in the middle of it
                headers = {name.lower(): value for name, value in self.headers.items()}
                # Decided before it is shown: whoever sees it may change what the next one is answered.
                code, pause = receiver.answers.pop(0) if receiver.answers else 200, receiver.pause
                receiver.came.append(Came(self.path, headers, body, time.time()))
                time.sleep(pause)
                self.send_response(code)
                if code // 100 == 3:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wait(self, number: int = 1) -> list[Came]:
        """The deliveries, once there are so many."""
        until(lambda: len(self.came) >= number)
        return list(self.came)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def signed_by(emulator: Emulator, came: Came) -> list[int]:
    """Which keys of the JWKS have signed a delivery, by fal's rule for verifying it."""
    keys = httpx.get(f"{emulator.url}/.well-known/jwks.json").json()["keys"]
    message = f"{came.prefix}\n{hashlib.sha256(came.body).hexdigest()}".encode()
    signature = bytes.fromhex(came.headers["x-fal-webhook-signature"])
    return [number for number, key in enumerate(keys) if _verified(key, signature, message)]


def _verified(key: dict[str, str], signature: bytes, message: bytes) -> bool:
    raw = base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True
