"""What goes over the wire: an answer's bytes, and how they come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tests.bender.texts import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.bender.answers import Answer

ENDLESS = b" " * 65536


@dataclass
class Reply:
    """One answer on its way.

    Attributes:
        stream: makes the bytes of a status stream, each when it is due.
        head_after: seconds until the head comes; infinite: never.
        pace: how the body comes: at once, a byte a second, without an end, or not at all.
        cut_at: after so many bytes of the body the connection breaks.
        breaks: where the connection breaks otherwise. `unsent`: before fal has the call; `no HTTP`: bytes come that are
            no answer.
        is_refused: no connection is made.
        claims: bytes by which its `Content-Length` is wrong.
        extra: one more header.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    stream: Callable[[], AsyncIterator[Any]] | None = None
    head_after: float = 0.0
    pace: Literal["whole", "trickle", "endless", "never"] = "whole"
    cut_at: int | None = None
    breaks: Literal["", "unsent", "before head", "no HTTP"] = ""
    is_refused: bool = False
    claims: int | None = None
    extra: tuple[str, str] | None = None

    @classmethod
    def of(cls, answer: Answer) -> Reply:
        """An answer as it should come."""
        headers = [*answer.headers.items()]
        if answer.stream is not None:
            return cls(answer.status, headers, stream=answer.stream)
        return cls(answer.status, headers, answer.body())

    @property
    def is_plain(self) -> bool:
        """Whether the reply's bytes come at once and whole."""
        return self.stream is None and self.pace == "whole" and self.cut_at is None and self.claims is None

    def all_headers(self) -> list[tuple[str, str]]:
        """The reply's headers, with what they say of its length."""
        headers = self.headers
        if self.extra is not None:
            headers = [(n, t) for n, t in headers if n.lower() != self.extra[0].lower()] + [self.extra]
        has_length = self.stream is not None or any(name.lower() == "content-length" for name, _ in headers)
        if has_length or self.pace == "endless":
            return headers
        length = len(self.body) + (self.claims or 0)
        return [*headers, ("Content-Length", str(max(length, 0)))]

    def parts(self) -> Iterator[tuple[float, bytes]]:
        """The reply's body: seconds to wait, and the bytes that come then."""
        if self.pace == "never":
            yield math.inf, b""
        elif self.pace == "trickle":
            yield from ((1.0, self.body[at : at + 1]) for at in range(len(self.body)))
        elif self.pace == "endless":
            while True:
                yield 0.25, ENDLESS
        else:
            yield 0.0, self.body if self.cut_at is None else self.body[: self.cut_at]


def event(status: Any) -> bytes:
    """One event of a stream; a comment for None."""
    return b": keep-alive\n\n" if status is None else b"data: " + encode(status) + b"\n\n"
