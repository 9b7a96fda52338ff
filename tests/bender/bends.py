"""Every way to bend a value, a header, or a whole answer. Each has a name, by which it is drawn and counted."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.bender.answers import (
    Answer,
    gateway_error,
    json_answer,
    model_error,
    nothing,
    own_error,
    page,
    platform_error,
)
from tests.bender.fal import KEY
from tests.bender.replies import Reply
from tests.bender.texts import Raw

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bender.answers import Call

LEVELS = 100_000
LONG = "long " * 40_000
DIGITS = b"7" * 400
ESCAPES = "\x1b]0;title\x07\x1b[2J\r\nSet-Cookie: a=b\x00\x9b31m\u202e"
ELSEWHERE = "https://elsewhere.test/stolen"


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
"""Stands for a field, or a header, that is taken out."""


@dataclass
class About:
    """What a bend may need to know.

    Attributes:
        call: the call that is answered.
        number: how often this cell has struck: a bend with several forms takes them in turn.
        other: makes the answer to the same call about another request; None where there is none.
        stale: the first answer that was given to this very call; None where there was none.
        elsewhere: an answer of another endpoint's.
        state: makes a status body of this request that is not the true one, by a word of fal's.
        has_ended: whether the request has ended.
    """

    call: Call
    number: int = 0
    other: Callable[[], Answer | None] = lambda: None
    stale: Answer | None = None
    elsewhere: Callable[[], Answer] = lambda: json_answer(200, {"status": "ok"})
    state: Callable[[str], Any] = lambda word: {"status": word}
    has_ended: bool = False

    def turn(self, *forms: Any) -> Any:
        return forms[self.number % len(forms)]


# -- values of JSON


def _wrong_type(value: Any, about: About) -> Any:
    every = ["text", 7, -1.5, True, ["a list"], {"an": "object"}, [], {}]
    return about.turn(*[one for one in every if type(one) is not type(value)])


def _longest(value: Any, _: About) -> Any:
    if isinstance(value, list):
        return (value or [1]) * 3_000
    if isinstance(value, dict):
        return value | {f"more {n}": n for n in range(3_000)}
    return f"{value if isinstance(value, str) else ''}{LONG}"


def _deep(_: Any, about: About) -> Raw:
    opens, closes = about.turn((b"[", b"]"), (b'{"a":', b"}"))
    return Raw(opens * LEVELS + b"1" + closes * LEVELS)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "a text"


def _quoted(data: bytes) -> Raw:
    return Raw(b'"' + data + b'"')


VALUES: dict[str, Callable[[Any, About], Any]] = {
    "absent": lambda value, about: ABSENT,
    "null": lambda value, about: None,
    "wrong type": _wrong_type,
    "empty": lambda value, about: about.turn("", [], {}),
    "long": _longest,
    "400 digits": lambda value, about: Raw(about.turn(DIGITS, b"-" + DIGITS, b"0." + DIGITS, _quoted(DIGITS).data)),
    "too large a number": lambda value, about: Raw(about.turn(b"1e999", b"-1e999", b'"1E+999999"')),
    "not a number": lambda value, about: Raw(about.turn(b"NaN", b"Infinity", b"-Infinity", b'"sNaN"')),
    "negative": lambda value, about: about.turn(-1, -0.5, 0),
    "deep": _deep,
    "half a surrogate pair": lambda value, about: _text(value) + about.turn("\ud83d", "\udc00"),
    "half a character": lambda value, about: _quoted(json.dumps(_text(value))[1:-1].encode() + b"\xe2\x82"),
    "control characters": lambda value, about: _text(value) + ESCAPES,
    "the key": lambda value, about: about.turn(KEY, f"bad key {KEY}", KEY.partition(":")[2], f"Key {KEY}"),
    "another's": lambda value, about: ABSENT,  # `weather.py` knows whose
}
TIMES: dict[str, Callable[[Any, About], Any]] = {
    "another zone": lambda value, about: about.turn(
        "2026-11-24T09:00:00+09:00", "2026-11-24T00:00:00", "20261124T000000Z"
    ),
    "an impossible time": lambda value, about: about.turn("2026-13-45T99:99:99Z", "0000-00-00", "1e9", "2026-11-24"),
    "a far time": lambda value, about: about.turn(
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2026-11-24T05:00:00Z"
    ),
}
URLS: dict[str, Callable[[Any, About], Any]] = {
    "elsewhere": lambda value, about: about.turn(
        ELSEWHERE, "https://queue.fal.test@elsewhere.test/x", "//elsewhere.test/x"
    ),
    "inside": lambda value, about: about.turn(
        "http://169.254.169.254/latest",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://2130706433/x",
        "file:///etc/passwd",
    ),
    "no URL": lambda value, about: about.turn("http://", "https://[", "not a url", "https://v3.fal.test:99999/files/x"),
}
OF_WORDS: dict[str, Callable[[Any, About], Any]] = {
    "unknown word": lambda value, about: about.turn("RETIRED", "completed", "Completed ", "FAILED"),
}


def bent_value(name: str, value: Any, about: About) -> Any:
    """A value, bent in the way of that name."""
    ways = VALUES | TIMES | URLS | OF_WORDS
    return ways[name](value, about)


# -- headers

HEADERS: dict[str, Callable[[str, About], Any]] = {
    "absent": lambda text, about: ABSENT,
    "empty": lambda text, about: "",
    "wrong type": lambda text, about: about.turn("a text", "[]", "true"),
    "long": lambda text, about: text + "7" * 6_000,
    "400 digits": lambda text, about: about.turn(
        "7" * 400, "-" + "7" * 400, "0." + "7" * 400, "0.0100001", "3.3333333333333335"
    ),
    "too large a number": lambda text, about: about.turn("1E+999999", "9E+999999", "1E+40", "1e-50"),
    "not a number": lambda text, about: about.turn("NaN", "Infinity", "sNaN", "-Infinity"),
    "negative": lambda text, about: about.turn("-5", "-0.0001"),
    "half a character": lambda text, about: text + "\xe2\x82",
    "control characters": lambda text, about: text + about.turn("\x1b[2J", "\x01\x7f"),
    "the key": lambda text, about: about.turn(KEY, f"bad key {KEY}", KEY.partition(":")[0]),
    "twice": lambda text, about: [text, about.turn("2", "another")],
    "another's": lambda text, about: ABSENT,
}
DATES: dict[str, Callable[[str, About], Any]] = {
    "another zone": lambda text, about: text.replace("GMT", about.turn("+0900", "-0800", "EST")),
    "an impossible time": lambda text, about: about.turn("Tue, 45 Foo 9999 99:99:99 GMT", "0", "2026-11-24T00:00:00Z"),
    "a far time": lambda text, about: about.turn(
        "Sat, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -2359", "Tue, 24 Nov 2026 05:00:00 GMT"
    ),
}


def bent_header(name: str, text: str, about: About) -> Any:
    """A header's text (or several), bent in the way of that name."""
    return (HEADERS | DATES)[name](text, about)


