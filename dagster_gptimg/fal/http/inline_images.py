"""Results that hold their images themselves (`sync_mode`): up to a hundred megabytes, none of them in memory.

The body goes into a temporary file as it comes. Its images are cut out of it, and what is left is read like any other
answer.
"""

from __future__ import annotations

import asyncio
import binascii
import mmap
import os
import weakref
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import httpx

from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.http.bodies import JSON_BYTES, Reply, decoded, headers_of, read_reply
from dagster_gptimg.fal.types import Images
from dagster_gptimg.temporary_files import temporary_file, told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagster_gptimg.fal.types import Answer, ImageFile, Sink

INLINE_BYTES = 96 * 1024 * 1024
"""Bytes of a result that holds its images itself, at most."""

SLOWEST, SECONDS = 128 * 1024, 60.0
"""Bytes a second below which it is given up, and seconds that it may take besides."""

FIRST = 4 * 1024 * 1024
"""Bytes for which room is taken at first, where the answer does not say how many come."""

_PIECE = 1024 * 1024
_HEADER = 256
"""Bytes of a data URI in which its comma must come."""

_HERE = "data:held,"
"""Stands in the place of an image that was cut out, with its number."""


class InlineResult:
    """Reads one result. `held`: the images that were cut out of it, once `read` has been awaited."""

    def __init__(self, take: Callable[[int], Awaitable[None]]) -> None:
        """`take`: awaited with the number of bytes before they are read."""
        self._take = take
        self.held: list[HeldImage] = []

    async def read(self, response: httpx.Response, until: float) -> Reply:
        """As `read_reply` reads; what stays in memory is 1 MiB at most."""
        told = response.headers.get("content-length", "")
        size = int(told) if told.isascii() and told.isdigit() and len(told) <= len(str(INLINE_BYTES)) else None
        if response.status_code != httpx.codes.OK or (size is not None and size <= JSON_BYTES):
            return await read_reply(response, until)
        body, is_whole = _Body(), False
        try:
            is_whole = await self._filled(body, response, min(size or FIRST, INLINE_BYTES))
            rest, self.held = body.cut_out() if is_whole else (b"", [])
        except (TimeoutError, httpx.HTTPError, httpx.StreamError, ReadError):
            rest, is_whole = b"", False
        return Reply(response.status_code, headers_of(response), rest, is_whole)

    async def _filled(self, body: _Body, response: httpx.Response, room: int) -> bool:
        await self._take(room)
        async with asyncio.timeout(SECONDS + room / SLOWEST) as deadline:
            async for data in decoded(response, INLINE_BYTES):
                if body.size + len(data) > room:
                    room *= 2
                    deadline.reschedule(None)
                    await self._take(room)
                    deadline.reschedule(asyncio.get_running_loop().time() + SECONDS + room / SLOWEST)
                body.write(data)
        return True

    def with_held(self, answer: Answer) -> Answer:
        """The answer that was made of what was read, with its images."""
        if not isinstance(answer, Images):
            return answer
        return replace(answer, images=tuple(map(self._with_held, answer.images)))

    def _with_held(self, file: ImageFile) -> ImageFile:
        number = file.url.removeprefix(_HERE)
        if number == file.url or not number.isdigit() or int(number) >= len(self.held):
            return file
        return replace(file, held=self.held[int(number)])


class _Body:
    """The bytes of an answer in a temporary file, which goes with this object."""

    def __init__(self) -> None:
        self.size = 0
        self.file: IO[bytes] = temporary_file()
        weakref.finalize(self, self.file.close)

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.size += len(data)

    def cut_out(self) -> tuple[bytes, list[HeldImage]]:
        """The JSON without its images, and these.

        Raises:
            ReadError: what is left is larger than any answer.
        """
        with told():
            self.file.flush()
        rest, held, at = bytearray(), list[HeldImage](), 0
        if not self.size:  # no map is made of nothing
            return b"", held
        with mmap.mmap(self.file.fileno(), self.size, access=mmap.ACCESS_READ) as data:
            while (start := data.find(b'"data:', at)) >= 0:
                end = _closing(data, start + 1)
                if end - start < _HEADER:  # a small image, or words
                    _add(rest, data, at, start + 1)
                    at = start + 1
                    continue
                _add(rest, data, at, start + 1)
                rest += f"{_HERE}{len(held)}".encode()
                held.append(HeldImage(self, start + 1, end))
                at = end
            _add(rest, data, at, self.size)
        return bytes(rest), held


def _add(rest: bytearray, data: mmap.mmap, start: int, end: int) -> None:
    if len(rest) + end - start > JSON_BYTES:
        raise ReadError(f"an answer of more than {JSON_BYTES} bytes without its images")
    rest += data[start:end]


def _closing(data: mmap.mmap, at: int) -> int:
    """The place of the quotation mark that ends a JSON text."""
    while (end := data.find(b'"', at)) >= 0:
        first = end
        while data[first - 1 : first] == b"\\":
            first -= 1
        if (end - first) % 2 == 0:
            return end
        at = end + 1
    raise ReadError("an answer that is not JSON")


class HeldImage:
    """One image within a result; decoded piece by piece.

    Attributes:
        size: bytes, at most.
    """

    def __init__(self, body: _Body, start: int, end: int) -> None:
        """Its data URI stands from `start` to `end` in `body`."""
        self._body, self._start, self._end = body, start, end
        self.size = (end - start) // 4 * 3

    def copy(self, sink: Sink) -> None:
        """Decode it into a sink. Raises `ReadError` when it is no image in base64."""
        sink.restart()
        header, comma, _ = self._read(self._start, self._start + _HEADER).partition(b",")
        if not comma or not header.endswith(b";base64"):
            raise ReadError("the result holds a data URI that is no image")
        rest = b""
        for at in range(self._start + len(header) + 1, self._end, _PIECE):
            text = rest + self._read(at, min(at + _PIECE, self._end)).replace(b"\\", b"")  # JSON may write `/` as `\/`
            whole = len(text) // 4 * 4
            self._decode(text[:whole], sink, is_last=at + _PIECE >= self._end)
            rest = text[whole:]
        if rest:
            raise ReadError("the result holds a data URI that is cut off")

    def _decode(self, text: bytes, sink: Sink, *, is_last: bool) -> None:
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise ReadError("the result holds a data URI that is no image") from error
        if b"=" in text and not is_last:
            raise ReadError("the result holds a data URI that is no image")
        sink.write(data)

    def _read(self, start: int, end: int) -> bytes:
        return os.pread(self._body.file.fileno(), end - start, start)
