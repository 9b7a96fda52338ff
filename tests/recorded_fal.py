"""A stand-in for fal that goes on with a story: real HTTP on loopback, and a bill of every POST.

It knows requests that were made before, by their ids, and what fal answers of each: status, result, history line, image
files. What is submitted from now on is accepted, billed, done at once, and in the history. So a store of an earlier
release can be gone on with, and the bill says what that bought.

    with recorded_fal(requests, files) as fal:
        cli(None, "generate", ..., env=fal.env)
        assert not fal.posts

`steer` bends single answers; `seen` counts what was asked for.
"""

from __future__ import annotations

import io
import json
import socket
import threading
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import uvicorn
from PIL import Image, ImageDraw
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.requests import Request

Json: TypeAlias = "dict[str, Any]"

KEY = "test-key"
HERE = "{fal}"
"""Stands for the stand-in's own URL in what it knows."""

ORIGIN = "8f6a1f0e-6f0b-4d0e-9a53-2f1b3c9d7e10"
"""The id of the emulator for which the stand-in passes, unless it passes for fal itself."""

UNIT_PRICE_USD = 0.01
NOT_FOUND = {"status": "NOT_FOUND"}


@dataclass
class Recorded:
    """One request as fal knows it. `{fal}` in a body becomes the stand-in's URL.

    Attributes:
        sent_at: ISO 8601.
        status: what the status is answered: `{"code", "body"}`.
        result: likewise, with `headers`.
        history: its line, but for what is known anyway; None while the history does not show it.
        billed_units: what fal has billed for it, in units of a cent.
    """

    endpoint: str
    arguments: Json
    sent_at: str
    status: Json
    result: Json
    history: Json | None
    billed_units: str

    def line(self, request_id: str) -> Json:
        """The line of the history."""
        known = {"request_id": request_id, "endpoint_id": self.endpoint, "sent_at": self.sent_at}
        return {**known, "json_input": self.arguments, **(self.history or {})}


@dataclass(frozen=True)
class Post:
    """A submit; one that was accepted is paid for."""

    request_id: str
    endpoint: str
    arguments: Json
    headers: Mapping[str, str] = field(repr=False)
    webhook: str = ""

    @property
    def prompt(self) -> str:
        return str(self.arguments.get("prompt"))


def picture(number: int) -> bytes:
    """A PNG of 1024x1024 pixels in a few hundred bytes; each number gives another one."""
    image = Image.new("P", (1024, 1024), 0)
    image.putpalette([240, 240, 230, number * 71 % 251, number * 113 % 241, number * 29 % 239])
    ImageDraw.Draw(image).rectangle((256, 256, 512 + number % 400, 768), fill=1)
    file = io.BytesIO()
    image.save(file, "PNG", bits=1, optimize=True)
    return file.getvalue()