# -- errors in the place of an answer

SHAPES: dict[str, Callable[[int], Answer]] = {
    "fal's own": lambda code: own_error(code, "Too many requests" if code == 429 else "not now", _kind(code)),
    "fal's own, without a type": lambda code: own_error(code, "not now"),
    "a model's": lambda code: model_error(
        code, "content_policy_violation" if code == 400 else "internal_server_error", "no"
    ),
    "the platform's": lambda code: platform_error(code, "server_error", "not now"),
    "not found": lambda code: json_answer(code, {"status": "NOT_FOUND"}),
    "a gateway's": gateway_error,
    "a page": page,
    "nothing": nothing,
}


def _kind(code: int) -> str:
    known = {
        429: "concurrent_requests_limit",
        499: "client_cancelled",
        504: "request_timeout",
        503: "runner_disconnected",
    }
    return known.get(code, "internal_error" if code >= 500 else "bad_request")


# -- whole answers

Way: TypeAlias = "Callable[[Answer, About], Reply | None]"


def _as(body: bytes, **headers: str) -> Way:
    def way(answer: Answer, about: About) -> Reply:
        return Reply.of(replace(answer, value=body, stream=None, headers={**answer.headers, **headers}))

    return way


def _from(make: Callable[[Answer], bytes], **headers: str) -> Way:
    return lambda answer, about: None if answer.stream else _as(make(answer), **headers)(answer, about)


def _with(**about_wire: Any) -> Way:
    def way(answer: Answer, about: About) -> Reply:
        reply = Reply.of(answer)
        for name, value in about_wire.items():
            setattr(reply, name, value(reply) if callable(value) else value)
        return reply

    return way


def _given(make: Callable[[About], Answer | None]) -> Way:
    def way(answer: Answer, about: About) -> Reply | None:
        found = make(about)
        return None if found is None else Reply.of(found)

    return way


