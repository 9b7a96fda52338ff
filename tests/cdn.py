"""A CDN on a real socket, byte by byte, and a fal that sells what lies on it."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.recorded_fal import Post, Recorded, RecordedFal, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Answer: TypeAlias = Callable[[BaseHTTPRequestHandler], None]


class Cdn(ThreadingHTTPServer):
    """A CDN on a real socket: a list of answers for each path, of which the last one stays.

    Attributes:
        seen: how often each path was asked for.
    """

    daemon_threads = True

    def __init__(self, answers: Mapping[str, Sequence[Answer]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.seen = answers, Counter[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no fault of a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Cdn

    def do_GET(self) -> None:
        path = self.path.rpartition("/")[2]
        answers = self.server.answers[path]
        self.server.seen[path] += 1
        answers[min(self.server.seen[path], len(answers)) - 1](self)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


def whole(data: bytes, content_type: str = "image/png", *, length: int | None = None, **headers: str) -> Answer:
    """An answer with its length."""

    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Content-Type", content_type)
        to.send_header("Content-Length", str(len(data) if length is None else length))
        for name, text in headers.items():
            to.send_header(name.replace("_", "-"), text)
        to.end_headers()
        to.wfile.write(data)
        to.close_connection = length is not None

    return answer


def reset(data: bytes, length: int) -> Answer:
    """An answer whose connection is reset before its length is reached."""

    def answer(to: BaseHTTPRequestHandler) -> None:
        whole(data, length=length)(to)
        to.wfile.flush()
        to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


def chunked(data: bytes, end: bytes) -> Answer:
    """An answer in chunks, with this end."""

    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Transfer-Encoding", "chunked")
        to.end_headers()
        to.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) + end)
        to.close_connection = True

    return answer


def until_it_closes(data: bytes) -> Answer:
    """An answer without a length: whoever reads it cannot tell that it is cut."""

    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Connection", "close")
        to.end_headers()
        to.wfile.write(data)
        to.close_connection = True

    return answer


class Shop(RecordedFal):
    """fal whose images lie on a CDN: the row whose prompt is `n` gets what the result says of file `n`."""

    def __init__(self, files: list[dict[str, Any]]) -> None:
        super().__init__({}, {})
        self.named = files

    def accept(self, post: Post) -> Recorded:
        output = {"images": [self.named[int(post.prompt)]]}
        known = super().accept(post)
        known.result = {**known.result, "body": output}
        known.history = {**(known.history or {}), "json_output": output}
        return known


@contextmanager
def shop(
    answers: Mapping[str, Sequence[Answer]], told: Mapping[str, dict[str, Any]] | None = None
) -> Iterator[tuple[Shop, Cdn]]:
    """A CDN with these answers, and a fal that sells them in their order; `told`: what a result says of each."""
    named = {name.replace(" ", "_"): found for name, found in answers.items()}
    with Cdn(named) as cdn:
        thread = threading.Thread(target=cdn.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        files = [{"url": f"{cdn.url}/{name.replace(' ', '_')}", **((told or {}).get(name) or {})} for name in answers]
        try:
            fal = Shop(files)
            with serving(fal):
                yield fal, cdn
        finally:
            cdn.shutdown()
            thread.join(20)


def gone(to: BaseHTTPRequestHandler) -> None:
    """The CDN has it no more."""
    to.send_response(404)
    to.send_header("Content-Length", "0")
    to.end_headers()
