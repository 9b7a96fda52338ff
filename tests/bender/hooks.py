"""Webhooks in the world: fal signs and posts them, bent or not, and the real receiver takes them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import dagster_gptimg.fal.http.webhooks as checking
from dagster_gptimg.cli.webhook_receiver import Receiver
from dagster_gptimg.fal.settings import FalUrls
from tests.bender.answers import Answer, Call
from tests.bender.store import lying_store
from tests.bender.texts import encode
from tests.simulation.virtual_time import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bender.fal import Request
    from tests.bender.weather import Rule
    from tests.bender.world import World

HOST = "https://hooks.test"
EVERY = 0.25
PAUSES = (5.0, 10.0, 30.0, 120.0, 600.0, 1800.0)
"""Seconds between the tries of one delivery."""

SECRET = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
PUBLIC = base64.urlsafe_b64encode(SECRET.public_key().public_bytes_raw()).rstrip(b"=").decode()
FORGED = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)


@dataclass
class Delivery:
    """One callback on its way. `due`: when it is tried next."""

    request: Request
    due: float
    tries: int = 0


@dataclass
class Hooks:
    """fal's deliveries of one world, and the receiver that they go to.

    Attributes:
        answered: the status of every answer of the receiver's.
    """

    world: World
    waiting: dict[str, Delivery] = field(default_factory=dict)
    answered: list[int] = field(default_factory=list)
    _known: int = 0

    def __post_init__(self) -> None:
        self.world.face.jwks = [{"kty": "OKP", "crv": "Ed25519", "x": PUBLIC}]
        self.world.beside.append(self.deliver)

    async def deliver(self) -> None:
        """Post the callbacks of requests that have ended, as long as a process lives."""
        with patched(self.world):
            receiver = Receiver(lying_store(self.world.uri, self.world.lies), FalUrls(rest=self.world.face.hosts.rest))
            receiver._io = _at_once  # type: ignore[assignment]
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(receiver.app, raise_app_exceptions=True)
            ) as http:
                while True:
                    await self._turn(http)
                    await asyncio.sleep(EVERY)

    async def _turn(self, http: httpx.AsyncClient) -> None:
        now = self.world.time()
        self.world.fal.advance(now)
        for request in self.world.fal.requests.values():
            if request.webhook and request.has_ended(now) and request.id not in self.waiting:
                self.waiting[request.id] = Delivery(request, now + 0.1)
        for delivery in self.waiting.values():
            if delivery.due <= now and delivery.tries < len(PAUSES):
                delivery.due = now + PAUSES[delivery.tries]
                delivery.tries += 1
                if await self._post(http, delivery.request):
                    delivery.tries = len(PAUSES)

    async def _post(self, http: httpx.AsyncClient, request: Request) -> bool:
        """Post a callback once; returns whether the receiver took it."""
        world, now = self.world, self.world.time()
        assert request.webhook is not None
        call = Call("webhook", "POST", request.webhook, {}, prompt=request.prompt, parts={"request_id": request.id})
        rule = world.weather.rule_for(call, now)
        bend = rule.cell.bend if rule is not None and rule.cell.where == "answer" else ""
        if rule is not None and bend:
            world.weather.strikes(rule, call, now)
        if bend == "never":
            return False
        if bend == "late":
            await asyncio.sleep(30.0)
        body, headers = self._signed(call, rule, self._told(request, bend), bend)
        cut = body[: len(body) // 2] if bend == "broken in the body" else b"" if bend == "no body" else body
        codes = []
        for _ in range(2 if bend == "twice" else 1):
            answer = await http.post(request.webhook, content=cut, headers=headers)
            codes.append(answer.status_code)
        self.answered += codes
        assert all(code < 500 or code == 503 for code in codes), f"the receiver answers {codes} to {rule}"
        return codes[0] == 200

    def _told(self, request: Request, bend: str) -> Request:
        others = [
            r for r in self.world.fal.requests.values() if r.prompt != request.prompt and r.has_ended(self.world.time())
        ]
        return others[0] if bend == "another request's" and others else request

    def _signed(
        self, call: Call, rule: Rule | None, request: Request, bend: str
    ) -> tuple[bytes, list[tuple[str, str]]]:
        """A callback's body and headers. fal signs what it sends: also a body that is bent."""
        weather, now = self.world.weather, self.world.time()
        answer = Answer(200, self.world.face.webhook_body(request), {})
        is_field = rule is not None and rule.cell.where == "body"
        if rule is not None and is_field:
            answer = weather.bent_callback(call, rule, answer, now)
        body = answer.value if isinstance(answer.value, bytes) else encode(answer.value)
        stamp = str(int(EPOCH.timestamp() + now - (4000 if bend == "stale" else 0)))
        ids = [request.id, "user-1", stamp]
        message = "\n".join([*ids, hashlib.sha256(body).hexdigest()]).encode()
        secret = FORGED if bend == "forged" else SECRET
        names = ("Request-Id", "User-Id", "Timestamp")
        headers = {f"X-Fal-Webhook-{name}": text for name, text in zip(names, ids, strict=True)}
        headers["X-Fal-Webhook-Signature"] = secret.sign(message).hex()
        told = Answer(200, {}, headers)
        if rule is not None and rule.cell.where == "header":
            told = weather.bent_callback(call, rule, told, now)
        return body, [(n, t) for n, t in _pairs(told) if t.isprintable()]


def _pairs(answer: Answer) -> list[tuple[str, str]]:
    return [(name, text.encode("ascii", "replace").decode()) for name, text in answer.headers.items()]


async def _at_once(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


class patched:  # noqa: N801 - used as a context manager, like those of the standard library
    """Gives the module that checks webhooks the world's time and connections, while a receiver works."""

    def __init__(self, world: World) -> None:
        self._world, self._true = world, (checking.httpx, checking.time)  # type: ignore[attr-defined]

    def __enter__(self) -> None:
        from tests.bender.transport import Transport

        world = self._world

        def client(**how: Any) -> httpx.AsyncClient:
            return httpx.AsyncClient(transport=Transport(world.anybody()), **how)

        def now() -> float:
            return EPOCH.timestamp() + world.time()

        known = {"HTTPError": httpx.HTTPError, "InvalidURL": httpx.InvalidURL, "codes": httpx.codes}
        checking.httpx = SimpleNamespace(AsyncClient=client, **known)  # type: ignore[assignment, attr-defined]
        checking.time = SimpleNamespace(time=now, monotonic=world.time)  # type: ignore[assignment, attr-defined]

    def __exit__(self, *_: object) -> None:
        checking.httpx, checking.time = self._true  # type: ignore[attr-defined]
