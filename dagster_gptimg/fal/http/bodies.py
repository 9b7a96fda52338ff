"""Parsing of untrusted bytes into values, with bounds on size, time, nesting, digits and text.

Every answer of fal's (and every webhook and price) goes through these functions. A body that cannot be parsed raises
`ReadError`: it says nothing about the request that was read.
"""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import httpx

from dagster_gptimg.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from dagster_gptimg.fal.types import Json

JSON_BYTES = 1024 * 1024
"""Maximum bytes of one answer of fal's, after decompression. Statuses and results have a few thousand."""

HISTORY_BYTES = 32 * 1024 * 1024
"""Maximum bytes of one page of the request history: 100 entries with their inputs and outputs."""

DOCUMENT_BYTES = 8 * 1024 * 1024
"""Maximum bytes of a list of models or prices, OpenAPI documents included."""

INFLATED = 256 * 1024
"""Maximum bytes that one decompression step returns: a kilobyte of gzip may expand to a megabyte."""

VALUES = 500_000
"""Maximum number of lists and objects in an answer: an empty one has 2 bytes of JSON, and takes 60 bytes of memory."""

COMMAS = 4 * VALUES
"""Maximum number of commas in an answer, commas within texts included: each may separate two values."""

DEPTH = 64
"""Maximum nesting depth of an answer. fal's own answers have fewer than ten levels."""

LARGEST_AMOUNT = Decimal(10) ** 9
DIGITS = 40
"""Maximum digits of an amount (billable units, a price).

An amount with more digits, or a larger one, counts as unknown.
"""


class Reply(NamedTuple):
    """One HTTP answer, as far as it was received.

    Attributes:
        headers: by lower-case name.
        is_whole: False if the connection broke, or the time or size limit was reached, within the body.
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True

    @property
    def is_success(self) -> bool:
        """Whether the HTTP status is 2xx."""
        return 200 <= self.status_code < 300  # noqa: PLR2004 - the HTTP class itself


async def _nobody_waits() -> None:
    """Wait for nothing: no other large answer is being read."""


async def read_reply(
    response: httpx.Response,
    until: float,
    limit: int = JSON_BYTES,
    on_large: Callable[[], Awaitable[None]] = _nobody_waits,
) -> Reply:
    """Read the body of an open response.

    A body that is cut short is returned as far as it was received: the answer to a submit may hold a request id that is
    known from nowhere else.

    Args:
        response: opened as a stream.
        until: deadline for the body, by the event loop's clock, in seconds.
        limit: maximum bytes, after decompression.
        on_large: awaited before more than `JSON_BYTES` are kept.
    """
    body, is_whole = bytearray(), False  # one buffer: a body that comes byte by byte would be a million objects
    try:
        async with asyncio.timeout_at(until):
            async for chunk in decoded(response, limit):
                if len(body) <= JSON_BYTES < len(body) + len(chunk):
                    await on_large()
                body += chunk
        is_whole = True
    except (TimeoutError, httpx.HTTPError, httpx.StreamError, ReadError):
        is_whole = False
    return Reply(response.status_code, headers_of(response), bytes(body), is_whole)


def headers_of(response: httpx.Response) -> dict[str, str]:
    """Return an answer's headers by lower-case name."""
    return {name.lower(): text for name, text in response.headers.items()}


async def decoded(response: httpx.Response, limit: int) -> AsyncIterator[bytes]:
    """Yield the body's bytes after decompression, at most `limit`, in pieces that fit into memory.

    The requests ask for no compression. httpx's own decoders have no bound: 700 KB of gzip can be gigabytes.

    Raises:
        ReadError: the body is longer than `limit`, or its compression is corrupt, truncated or of an unexpected kind.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise ReadError("an answer is compressed, which was not asked for")
    pieces = response.aiter_raw() if encoding in {"", "identity"} else _inflated(response)
    async for data in pieces:
        limit -= len(data)
        if limit < 0:
            raise ReadError("an answer is larger than the limit")
        yield data


async def _inflated(response: httpx.Response) -> AsyncIterator[bytes]:
    decoder = zlib.decompressobj(wbits=47)
    try:
        async for raw in response.aiter_raw():
            left = raw
            while left and not decoder.eof:
                yield decoder.decompress(left, INFLATED)
                left = decoder.unconsumed_tail
            if decoder.unused_data:
                raise ReadError("a compressed answer has extra bytes after its end")
        while not decoder.eof and (rest := decoder.decompress(b"", INFLATED)):
            yield rest
    except zlib.error as error:
        raise ReadError("a compressed answer is corrupt") from error
    if not decoder.eof:
        raise ReadError("a compressed answer is truncated")


def parse_json(data: bytes) -> Json:
    """Parse JSON; bytes that are not UTF-8 are replaced.

    Raises:
        ReadError: the text is not JSON, is nested deeper than `DEPTH`, has too many values, or has a number that no
            double can represent.
    """
    inner = data.count(b"[") + data.count(b"{")
    if inner > VALUES or data.count(b",") > COMMAS:
        raise ReadError("an answer has more values than the limit")
    try:
        found: Json = json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise ReadError("an answer is not JSON") from error
    if inner > DEPTH and _is_deep(found):
        raise ReadError(f"an answer is nested more than {DEPTH} levels deep")
    return found


def parse_object(data: bytes) -> dict[str, Json]:
    """Parse a JSON object. Raises `ReadError` as `parse_json` does, and for any other kind of value."""
    found = parse_json(data)
    if not isinstance(found, dict):
        raise ReadError("an answer is not a JSON object")
    return found


def _number(digits: str) -> int | float:
    """Convert a whole number; one with more than `DIGITS` digits becomes a float: Python refuses very long ones."""
    return int(digits) if len(digits) <= DIGITS else float(digits)


def _refuse(constant: str) -> NoReturn:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


def _is_deep(value: Json) -> bool:
    """Return whether a value has more than `DEPTH` levels. Not recursive, so that no depth can exhaust the stack."""
    level: list[Json] = [value]
    for _ in range(DEPTH + 1):
        inner: list[Json] = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(one.values())
            elif isinstance(one, list):
                inner.extend(one)
        if not inner:
            return False
        level = inner
    return True


def amount(text: object) -> Decimal | None:
    """Return an exact amount of billable units or US dollars.

    None if it is absent, negative, absurd or not a number.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float | Decimal):
        return None
    try:
        shown = str(text).strip()
        found = Decimal(shown) if len(shown) <= 2 * DIGITS else Decimal("NaN")
    except (InvalidOperation, ValueError):
        return None
    if not found.is_finite() or found < 0 or found > LARGEST_AMOUNT:
        return None
    _, digits, exponent = found.as_tuple()
    whole = isinstance(exponent, int) and len(digits) <= DIGITS and -DIGITS <= exponent <= DIGITS
    return found if whole else None


def seconds(value: object, most: float = 1e7) -> float | None:
    """Return a duration in seconds; None if it is absent, negative, not finite or longer than `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and 0 <= found <= most else None


def whole_number(value: object, most: int = 10**12) -> int | None:
    """Return a count from 0 to `most`; None for anything else."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= most else None