def _early(answer: Answer, about: About) -> Reply | None:
    """An answer of a later state than the request's: COMPLETED while it runs, or an end that it has not come to."""
    endpoint = about.call.endpoint
    if about.has_ended and endpoint != "cancel":
        return None
    if endpoint == "result":
        return Reply.of(
            about.turn(
                own_error(500, "broken", "internal_error"),
                json_answer(200, {}),
                model_error(422, "content_policy_violation", "no"),
            )
        )
    if endpoint == "cancel":
        return Reply.of(json_answer(200, {"status": about.turn("CANCELLATION_REQUESTED", "ALREADY_COMPLETED")}))
    return _state(answer, about, about.turn("COMPLETED"), 200)


def _too_late(answer: Answer, about: About) -> Reply | None:
    """An answer of an earlier state than the request's: in the queue, or in progress, after its end."""
    if not about.has_ended and answer.stream is None:
        return None
    if about.call.endpoint == "result":
        return Reply.of(own_error(400, "Request is still in progress"))
    return _state(answer, about, about.turn("IN_PROGRESS", "IN_QUEUE"), 202)


def _state(answer: Answer, about: About, word: str, code: int) -> Reply:
    body = about.state(word)
    if answer.stream is None:
        return Reply.of(json_answer(code, body))
    return Reply(200, [("Content-Type", "text/event-stream")], b"data: " + json.dumps(body).encode() + b"\n\n")


def _images_with_an_error(answer: Answer, about: About) -> Reply | None:
    """A result with images, under the status of an error."""
    if not isinstance(answer.value, dict) or not (answer.value.get("images") or answer.value.get("image")):
        return None
    code = about.turn(500, 422, 404, 503, 299)
    more = about.turn({}, {"detail": "broken", "error_type": "internal_error"})
    return Reply.of(replace(answer, status=code, value=answer.value | more))


@cache
def _bomb() -> bytes:
    return gzip.compress(b'{"a":"' + b" " * 40_000_000 + b'"}', 1)


def _gzip_bomb(answer: Answer, about: About) -> Reply | None:
    return _as(_bomb(), **{"Content-Encoding": "gzip"})(answer, about)


def _compressed(answer: Answer) -> bytes:
    return gzip.compress(answer.body(), 1)


ANSWERS: dict[str, Way] = {
    "no connection": _with(is_refused=True),
    "broken before it is sent": _with(breaks="unsent"),
    "broken before the head": _with(breaks="before head"),
    "broken after the head": _with(cut_at=0),
    "broken in the body": _with(cut_at=lambda reply: max(len(reply.body) // 2, 1)),
    "no HTTP": _with(breaks="no HTTP"),
    "too large a head": lambda answer, about: Reply.of(
        replace(answer, headers={**answer.headers, "X-More": "a" * 20_000})
    ),
    "half a body": _from(lambda answer: answer.body()[: len(answer.body()) // 2]),
    "no body": _as(b""),
    "no JSON": _as(b"<html>welcome to our network</html>"),
    "a list": _as(b"[1,2,3]"),
    "null": _as(b"null"),
    "a text": _as(b'"ok"'),
    "an empty object": _as(b"{}"),
    "deep": _as(b"[" * LEVELS + b"]" * LEVELS),
    "huge": _as(b'{"a":"' + b"x" * 3_000_000 + b'"}'),
    "endless": _with(pace="endless"),
    "gzip": _from(_compressed, **{"Content-Encoding": "gzip"}),
    "a gzip bomb": _gzip_bomb,
    "no gzip": _with(extra=("Content-Encoding", "gzip")),
    "unknown compression": _with(extra=("Content-Encoding", "zstd2")),
    "unknown charset": _with(extra=("Content-Type", "application/json; charset=klingon")),
    "UTF-16": _from(lambda answer: answer.body().decode("latin-1").encode("utf-16")),
    "too long a length": _with(claims=10_000),
    "too short a length": _with(claims=-1),
    "slow": _with(head_after=20.0),
    "late": _with(head_after=200.0),
    "a byte a second": _with(pace="trickle"),
    "never": _with(head_after=float("inf")),
    "a head, and never a body": _with(pace="never"),
    "another endpoint's": _given(lambda about: about.elsewhere()),
    "another request's": _given(lambda about: about.other()),
    "stale": _given(lambda about: about.stale),
    "twice": _from(lambda answer: answer.body() * 2),
    "a redirect": lambda answer, about: Reply.of(Answer(about.turn(302, 307, 301), b"", {"Location": ELSEWHERE})),
    "early": _early,
    "too late": _too_late,
    "images with an error": _images_with_an_error,
    "no stream": lambda answer, about: Reply.of(json_answer(200, about.state("IN_PROGRESS"))),
}
"""Ways to bend a whole answer, by name. None instead of a reply: the answer cannot be bent so now."""

NOT_REACHED = frozenset({"no connection", "broken before it is sent"})
"""Answers that fal never gave, since it was never asked."""
