"""Results that hold their images themselves (`sync_mode`): up to a hundred megabytes, none of them kept in memory.

The body is written to a temporary file as it is received. The images are cut out of it, and the rest is parsed like any
other answer.
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
"""Maximum bytes of a result that holds its images itself."""

SLOWEST = 128 * 1024
"""Minimum bytes per second; a slower answer is given up."""
SECONDS = 60.0
"""Seconds that an answer may take in addition to its size divided by `SLOWEST`."""

FIRST = 4 * 1024 * 1024
"""Bytes of memory reserved at first if the answer does not say how long it is."""

_PIECE = 1024 * 1024
_HEADER = 256
"""Maximum bytes of a data URI's header: its comma must be among them."""

_HERE = "data:held,"
"""Prefix of the text that replaces an image which was cut out; the image's number follows."""


class InlineResult:
    """Reader of one result that may hold its images itself.

    Attributes:
        held: the images that were cut out of the result; complete once `read` has returned.
    """

    def __init__(self, take: Callable[[int], Awaitable[None]]) -> None:
        """`take`: awaited with the number of bytes before they are read."""
        self._take = take
        self.held: list[HeldImage] = []

    async def read(self, response: httpx.Response, until: float) -> Reply:
        """Read an answer like `read_reply`, with at most 1 MiB of it in memory."""
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
        """Return the parsed answer with the images that were cut out of its body."""
        if not isinstance(answer, Images):
            return answer
        return replace(answer, images=tuple(map(self._with_held, answer.images)))

    def _with_held(self, file: ImageFile) -> ImageFile:
        number = file.url.removeprefix(_HERE)
        if number == file.url or not number.isdigit() or int(number) >= len(self.held):
            return file
        return replace(file, held=self.held[int(number)])


class _Body:
    """The bytes of an answer in a temporary file, which is removed with this object."""

    def __init__(self) -> None:
        self.size = 0
        self.file: IO[bytes] = temporary_file()
        weakref.finalize(self, self.file.close)

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.size += len(data)

    def cut_out(self) -> tuple[bytes, list[HeldImage]]:
        """Return the JSON without its images, and the images.

        Raises:
            ReadError: the JSON without its images is larger than the limit.
        """
        with told():
            self.file.flush()
        rest, held, at = bytearray(), list[HeldImage](), 0
        if not self.size:  # an empty file cannot be memory-mapped
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
        raise ReadError(f"an answer has more than {JSON_BYTES} bytes without its images")
    rest += data[start:end]


def _closing(data: mmap.mmap, at: int) -> int:
    """Return the position of the quotation mark that ends a JSON string."""
    while (end := data.find(b'"', at)) >= 0:
        first = end
        while data[first - 1 : first] == b"\\":
            first -= 1
        if (end - first) % 2 == 0:
            return end
        at = end + 1
    raise ReadError("an answer is not JSON")


class HeldImage:
    """One image within a result; decoded piece by piece.

    Attributes:
        size: maximum bytes.
    """

    def __init__(self, body: _Body, start: int, end: int) -> None:
        """The image's data URI is at `start` to `end` (bytes) in `body`."""
        self._body, self._start, self._end = body, start, end
        self.size = (end - start) // 4 * 3

    def copy(self, sink: Sink) -> None:
        """Decode the image into a sink. Raises `ReadError` if it is not an image in base64."""
        sink.restart()
        header, comma, _ = self._read(self._start, self._start + _HEADER).partition(b",")
        if not comma or not header.endswith(b";base64"):
            raise ReadError("the result has a data URI that is not an image")
        rest = b""
        for at in range(self._start + len(header) + 1, self._end, _PIECE):
            text = rest + self._read(at, min(at + _PIECE, self._end)).replace(b"\\", b"")  # JSON may write `/` as `\/`
            whole = len(text) // 4 * 4
            self._decode(text[:whole], sink, is_last=at + _PIECE >= self._end)
            rest = text[whole:]
        if rest:
            raise ReadError("the result has a data URI that is truncated")

    def _decode(self, text: bytes, sink: Sink, *, is_last: bool) -> None:
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise ReadError("the result has a data URI that is not an image") from error
        if b"=" in text and not is_last:
            raise ReadError("the result has a data URI that is not an image")
        sink.write(data)

    def _read(self, start: int, end: int) -> bytes:
        return os.pread(self._body.file.fileno(), end - start, start)
