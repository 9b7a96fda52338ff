"""The files that the server of a review sends: its page and records, and images and thumbnails of the one dataset.

A path is only taken in the form of one of our own names (`store/layout.py`), so none leads anywhere else. Files are
sent in pieces from wherever the store is, whole or as the one range that was asked for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from dagster_gptimg.engine.gallery.build import DESCRIPTION, PAGE, page_files
from dagster_gptimg.store.gallery_layout import PAGE_DATA, is_page_data, parse_thumbnail
from dagster_gptimg.store.images.formats.kinds import (
    AVIF,
    BMP,
    GIF,
    HEIC,
    ICO,
    JP2,
    JPEG,
    JXL,
    PNG,
    TIFF,
    UNKNOWN,
    WEBP,
)
from dagster_gptimg.store.layout import IMAGES, THUMBNAILS, parse_image
from dagster_gptimg.store.layout import prefix_of as folder_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from dagster_gptimg.engine.job import Io
    from dagster_gptimg.store.dataset import Dataset

PIECE = 256 * 1024
"""Bytes that are read at a time."""

SHOWN = {kind.ending: kind.content_type for kind in (PNG, JPEG, WEBP, GIF, BMP, AVIF, HEIC, JXL, JP2, TIFF, ICO)}
"""Content types by the endings of files: pictures, which cannot run anything. No other file is sent as what it is."""

KEPT = "private, max-age=3600, immutable"
"""For files whose name changes with their content. A browser forgets them within an hour: rows may be erased."""

ASKED_AGAIN = "no-cache"

_TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Named(NamedTuple):
    """A file that a path names.

    Attributes:
        path: relative to the dataset; or to the folder of the page.
        content_type: as which it is sent.
        cached: the value of `Cache-Control`.
        is_of_page: whether it is in the folder of the page.
    """

    path: str
    content_type: str
    cached: str
    is_of_page: bool = False


def named(path: str) -> Named | None:
    """Return the file that a URL's path names, without its leading slash; None if there is no such file.

    An SVG is none: a browser would run its scripts in the page's own origin.
    """
    folder, _, name = path.rpartition("/")
    ending = name.rpartition(".")[2]
    if folder == PAGE_DATA and is_page_data(name):
        return Named(path, _TYPES["js"], KEPT, is_of_page=True)
    if not folder and name in _OWN:
        return Named(path, _TYPES[ending], ASKED_AGAIN, is_of_page=True)
    if path.startswith(f"{IMAGES}/") and parse_image(path) is not None and ending != "svg":
        return Named(path, SHOWN.get(ending, UNKNOWN.content_type), KEPT)
    sha256 = parse_thumbnail(name)
    if sha256 is not None and folder == f"{THUMBNAILS}/{folder_of(sha256)}":
        return Named(path, WEBP.content_type, KEPT)
    return None


_OWN = frozenset({DESCRIPTION, *(name for name, _ in page_files() if name != PAGE)})


async def send(request: Request, io: Io, dataset: Dataset, folder: Path, file: Named) -> Response:
    """Answer a request for a file.

    Args:
        request: GET or HEAD.
        io: runs blocking calls.
        dataset: has images and thumbnails.
        folder: has the page.
        file: which one.

    Raises:
        HTTPException: 404, there is none; 416, it has no such range.
        StoreError: it cannot be read.
    """
    headers = {"Content-Type": file.content_type, "Cache-Control": file.cached, "Accept-Ranges": "bytes"}
    if file.cached == KEPT:
        headers["ETag"] = f'"{Path(file.path).stem}"'
        if headers["ETag"] in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
    if file.content_type == UNKNOWN.content_type:
        headers["Content-Disposition"] = "attachment"
    try:
        opened = await io(_open, dataset, folder, file)
    except FileNotFoundError as error:
        raise HTTPException(404, "there is no such file") from error
    try:
        size = await io(opened.seek, 0, 2)
        first, end = _wanted(request.headers.get("range"), size)
        headers["Content-Length"] = str(end - first)
        if end - first < size:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        await io(opened.seek, first)
    except BaseException:
        opened.close()
        raise
    status_code = 206 if end - first < size else 200
    if request.method == "HEAD":
        opened.close()
        return Response(status_code=status_code, headers=headers)
    return StreamingResponse(_pieces(io, opened, end - first), status_code, headers)


def _open(dataset: Dataset, folder: Path, file: Named) -> IO[bytes]:
    return (folder / file.path).open("rb") if file.is_of_page else dataset.store.open(f"{dataset.folder}/{file.path}")


def _wanted(asked: str | None, size: int) -> tuple[int, int]:
    """Return the first byte and the end of what is to be sent. Several ranges, or none that is valid, are the whole."""
    match = _RANGE.fullmatch(asked.strip()) if asked else None
    if match is None or not (match[1] or match[2]):
        return 0, size
    first = int(match[1]) if match[1] else max(0, size - int(match[2]))
    end = min(size, int(match[2]) + 1) if match[1] and match[2] else size
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        return 0, size
    if first >= size:
        raise HTTPException(416, "there is no such range", {"Content-Range": f"bytes */{size}"})
    return first, end


async def _pieces(io: Io, opened: IO[bytes], left: int) -> AsyncIterator[bytes]:
    try:
        while left > 0:
            piece = await io(opened.read, min(PIECE, left))
            if not piece:  # the file was cut since: the answer ends early, and the browser sees that
                return
            left -= len(piece)
            yield piece
    finally:
        opened.close()
