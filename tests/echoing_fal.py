"""A stand-in for fal that repeats the key, and what controls a terminal, in every text that it may.

What it does with a request, the prompt says: `refused`, `failed`, `links`, `rejected`, `lost`, `moved`, `ids`,
`headers`, `broken`, `pictures`; anything else is made as usual. `mode` bends everything at once: `unauthorized`,
`locked`, `meta`, `storage`.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import JSONResponse, RedirectResponse, Response

from tests.recorded_fal import ORIGIN, Json, Post, Recorded, RecordedFal, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

ID, SECRET = "keyid-7f3a9c2e41d0", "5b8d1e6f0a92c7d4e8f1"
KEY = f"{ID}:{SECRET}"
ESCAPES = "\x1b]0;title\x07\x1b[2J\u202ereversed\u2066"
FORBIDDEN = [
    ID, SECRET, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode().rstrip("="),
    base64.b64encode(SECRET.encode()).decode().rstrip("="), SECRET.upper(),
]  # fmt: skip
WORDS = f"Authorization: Key {KEY}; {quote(KEY, safe='')} {SECRET} {SECRET.upper()} {FORBIDDEN[3]} {ESCAPES}"


class EchoingFal(RecordedFal):
    """The stand-in. `mode`: what it does to everything."""

    def __init__(self) -> None:
        super().__init__({}, {}, ORIGIN)
        self.mode = ""
        self.steer = self._bend

    @property
    def env(self) -> dict[str, str]:
        return {"FAL_KEY": KEY, "FAL_BASE_URL": self.url}

    def _bend(self, request: Request) -> Response | None:
        path, has_key = request.url.path, "authorization" in request.headers
        if self.mode == "unauthorized" and has_key:
            return self._says(401, WORDS)
        if self.mode == "meta" and path == "/v1/meta":
            return JSONResponse({"emulator": {"id": SECRET}})
        if path == "/v1/models":
            about = {"endpoint_id": request.query_params.get("endpoint_id"), "metadata": {"status": WORDS}}
            document = {"paths": {}, "info": {"description": WORDS}}
            return JSONResponse({"models": [{**about, "openapi": document}], "has_more": False})
        if path == "/v1/models/pricing":
            return JSONResponse({"prices": [{"endpoint_id": WORDS, "currency": WORDS, "unit_price": WORDS}]})
        if path.startswith("/storage") or path == "/files/upload":
            return self._storage(path)
        return None

    def _storage(self, path: str) -> Response | None:
        if self.mode != "storage":
            return None
        if path == "/files/upload":
            return JSONResponse({"access_url": f"{self.url}/files/{SECRET}.png"})
        return self._says(500, WORDS)

    def _says(self, code: int, words: str, **headers: str) -> Response:
        body = {"detail": words, "error_type": words, "error": words, "request_id": SECRET}
        return JSONResponse(body, code, {"X-Fal-Error-Type": _ascii(words), "X-Echo": _ascii(words), **headers})

    def reject(self, post: Post) -> Response | None:
        if self.mode == "locked":
            return self._says(403, f"User is locked. {WORDS}")
        if "rejected" in post.prompt:
            return self._says(422, WORDS)
        if "lost" in post.prompt:
            self.posts.append(post)
            return Response(WORDS.encode(), 502, {"X-Fal-Request-Id": SECRET}, "text/html")
        if "moved" in post.prompt:
            return RedirectResponse(f"{self.url}/{SECRET}")
        return None

    def reply(self, post: Post) -> Response:
        body: Json = {"status": WORDS, "request_id": post.request_id, "queue_position": WORDS}
        urls = self._urls(post.request_id, post.endpoint)
        if "links" in post.prompt:
            urls = {name: f"{url}?key={SECRET}" for name, url in urls.items()}
        if "ids" in post.prompt:
            body["request_id"] = SECRET
        named = str(body["request_id"])
        return JSONResponse({**body, **urls}, headers={"X-Fal-Request-Id": named, "Set-Cookie": f"k={SECRET}"})

    def accept(self, post: Post) -> Recorded:
        made = super().accept(post)
        log = [{"message": WORDS, "timestamp": WORDS, "level": WORDS}]
        made.status["body"] |= {"logs": log}
        output: Any = made.result["body"]
        output["images"][0] |= {"content_type": WORDS, "file_name": WORDS}
        output["description"] = WORDS
        if "pictures" in post.prompt:
            output["images"][0]["url"] += f"?token={SECRET}"
        if "headers" in post.prompt:
            made.result["headers"] |= {"X-Fal-Request-Id": SECRET}
        if "refused" in post.prompt:
            detail = [{"type": f"{WORDS} violation", "msg": WORDS, "loc": [WORDS], "input": WORDS}]
            made.result = {"code": 422, "headers": {"X-Fal-Error-Type": _ascii(WORDS)}, "body": {"detail": detail}}
            made.history = None
        if "failed" in post.prompt:
            made.status["body"] |= {"error": WORDS, "error_type": WORDS}
            made.result = {"code": 500, "headers": {}, "body": {"detail": WORDS, "error_type": WORDS}}
            made.history = None
        if "broken" in post.prompt:
            made.result = {"code": 200, "headers": {}, "body": {"images": [{"url": WORDS}]}}
            made.history = None
        return made


def _ascii(text: str) -> str:
    return json.dumps(text)[1:-1].replace("\\", "")


@contextmanager
def echoing_fal() -> Iterator[EchoingFal]:
    """Serve it in a thread of this process."""
    with serving(EchoingFal()) as fal:
        assert isinstance(fal, EchoingFal)
        yield fal
