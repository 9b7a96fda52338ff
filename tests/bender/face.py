"""fal's HTTP face: what each endpoint of docs/fal-wire.md answers while everything is well."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.bender.answers import Answer, Call, json_answer, model_error, own_error, platform_error
from tests.bender.documents import document
from tests.bender.pictures import picture
from tests.bender.texts import Raw, decode
from tests.simulation.virtual_time import EPOCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.bender.fal import Fal, Request

DEFAULTS = {"image_size": "auto", "background": "auto", "quality": "auto", "num_images": 1, "output_format": "png"}
UNKNOWN = "00000000-0000-0000-0000-000000000000"
COMMENT_EVERY = 15.0


class Hosts(NamedTuple):
    """Origins of fal's services."""

    queue: str = "https://queue.fal.test"
    rest: str = "https://rest.fal.test"
    cdn: str = "https://v3.fal.test"
    api: str = "https://api.fal.test"
    backup: str = "https://backup.fal.test"


def moment(now: float) -> datetime:
    return EPOCH + timedelta(seconds=now)


def iso(now: float | None) -> str | None:
    return None if now is None else moment(now).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Face:
    """Answers calls for one fal.

    Attributes:
        emulator: what `/v1/meta` calls itself; None for fal, which does not.
        jwks: the public keys of its webhooks.
    """

    def __init__(self, fal: Fal, time: Callable[[], float], hosts: Hosts | None = None) -> None:
        self.fal, self.time, self.hosts = fal, time, hosts or Hosts()
        self.emulator: str | None = None
        self.jwks: list[dict[str, str]] = []
        self._ways: dict[str, Callable[[Call, str], Answer]] = {
            "submit": self._submit,
            "status": self._status,
            "status stream": self._stream,
            "result": self._result,
            "cancel": self._cancel,
            "history": self._history,
            "lookup": self._lookup,
            "models": self._models,
            "models with documents": self._models,
            "pricing": self._pricing,
            "payload deletion": self._delete_payloads,
            "upload token": self._token,
            "initiate": self._initiate,
        }

    def answer(self, call: Call) -> Answer:
        """Act on a call as fal does, and answer it."""
        found = self._answer(call)
        found.headers.setdefault("Date", format_datetime(moment(self.time()).replace(microsecond=0), usegmt=True))
        return found

    def _answer(self, call: Call) -> Answer:
        open_ways = {
            "meta": self._meta,
            "JWKS": lambda _: json_answer(200, {"keys": self.jwks}),
            "file download": self._file,
            "direct upload": self._direct,
            "upload PUT": self._put,
            "multipart create": self._parts,
            "multipart part": self._part,
            "multipart complete": self._parts_end,
        }
        if call.endpoint in open_ways:
            return open_ways[call.endpoint](call)
        key = call.headers.get("authorization", "").removeprefix("Key ")
        if key not in self.fal.accounts:
            is_platform = call.path.startswith("/v1/")
            return (
                platform_error(401, "authorization_error", "no such key")
                if is_platform
                else own_error(401, "Unauthorized")
            )
        if call.endpoint not in self._ways:
            return own_error(404, "Not Found")
        return self._ways[call.endpoint](call, key)

    # -- the queue

    def _submit(self, call: Call, key: str) -> Answer:
        arguments = decode(call.body)
        if not isinstance(arguments, dict):
            return own_error(400, "the body is not JSON", "bad_request")
        about = {"webhook": call.asked("fal_webhook") or None, "tags": call.headers.get("x-fal-tags", "")}
        request = self.fal.accept(key, call.parts["endpoint_id"], arguments, self.time(), **about)
        body = {
            "status": "IN_QUEUE",
            "request_id": request.id,
            "gateway_request_id": request.id,
            "queue_position": self.fal.position(request),
            **self._urls(request),
        }
        found = json_answer(self.fal.habits.submit_code, body, x_fal_request_id=request.id)
        found.request_id = request.id
        return found

    def _urls(self, request: Request) -> dict[str, str]:
        base = f"{self.hosts.queue}/{request.app}/requests/{request.id}"
        return {"status_url": f"{base}/status", "response_url": base, "cancel_url": f"{base}/cancel"}

    def _found(self, call: Call) -> Request | None:
        """The request that a path names, below its own application."""
        found = self.fal.find(call.parts["request_id"], self.time())
        is_there = found is not None and f"{call.parts['owner']}/{call.parts['app']}" == found.app
        return found if is_there else None

    def _status(self, call: Call, key: str) -> Answer:
        request = self._found(call)
        if request is None or request.account != key:
            return json_answer(404, {"status": "NOT_FOUND", "detail": "no such request"}, x_fal_request_id="gateway")
        now, expired = self.time(), self.fal.habits.expired
        if not self.fal.is_kept(request, now) and expired != "completed":
            return json_answer(410 if expired == "gone" else 404, {"status": "NOT_FOUND"}, x_fal_request_id="gateway")
        body = self.status_of(request, with_logs=call.asked("logs") == "1")
        code = 200 if body["status"] == "COMPLETED" else 202
        return json_answer(code, body, x_fal_request_id=request.id)

    def status_of(self, request: Request, *, with_logs: bool) -> dict[str, Any]:
        """The object of a status, or of an event of a stream."""
        now, verbose = self.time(), self.fal.habits.is_verbose
        self.fal.advance(now)
        body: dict[str, Any] = {"request_id": request.id, **self._urls(request)}
        if not request.has_begun(now):
            return body | {"status": "IN_QUEUE", "queue_position": self.fal.position(request)}
        line = {"message": "drawing", "timestamp": iso(request.begins_at), "level": "INFO", "source": "USER"}
        body["logs"] = [line] if with_logs or verbose else None
        if not request.has_ended(now):
            return body | {"status": "IN_PROGRESS"}
        body |= {"status": "COMPLETED", "metrics": {"inference_time": request.takes}}
        if request.end == "failed":
            body |= {"error": "the runner went away", "error_type": "runner_disconnected"}
        elif verbose:
            body |= {"error": None, "error_type": None}
        return body

    def _stream(self, call: Call, key: str) -> Answer:
        request = self._found(call)
        if request is None or request.account != key or not self.fal.is_kept(request, self.time()):
            return json_answer(404, {"status": "NOT_FOUND"})
        with_logs = call.asked("logs") == "1"

        async def statuses() -> AsyncIterator[Any]:
            told, said_at = "", self.time()
            while told != "COMPLETED":
                body = self.status_of(request, with_logs=with_logs)
                if body["status"] != told:
                    told, said_at = body["status"], self.time()
                    yield body
                elif self.time() >= said_at + COMMENT_EVERY:
                    said_at = self.time()
                    yield None
                else:
                    await asyncio.sleep(self._until_change(request))

        return Answer(200, None, {"Content-Type": "text/event-stream"}, statuses)

    def _until_change(self, request: Request) -> float:
        now = self.time()
        due = [at - now for at in (request.begins_at, request.ends_at) if at is not None and at > now]
        return max(min([*due, COMMENT_EVERY if request.begins_at is not None else 1.0]), 0.001)

    def _result(self, call: Call, key: str) -> Answer:
        request, now = self._found(call), self.time()
        if request is None or request.account != key:
            return own_error(404, "no such request")
        if not request.has_ended(now):
            if self.fal.habits.early == 202:
                return self._status(call, key)
            return own_error(400, "Request is still in progress")
        if not self.fal.is_kept(request, now):
            return own_error(410 if self.fal.habits.expired == "gone" else 404, "the result has expired")
        told = self._ending(request)
        told.headers["x-fal-request-id"] = request.id
        if request.units is not None and request.end != "failed":
            told.headers["X-Fal-Billable-Units"] = request.units
        return told

    def _ending(self, request: Request) -> Answer:
        if request.end == "refused":
            return model_error(422, "content_policy_violation", "it was flagged by a content checker", request.prompt)
        if request.end == "unloaded":
            return model_error(422, "file_download_error", "a file could not be downloaded")
        if request.end == "failed" and self.fal.habits.times_out:
            return own_error(504, "it did not begin in time", "request_timeout", X_Fal_Request_Timeout_Type="user")
        if request.end == "failed":
            return own_error(503, "the runner went away", "runner_disconnected", X_Fal_Needs_Retry="1")
        if request.end == "cancelled":
            return own_error(499, "it was cancelled", "client_cancelled")
        return json_answer(200, self.output(request))

    def output(self, request: Request) -> dict[str, Any]:
        """What the model made."""
        verbose, files = self.fal.habits.is_verbose, []
        for name in request.files:
            file: dict[str, Any] = {"url": f"{self.hosts.cdn}/files/{name}.png", "content_type": "image/png"}
            if verbose:
                size = len(picture(name))
                file |= {"file_name": f"{name}.png", "file_size": size, "width": 16, "height": 16}
            files.append(file)
        listed = {"image": files[0]} if files and request.prompt in self.fal.single else {"images": files}
        return {**listed, **(_details(request) if verbose else {})}

    def _cancel(self, call: Call, key: str) -> Answer:
        request, now = self._found(call), self.time()
        if request is None or request.account != key:
            return json_answer(404, {"status": "NOT_FOUND"})
        if request.has_ended(now):
            return json_answer(400, {"status": "ALREADY_COMPLETED"})
        removed = self.fal.cancel(request, now)
        body = {"status": "OK" if removed else "CANCELLATION_REQUESTED", "success": removed}
        return json_answer(200 if removed else 202, body, x_fal_request_id=request.id)

    # -- the platform API

    def _history(self, call: Call, key: str) -> Answer:
        start, end = (datetime.fromisoformat(call.asked(name, plain)) for name, plain in _SPAN.items())
        limit, at = int(call.asked("limit", "50")), int(call.asked("cursor", "0"))
        shown = [r for r in self._lines(call, key) if start <= self._filed(r) < end]
        more = len(shown) > at + limit
        items = [self._line(r) for r in shown[at : at + limit]]
        return json_answer(200, {"items": items, "next_cursor": str(at + limit) if more else None, "has_more": more})

    def _lookup(self, call: Call, key: str) -> Answer:
        items = [self._line(r) for r in self._lines(call, key) if r.id == call.asked("request_id")]
        return json_answer(200, {"items": items, "next_cursor": None, "has_more": False})

    def _lines(self, call: Call, key: str) -> list[Request]:
        endpoints = {name for text in call.query.get("endpoint_id", []) for name in text.split(",")}
        return [r for r in self.fal.lines(key, self.time()) if r.endpoint in endpoints]

    def _filed(self, request: Request) -> datetime:
        """The time by which the history filters."""
        ended = request.ends_at if request.ends_at is not None and request.ends_at <= self.time() else None
        return moment(request.accepted_at if self.fal.habits.by_sent or ended is None else ended)

    def _line(self, request: Request) -> dict[str, Any]:
        has_ended = request.has_ended(self.time())
        code = {"ok": 200, "empty": 200, "refused": 422, "unloaded": 422, "cancelled": 499}.get(
            request.end, self._ending(request).status
        )
        defaults = DEFAULTS if self.fal.habits.fills_in else {}
        return {
            "request_id": request.id,
            "endpoint_id": request.endpoint,
            "sent_at": iso(request.accepted_at),
            "started_at": iso(request.begins_at or request.accepted_at),
            "ended_at": iso(request.ends_at) if has_ended else None,
            "status_code": code if has_ended else None,
            "duration": request.takes if has_ended else None,
            "json_input": {**defaults, **request.arguments},
            "json_output": self._output_kept(request) if has_ended else None,
        }

    def _output_kept(self, request: Request) -> Any:
        """A result's JSON as the history keeps it: of an error, too."""
        return self.output(request) if request.end in {"ok", "empty"} else self._ending(request).value

    def _models(self, call: Call, key: str) -> Answer:
        names, expands = call.query.get("endpoint_id", []), call.asked("expand") == "openapi-3.0"
        about = [{"endpoint_id": name, "metadata": {"status": "active"}} for name in names]
        found = [{**entry, "openapi": document(str(entry["endpoint_id"]))} if expands else entry for entry in about]
        return json_answer(200, {"models": found, "next_cursor": None, "has_more": False})

    def _pricing(self, call: Call, key: str) -> Answer:
        price = Raw(self.fal.habits.unit_price.encode())
        line = {"unit_price": price, "unit": "images", "currency": "USD"}
        found = [{"endpoint_id": name, **line} for name in call.query.get("endpoint_id", [])]
        return json_answer(200, {"prices": found, "next_cursor": None, "has_more": False})

    def _meta(self, call: Call) -> Answer:
        about = {} if self.emulator is None else {"emulator": {"id": self.emulator}}
        return json_answer(200, {"webhook_ip_ranges": ["203.0.113.0/24"], **about})

    def _delete_payloads(self, call: Call, key: str) -> Answer:
        request = self.fal.find(call.parts["request_id"], self.time())
        if request is None:
            return platform_error(404, "not_found", "no such request")
        files = [{"link": f"{self.hosts.cdn}/files/{name}.png", "exception": None} for name in request.files]
        return json_answer(200, {"cdn_delete_results": files})

    # -- storage

    def _token(self, call: Call, key: str) -> Answer:
        about = {"token": "t0ken", "token_type": "Bearer", "base_url": self.hosts.cdn}
        return json_answer(200, {**about, "expires_at": "2999-01-01T00:00:00+00:00"})

    def _initiate(self, call: Call, key: str) -> Answer:
        name = hashlib.sha256(call.body + str(call.ordinal).encode()).hexdigest()[:16]
        urls = {"upload_url": f"{self.hosts.cdn}/put/{name}", "file_url": f"{self.hosts.cdn}/files/b/{name}"}
        return json_answer(200, urls)

    def _put(self, call: Call) -> Answer:
        self.fal.uploads[f"/files/b/{call.path.rpartition('/')[2]}"] = call.body
        return json_answer(200, {})

    def _direct(self, call: Call) -> Answer:
        if call.headers.get("authorization") != "Bearer t0ken":
            return own_error(401, "Unauthorized")
        path = f"/files/b/{hashlib.sha256(call.body).hexdigest()[:16]}.png"
        self.fal.uploads[path] = call.body
        return json_answer(200, {"access_url": f"{self.hosts.cdn}{path}"})

    def _parts(self, call: Call) -> Answer:
        return json_answer(
            200, {"access_url": f"{self.hosts.cdn}/files/b/parts{call.ordinal}", "uploadId": f"u{call.ordinal}"}
        )

    def _part(self, call: Call) -> Answer:
        path = call.path.partition("/multipart/")[0]
        self.fal.uploads[f"{path}#{int(call.parts['number']):06}"] = call.body
        return json_answer(200, {}, ETag=hashlib.md5(call.body).hexdigest())

    def _parts_end(self, call: Call) -> Answer:
        path = call.path.partition("/multipart/")[0]
        names = sorted(name for name in self.fal.uploads if name.startswith(f"{path}#"))
        self.fal.uploads[path] = b"".join(self.fal.uploads.pop(name) for name in names)
        return json_answer(200, {})

    def _file(self, call: Call) -> Answer:
        name = call.path.rpartition("/")[2].removesuffix(".png")
        request = self.fal.requests.get(name.rpartition("-")[0])
        data = self.fal.uploads.get(call.path)
        if request is not None and name in request.files:
            data = picture(name)
        if data is None:
            return own_error(404, "not there")
        return Answer(200, data, {"Content-Type": "image/png", "Content-Length": str(len(data))})

    def webhook_body(self, request: Request) -> dict[str, Any]:
        """What is posted to the URL of a submit when its request has ended."""
        ending = self._ending(request)
        is_ok = ending.status == 200
        about = {"request_id": request.id, "gateway_request_id": request.id, "status": "OK" if is_ok else "ERROR"}
        failed = {} if is_ok else {"error": f"Invalid status code: {ending.status}"}
        if request.prompt in self.fal.unwritable:
            return {**about, **failed, "payload": None, "payload_error": "the output is no JSON"}
        return {**about, **failed, "payload": json.loads(ending.body())}


def _details(request: Request) -> dict[str, Any]:
    """What a result has besides its images."""
    return {
        "seed": 41,
        "has_nsfw_concepts": [False] * request.made,
        "description": "a thing",
        "revised_prompt": f"{request.prompt}, from above",
        "timings": {"inference": request.takes},
    }


def billed(requests: list[Request]) -> Decimal:
    """US dollars that some requests cost."""
    return sum((request.billed for request in requests), Decimal(0))


_SPAN = {"start": "0001-01-01T00:00:00+00:00", "end": "9999-01-01T00:00:00+00:00"}
