"""The stand-in for fal with a script: what it says for the time being, and what is true in the end."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.recorded_fal import HERE, NOT_FOUND, Json, Post, Recorded, RecordedFal

if TYPE_CHECKING:
    from starlette.requests import Request

GATEWAY = "<html><head><title>504 Gateway Time-out</title></head><body><hr><center>nginx</center></body></html>"
COMPLETED = {"code": 200, "body": {"status": "COMPLETED", "logs": None}}
WORKING: Json = {"code": 202, "body": {"status": "IN_PROGRESS", "logs": None}}


def error(code: int, text: str, error_type: str) -> Json:
    """A result that is an error of fal's platform."""
    return {"code": code, "body": {"detail": text, "error_type": error_type}}


def model_error(code: int, text: str, error_type: str) -> Json:
    """A result that is an error of the model."""
    url = f"https://docs.fal.ai/errors#{error_type}"
    detail = {"loc": ["body", "prompt"], "msg": text, "type": error_type, "url": url}
    return {"code": code, "headers": {"X-Fal-Billable-Units": "0"}, "body": {"detail": [detail]}}


REFUSED = model_error(422, "The content was flagged by a content checker.", "content_policy_violation")
FAILED = model_error(500, "The request could not be processed.", "internal_server_error")
CANCELLED = error(499, "Request was cancelled by the client", "client_cancelled")
TOO_EARLY: Json = {"code": 400, "body": {"detail": "Request is still in progress"}}
NO_ROUTE = {"code": 404, "body": {"message": "no Route matched"}}
INTERNAL = error(500, "Internal server error", "internal_error")


@dataclass(frozen=True)
class Fate:
    """What becomes of one POST.

    Attributes:
        reply: what its sender hears: that it was accepted; a gateway's page, although it was, or since it was not; that
            it was rejected.
        result: how it ends; None: with its images.
        is_gone: fal has thrown its result away.
        shown: whether the history shows it in the end.
        told: what the status and the result are answered for the time being, by name.
        units: what is billed for it, in units of a cent; None: one an image, and nothing for an error.
        said: what its result says beside its images.
    """

    reply: Literal["accepted", "lost", "never arrived", "429"] = "accepted"
    result: Json | None = None
    is_gone: bool = False
    shown: bool = True
    told: tuple[tuple[str, Json], ...] = ()
    units: str | None = None
    said: tuple[tuple[str, Any], ...] = ()


class ScriptedFal(RecordedFal):
    """fal as a story wants it.

    Attributes:
        fates: by prompt, one for each POST of it; the last one is that of all that follow.
        queued: prompts whose requests wait in the queue for the time being.
        is_working: no request ends for the time being.
        is_lagging: the history shows nothing for the time being.
        is_told: for the time being, what a fate's `told` says is answered.
    """

    def __init__(self, emulator: str | None) -> None:
        super().__init__({}, {}, emulator)
        self.fates: dict[str, list[Fate]] = {}
        self.queued: set[str] = set()
        self.is_working = self.is_lagging = False
        self.is_told = True
        self._tried: dict[str, int] = {}
        self._fates: dict[str, Fate] = {}
        self._key = Ed25519PrivateKey.generate()

    def app(self) -> Starlette:
        """The ASGI application, with the keys of webhooks."""

        async def keys(_: Request) -> Response:
            x = base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw()).decode().rstrip("=")
            return JSONResponse({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})

        return Starlette(routes=[Route("/.well-known/jwks.json", keys), Mount("/", super().app())])

    def reject(self, post: Post) -> Response | None:
        """Decide a submit's fate; the answer to one that does not reach fal, or is turned away."""
        number = self._tried[post.prompt] = self._tried.get(post.prompt, -1) + 1
        fates = self.fates.get(post.prompt, [Fate()])
        fate = self._fates[post.request_id] = fates[min(number, len(fates) - 1)]
        if fate.reply == "never arrived":
            return Response(GATEWAY, 504, media_type="text/html")
        if fate.reply == "429":
            return JSONResponse({"detail": "Too many requests", "error_type": "concurrent_requests_limit"}, 429)
        return None

    def accept(self, post: Post) -> Recorded:
        """What is true of the request in the end."""
        fate, recorded = self._fates[post.request_id], super().accept(post)
        if fate.result is not None:
            line = {**(recorded.history or {}), "status_code": fate.result["code"], "json_output": fate.result["body"]}
            recorded = replace(recorded, status=COMPLETED, result=fate.result, history=line, billed_units="0")
            self._has_no_images(post.request_id)
        if fate.units is not None:
            result = {**recorded.result, "headers": {"X-Fal-Billable-Units": fate.units}}
            recorded = replace(recorded, result=result, billed_units=fate.units)
        if fate.said:
            output = {**recorded.result["body"], **dict(fate.said)}
            line = {**(recorded.history or {}), "json_output": output}
            recorded = replace(recorded, result={**recorded.result, "body": output}, history=line)
        if fate.is_gone:
            gone = {"code": 404, "body": NOT_FOUND}
            recorded = replace(recorded, status=gone, result=gone)
            if not fate.shown:
                self._has_no_images(post.request_id)
        return recorded if fate.shown else replace(recorded, history=None)

    def _has_no_images(self, request_id: str) -> None:
        self.files = {name: data for name, data in self.files.items() if not name.startswith(request_id)}

    def reply(self, post: Post) -> Response:
        """What the sender hears."""
        if self._fates[post.request_id].reply == "lost":
            return Response(GATEWAY, 504, media_type="text/html")
        return super().reply(post)

    def told(self, request_id: str, what: Literal["status", "result"]) -> Json:
        """What is answered now: for the time being, perhaps, not the truth."""
        for_now = dict(self._fates[request_id].told)
        if self.is_told and what in for_now:
            return for_now[what]
        if what == "status" and self.requests[request_id].arguments.get("prompt") in self.queued:
            return {"code": 202, "body": {"status": "IN_QUEUE", "queue_position": 0}}
        if self.is_working:
            return WORKING if what == "status" else TOO_EARLY
        return super().told(request_id, what)

    async def _cancel(self, request: Request) -> Response:
        request_id, known = request.path_params["request_id"], self._known(request)
        if known is None or known.arguments.get("prompt") not in self.queued:
            return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)
        self.queued.discard(str(known.arguments.get("prompt")))
        self.requests[request_id] = replace(known, status=COMPLETED, result=CANCELLED, history=None, billed_units="0")
        self._has_no_images(request_id)
        return JSONResponse({"status": "OK"})

    async def _history(self, request: Request) -> Response:
        if self.is_lagging:
            return JSONResponse({"items": [], "next_cursor": None, "has_more": False})
        return await super()._history(request)

    # -- webhooks, signed as fal signs them

    def call_back(self, request_id: str) -> None:
        """Tell the receiver that a request has ended. Raises when it is not on record there."""
        output = json.loads(json.dumps(self.requests[request_id].result["body"]).replace(HERE, self.url))
        told: dict[str, Any] = {"request_id": request_id, "gateway_request_id": request_id, "status": "OK"}
        body = json.dumps({**told, "payload": output, "error": None}).encode()
        stamp = str(int(time.time()))
        message = "\n".join([request_id, "user", stamp, hashlib.sha256(body).hexdigest()])
        headers = {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": "user",
            "X-Fal-Webhook-Timestamp": stamp,
            "X-Fal-Webhook-Signature": self._key.sign(message.encode()).hex(),
        }
        [url] = [post.webhook for post in self.posts if post.request_id == request_id]
        httpx.post(url, content=body, headers=headers).raise_for_status()
