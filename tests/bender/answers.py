"""Calls and answers as values: before bytes are made of them, and after they were read from bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.bender.texts import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


@dataclass(slots=True)
class Call:
    """One call of fal.

    Attributes:
        endpoint: its name on docs/fal-wire.md; empty for a call that is on no page.
        parts: what the braces of its path stand for.
        headers: by their names in small letters.
        prompt: the row that it is about, where it is about one.
        ordinal: how many calls there were before.
    """

    endpoint: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    parts: Mapping[str, str] = field(default_factory=dict)
    prompt: str | None = None
    ordinal: int = 0

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.url).query)

    def asked(self, name: str, default: str = "") -> str:
        """The first value of a parameter."""
        return self.query.get(name, [default])[0]


@dataclass(slots=True)
class Answer:
    """What fal says.

    Attributes:
        value: JSON; or bytes, as they are.
        stream: makes the statuses of a stream, each when it is due; None among them is a comment.
        request_id: the request that was accepted by it, if one was.
    """

    status: int
    value: Any
    headers: dict[str, str] = field(default_factory=dict)
    stream: Callable[[], AsyncIterator[Any]] | None = None
    request_id: str = ""

    def body(self) -> bytes:
        """The bytes of a body that is there at once."""
        return self.value if isinstance(self.value, bytes) else encode(self.value)


def json_answer(status: int, value: Any, **headers: str) -> Answer:
    """A JSON answer; in names of headers `_` stands for `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, value, {"Content-Type": "application/json", **named})


def own_error(status: int, text: str, kind: str = "", **headers: str) -> Answer:
    """A request error of fal's own: `detail` and `error_type`, the type in a header as well."""
    body = {"detail": text, **({"error_type": kind} if kind else {})}
    told = {"X_Fal_Error_Type": kind} if kind else {}
    return json_answer(status, body, x_fal_request_id="gateway", **told, **headers)


def model_error(status: int, kind: str, text: str, about: Any = None, **headers: str) -> Answer:
    """An error of a model's: a list of details."""
    detail = {
        "loc": ["body", "prompt"],
        "msg": text,
        "type": kind,
        "url": f"https://docs.fal.ai/errors#{kind}",
        "ctx": {},
        "input": about,
    }
    return json_answer(status, {"detail": [detail]}, **headers)


def platform_error(status: int, kind: str, text: str) -> Answer:
    """An error of the platform API."""
    return json_answer(status, {"error": {"type": kind, "message": text, "request_id": "call"}})


def gateway_error(status: int) -> Answer:
    """JSON that some gateway answers with."""
    return json_answer(status, {"message": "no Route matched with those values"}, Server="kong/3.4")


def page(status: int) -> Answer:
    """A gateway's page."""
    html = f"<html><head><title>{status}</title></head><body><center>nginx</center></body></html>"
    return Answer(status, html.encode(), {"Content-Type": "text/html", "Server": "nginx"})


def nothing(status: int) -> Answer:
    """An answer without a body."""
    return Answer(status, b"", {})