class RecordedFal:
    """The stand-in.

    Attributes:
        requests: what it knows, by request id.
        files: the images of its CDN, by name.
        emulator: the id by which it passes for an emulator; None: it passes for fal.
        posts: what was accepted since it began.
        seen: what was asked for and how often, by (method, path and query).
        steer: is asked first; None leaves the answer to the stand-in.
    """

    def __init__(self, requests: dict[str, Recorded], files: dict[str, bytes], emulator: str | None = ORIGIN) -> None:
        self.requests, self.files, self.emulator = requests, files, emulator
        self.posts: list[Post] = []
        self.seen: Counter[tuple[str, str]] = Counter()
        self.steer: Callable[[Request], Response | None] = lambda _: None
        self.url = ""

    @property
    def env(self) -> dict[str, str]:
        """The environment in which a process finds it."""
        return {"FAL_KEY": KEY, "FAL_BASE_URL": self.url}

    @property
    def bought(self) -> list[str]:
        """The prompts of all POSTs."""
        return sorted(post.prompt for post in self.posts)

    def asked_for(self, request_id: str) -> int:
        """How often a request was asked for by its id."""
        return sum(count for (_, what), count in self.seen.items() if request_id in what)

    # -- what it does; whoever writes a script changes these

    def reject(self, _post: Post) -> Response | None:
        """The answer to a submit that is not accepted."""
        return None

    def accept(self, post: Post) -> Recorded:
        """What fal knows of a new request: it is done, with all its images."""
        now = datetime.now(UTC)
        count = int(post.arguments.get("num_images", 1))
        names = [f"{post.request_id}_{index}.png" for index in range(count)]
        for index, name in enumerate(names):
            self.files[name] = picture(len(self.posts) * 16 + index)
        output = {"images": [{"url": f"{HERE}/files/lion/{name}", "content_type": "image/png"} for name in names]}
        times = {"started_at": now.isoformat(), "ended_at": (now + timedelta(seconds=1)).isoformat()}
        return Recorded(
            endpoint=post.endpoint,
            arguments=post.arguments,
            sent_at=now.isoformat(),
            status={"code": 200, "body": {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 1.0}}},
            result={"code": 200, "headers": {"X-Fal-Billable-Units": str(count)}, "body": output},
            history={**times, "duration": 1.0, "status_code": 200, "json_output": output},
            billed_units=str(count),
        )

    def reply(self, post: Post) -> Response:
        """The answer to a submit that was accepted."""
        body = {"status": "IN_QUEUE", "request_id": post.request_id, "queue_position": 0}
        return JSONResponse({**body, **self._urls(post.request_id, post.endpoint)})

    def told(self, request_id: str, what: Literal["status", "result"]) -> Json:
        """What is answered now."""
        known = self.requests[request_id]
        return known.status if what == "status" else known.result

    # -- the wire

    def app(self) -> Starlette:
        """The ASGI application."""
        one = "/{app:path}/requests/{request_id}"
        routes = [
            ("/v1/meta", self._meta, "GET"),
            ("/v1/models", self._models, "GET"),
            ("/v1/models/pricing", self._pricing, "GET"),
            ("/v1/models/requests/by-endpoint", self._history, "GET"),
            ("/storage/auth/token", self._token, "POST"),
            ("/files/upload", self._upload, "POST"),
            ("/files/{folder}/{name}", self._file, "GET"),
            (f"{one}/status/stream", self._stream, "GET"),
            (f"{one}/status", self._status, "GET"),
            (f"{one}/cancel", self._cancel, "PUT"),
            (one, self._result, "GET"),
            ("/{endpoint:path}", self._submit, "POST"),
        ]
        return Starlette(routes=[Route(path, self._guarded(do), methods=[method]) for path, do, method in routes])

    def _guarded(self, handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def guarded(request: Request) -> Response:
            self.seen[request.method, f"{request.url.path}?{request.url.query}"] += 1
            steered = self.steer(request)
            if steered is not None:
                return steered
            answer: Response = await handler(request)
            return answer

        return guarded

    def _urls(self, request_id: str, endpoint: str) -> dict[str, str]:
        one = f"{self.url}/{'/'.join(endpoint.split('/')[:2])}/requests/{request_id}"
        return {"response_url": one, "status_url": f"{one}/status", "cancel_url": f"{one}/cancel"}

    def _json(self, answer: Json, **more: Any) -> Response:
        body = json.loads(json.dumps(answer["body"]).replace(HERE, self.url))
        body = {**body, **more} if isinstance(body, dict) else body
        return JSONResponse(body, answer["code"], answer.get("headers"))

    def _known(self, request: Request) -> Recorded | None:
        return self.requests.get(request.path_params["request_id"])

    async def _submit(self, request: Request) -> Response:
        webhook = request.query_params.get("fal_webhook", "")
        arguments = await request.json()
        post = Post(str(uuid.uuid4()), request.path_params["endpoint"], arguments, request.headers, webhook)
        rejected = self.reject(post)
        if rejected is not None:
            return rejected
        self.posts.append(post)
        self.requests[post.request_id] = self.accept(post)
        return self.reply(post)

    async def _status(self, request: Request) -> Response:
        known = self._known(request)
        if known is None:
            return JSONResponse(NOT_FOUND, 404)
        request_id = request.path_params["request_id"]
        status = self.told(request_id, "status")
        more = {"request_id": request_id, **self._urls(request_id, known.endpoint)} if status["code"] < 400 else {}
        return self._json(status, **more)

    async def _stream(self, request: Request) -> Response:
        status = await self._status(request)
        if status.status_code >= 400:
            return status
        return Response(b"data: " + bytes(status.body) + b"\n\n", media_type="text/event-stream")

    async def _result(self, request: Request) -> Response:
        if self._known(request) is None:
            return JSONResponse(NOT_FOUND, 404)
        return self._json(self.told(request.path_params["request_id"], "result"))

    async def _cancel(self, request: Request) -> Response:
        known = self._known(request)
        return JSONResponse({"status": "NOT_FOUND" if known is None else "ALREADY_COMPLETED"}, 400 if known else 404)

    async def _history(self, request: Request) -> Response:
        wanted = request.query_params
        ids, endpoints = wanted.getlist("request_id"), wanted.getlist("endpoint_id")
        start, end = wanted.get("start"), wanted.get("end")
        lines = [
            recorded.line(request_id)
            for request_id, recorded in self.requests.items()
            if recorded.history is not None
            and recorded.endpoint in endpoints
            and (not ids or request_id in ids)
            and (start is None or _moment(recorded.sent_at) >= _moment(start))
            and (end is None or _moment(recorded.sent_at) < _moment(end))
        ]
        return self._json({"code": 200, "body": {"items": lines, "next_cursor": None, "has_more": False}})

    async def _file(self, request: Request) -> Response:
        data = self.files.get(request.path_params["name"])
        return Response("404 page not found\n", 404) if data is None else Response(data, media_type="image/png")

    async def _meta(self, _: Request) -> Response:
        about = {"emulator": {"id": self.emulator, "version": 1}} if self.emulator else {}
        return JSONResponse({"webhook_ip_ranges": ["127.0.0.1/32"], **about})

    async def _models(self, request: Request) -> Response:
        names = request.query_params.getlist("endpoint_id")
        listed = [{"endpoint_id": name, "metadata": {"status": "active"}} for name in names]
        return JSONResponse({"models": listed, "next_cursor": None, "has_more": False})

    async def _pricing(self, request: Request) -> Response:
        unit = {"unit_price": UNIT_PRICE_USD, "unit": "cents", "currency": "USD"}
        names = request.query_params.getlist("endpoint_id")
        listed = [{"endpoint_id": name, **unit} for name in names]
        return JSONResponse({"prices": listed, "next_cursor": None, "has_more": False})

    async def _token(self, _: Request) -> Response:
        ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        return JSONResponse({"token": "t", "token_type": "Bearer", "base_url": self.url, "expires_at": ends})

    async def _upload(self, request: Request) -> Response:
        name = f"{uuid.uuid4()}.png"
        self.files[name] = await request.body()
        return JSONResponse({"access_url": f"{self.url}/files/u/{name}"})


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@contextmanager
def serving(fal: RecordedFal) -> Iterator[RecordedFal]:
    """Serve a stand-in in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fal.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(fal.app(), ws="none", lifespan="off", log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        until("the stand-in listens", lambda: server.started)
        try:
            yield fal
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def recorded_fal(
    requests: Mapping[str, Recorded], files: Mapping[str, bytes], emulator: str | None = ORIGIN
) -> Iterator[RecordedFal]:
    """Go on with a story; what it knows is copied."""
    with serving(RecordedFal(dict(requests), dict(files), emulator)) as fal:
        yield fal
