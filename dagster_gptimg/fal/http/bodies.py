"""The border: bytes from outside become values here, bounded in size, time, depth, digits and text.

Every answer of fal's (and every webhook and price) goes through these functions. What cannot be read raises
`ReadError`: it says nothing about the request that was asked for.
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
"""Bytes of one answer of fal's at most, after decompression. Statuses and results have a few thousand."""

HISTORY_BYTES = 32 * 1024 * 1024
"""Bytes of one page of the request history at most: 100 lines with their inputs and outputs."""

DOCUMENT_BYTES = 8 * 1024 * 1024
"""Bytes of a list of models or prices at most, OpenAPI documents among them."""

INFLATED = 256 * 1024
"""Bytes that are decompressed at once: a kilobyte of gzip may be a megabyte."""

VALUES = 500_000
"""Lists and objects in an answer at most: an empty one is 2 bytes of JSON, and 60 of memory."""

COMMAS = 4 * VALUES
"""Commas in an answer at most, those of its texts among them: each may stand for a value."""

DEPTH = 64
"""Levels of lists and objects in an answer at most. fal's own have fewer than ten."""

LARGEST_AMOUNT = Decimal(10) ** 9
DIGITS = 40
"""Digits of an amount (billable units, a price) at most. One that has more, or is larger, is taken for not known."""


class Reply(NamedTuple):
    """One answer, as far as it came.

    Attributes:
        headers: by their names in small letters.
        is_whole: False where the connection broke, or time or room ran out, in the middle of the body.
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
    """No other large answer has to be waited for."""


async def read_reply(
    response: httpx.Response,
    until: float,
    limit: int = JSON_BYTES,
    on_large: Callable[[], Awaitable[None]] = _nobody_waits,
) -> Reply:
    """The answer behind an open response.

    A body that is cut short is returned as far as it came: the answer to a submit may hold a request id that nobody
    else knows.

    Args:
        response: opened as a stream.
        until: the moment, by the event loop's clock, at which the body must be there.
        limit: bytes at most, after decompression.
        on_large: awaited before more than `JSON_BYTES` are taken.
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
    """An answer's headers by their names in small letters."""
    return {name.lower(): text for name, text in response.headers.items()}


async def decoded(response: httpx.Response, limit: int) -> AsyncIterator[bytes]:
    """The body's bytes after decompression, at most `limit`, in pieces that fit into memory.

    No compression is asked for. httpx's own decoders have no bound: 700 KB of gzip can be gigabytes.

    Raises:
        ReadError: there are more; or their compression is broken, cut off, or was not to be expected.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise ReadError("an answer in a compression that was not asked for")
    pieces = response.aiter_raw() if encoding in {"", "identity"} else _inflated(response)
    async for data in pieces:
        limit -= len(data)
        if limit < 0:
            raise ReadError("an answer that is larger than what is taken")
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
                raise ReadError("a compressed answer with something behind its end")
        while not decoder.eof and (rest := decoder.decompress(b"", INFLATED)):
            yield rest
    except zlib.error as error:
        raise ReadError("an answer whose compression is broken") from error
    if not decoder.eof:
        raise ReadError("a compressed answer that is cut off")


def parse_json(data: bytes) -> Json:
    """The value that a JSON text says. What is not UTF-8 in it is replaced.

    Raises:
        ReadError: it is not JSON, nested deeper than `DEPTH`, made of very many values, or has a number that no double
            holds.
    """
    inner = data.count(b"[") + data.count(b"{")
    if inner > VALUES or data.count(b",") > COMMAS:
        raise ReadError("an answer of more values than any of fal's has")
    try:
        found: Json = json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise ReadError("an answer that is not JSON") from error
    if inner > DEPTH and _is_deep(found):
        raise ReadError(f"an answer nested more than {DEPTH} levels deep")
    return found


def parse_object(data: bytes) -> dict[str, Json]:
    """A JSON object. Raises `ReadError` as `parse_json` does, and for any other value."""
    found = parse_json(data)
    if not isinstance(found, dict):
        raise ReadError("an answer that is not a JSON object")
    return found


def _number(digits: str) -> int | float:
    """A whole number; one of very many digits (of which Python refuses the conversion) as a float."""
    return int(digits) if len(digits) <= DIGITS else float(digits)


def _refuse(constant: str) -> NoReturn:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


def _is_deep(value: Json) -> bool:
    """Whether a value has more than `DEPTH` levels; without recursion, so that no depth can break it."""
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
    """An amount of units or US dollars, exact; None when it is absent, negative, absurd or not a number."""
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
    """A length of time in seconds; None when it is absent, negative, not finite or longer than `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and 0 <= found <= most else None


def whole_number(value: object, most: int = 10**12) -> int | None:
    """A count from 0 to `most`; None for anything else."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= most else None
