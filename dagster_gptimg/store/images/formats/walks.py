"""Checks of the structure of image files: no library proves that a file ends too early.

Each check reads only as much as needed. Decoders are not suitable: they accept a truncated end, or refuse a file for
other reasons.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.store.images.decoding import decodes_to_its_end
from dagster_gptimg.store.images.formats.kinds import HEAD, MARKS_UTF16
from dagster_gptimg.store.images.formats.svg import root_of

if TYPE_CHECKING:
    from dagster_gptimg.store.images.formats.kinds import Data


class Walked(NamedTuple):
    """The result of the check of an image file's structure.

    Attributes:
        end: where the image ends, in bytes; later bytes are a trailer. None: at the file's end, or not known.
        hole: in words, what proves that bytes are missing or were changed; empty if nothing does.
        note: in words, other anomalies of the structure.
        c2pa: whether it contains a C2PA manifest; None if this was not looked for, or not to the end.
        frames: how many images a GIF has; None for other kinds, and if it is not read to its end.
    """

    end: int | None = None
    hole: str = ""
    note: str = ""
    c2pa: bool | None = None
    frames: int | None = None


def _cut(where: str) -> Walked:
    return Walked(hole=f"it is cut off {where}")


C2PA_CHUNK = b"caBX"
"""The chunk of a PNG that holds a C2PA manifest, and nothing else (https://spec.c2pa.org, Embedding manifests)."""

C2PA_BOX = bytes.fromhex("63327061 0011 0010 8000 00aa00389b71")
"""The type of the JUMBF box that is a C2PA manifest store (same source, Use of JUMBF)."""

PNG_HEAD = 8
"""Bytes before the first chunk of a PNG."""

ANCILLARY = frozenset(
    b"acTL bKGD caBX cHRM cICP cLLI dSIG eXIf fcTL fdAT gAMA gIFg gIFx hIST iCCP iTXt mDCV oFFs pCAL pHYs sBIT sCAL"
    b" sPLT sRGB sTER tEXt tIME tRNS zTXt".split()
)
"""Chunks of a PNG that are not needed for its pixels (https://www.w3.org/TR/png-3, section 11.3)."""


def walk_png(data: Data) -> Walked:
    """Check all chunks up to IEND, each with its CRC (https://www.w3.org/TR/png-3, section 5).

    A wrong CRC is a hole in a critical chunk, and in one of an unknown name, which may be a critical one whose name was
    changed; in other chunks it is a note.
    """
    view, at, size = memoryview(data), PNG_HEAD, len(data)
    wrong, c2pa = dict[bool, str](), False
    while at + 12 <= size:
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 12 + length
        if end > size:
            break
        (crc,) = struct.unpack_from(">I", view, end - 4)
        if zlib.crc32(view[at + 4 : end - 4]) != crc:
            wrong.setdefault(kind not in ANCILLARY, f"the checksum of its chunk {_name(kind)} at byte {at} is wrong")
        c2pa |= kind == C2PA_CHUNK
        if kind == b"IEND":
            return Walked(end, wrong.get(True, ""), wrong.get(False, ""), c2pa)
        if at == PNG_HEAD and kind != b"IHDR":
            return Walked(hole=f"its first chunk is {_name(kind)}, and not IHDR")
        at = end
    return _cut(f"before its chunk IEND, behind byte {at}")._replace(c2pa=c2pa or None)


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalnum() else kind.hex()


_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""A marker that ends a scan: not a restart, and not an escaped 0xFF of the data (ITU T.81, B.1.1)."""

_SOF = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_SOI = 0xD8
_EOI = 0xD9
_SOS = 0xDA
_APP11 = 0xEB


def walk_jpeg(data: Data) -> Walked:
    """Check all segments up to EOI. Markers within a segment (a thumbnail in Exif) are skipped.

    Some programs omit EOI. Only then a decoder is used, to check whether all pixels are there.
    """
    at, size, scans, frame, c2pa = 2, len(data), 0, 0, False
    while found := _MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        if marker == _EOI:
            return Walked(_behind_picture(data, at), c2pa=c2pa)
        if marker == _SOI:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if at + max(length, 2) > size:
            break
        frame = frame or (marker if marker in _SOF else 0)
        scans += marker == _SOS
        c2pa |= marker == _APP11 and _begins_c2pa(data[at + 2 : at + 66])
        at += length
    if scans == 1 and frame in _SEQUENTIAL and decodes_to_its_end(data):
        return Walked(note="its end marker is missing", c2pa=c2pa)
    return _cut("before its end marker")._replace(c2pa=c2pa or None)


def _begins_c2pa(segment: bytes) -> bool:
    """Whether a segment APP11 of a JPEG begins a C2PA manifest (JUMBF in `JP` packets, ISO/IEC 19566-5, annex D)."""
    return segment.startswith(b"JP") and segment[12:16] == b"jumb" and C2PA_BOX in segment


def _behind_picture(data: Data, at: int) -> int | None:
    """Return the end; None if another image follows (a gain map, a stereo pair), which is not a trailer."""
    return None if data[at : at + 3] == b"\xff\xd8\xff" else at


def walk_gif(data: Data) -> Walked:
    """Check all blocks up to the trailer (https://www.w3.org/Graphics/GIF/spec-gif89a.txt)."""
    size = len(data)
    if size < 13:  # noqa: PLR2004 - header and screen descriptor
        return _cut("within its header")
    at, images = 13 + _colours(data[10]), 0
    while at < size:
        block = data[at]
        if block == 0x3B:  # noqa: PLR2004 - the trailer
            return Walked(at + 1, frames=images)
        if block == 0x21:  # noqa: PLR2004 - an extension
            at = _behind_blocks(data, at + 2)
        elif block == 0x2C and at + 10 < size:  # noqa: PLR2004 - an image
            at, images = _behind_blocks(data, at + 11 + _colours(data[at + 9])), images + 1
        elif block == 0x2C:  # noqa: PLR2004 - an image without its end
            break
        else:
            return Walked(note=f"there is an unknown block at byte {at}")
    if at == size and images:
        return Walked(note="its end marker is missing", frames=images)
    return _cut("within a block")


def _colours(flags: int) -> int:
    """Return the bytes of a colour table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(data: Data, at: int) -> int:
    """Return the position after a chain of data blocks; after the file's end if that comes first."""
    size = len(data)
    while at < size and (length := data[at]):
        at += length + 1
    return at + 1


def walk_webp(data: Data) -> Walked:
    """Check the size in the RIFF header (https://developers.google.com/speed/webp/docs/riff_container)."""
    end = int.from_bytes(data[4:8], "little") + 8
    c2pa = _has_chunk(data, b"C2PA", min(end, len(data)))
    if end <= len(data):
        return Walked(end, c2pa=c2pa)
    return _cut(f"before the {end} bytes that its header speaks of")._replace(c2pa=c2pa or None)


def _has_chunk(data: Data, name: bytes, end: int) -> bool:
    """Whether a WebP has a chunk of this name before a place; only the chunks' heads are read."""
    at = 12
    for _ in range(_MOST_BOXES):
        if at + 8 > end or data[at : at + 4] == name:
            break
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + (length & 1)
    return at + 8 <= end and data[at : at + 4] == name


_PAYLOADS = frozenset({b"mdat", b"jxlc", b"jxlp", b"jp2c"})
"""Boxes that contain the encoded image."""

_DESCRIPTIONS = frozenset({b"meta", b"moov"})
"""Boxes of AVIF and HEIC that describe the image."""

_MUST_BE_WHOLE = _PAYLOADS | _DESCRIPTIONS | {b"moof", b"idat"}
"""Required boxes that may follow the image: other data after it that exceeds the file is a trailer."""

_MOST_BOXES = 10_000


def walk_boxes(data: Data) -> Walked:
    """Check the outermost boxes of AVIF, HEIC, JPEG XL and JPEG 2000 (ISO/IEC 14496-12, and their own standards).

    A bare JPEG XL codestream does not declare its end.
    """
    if data[:2] == b"\xff\x0a":
        return Walked()
    seen, at, size = set[bytes](), 0, len(data)
    for _ in range(_MOST_BOXES):
        if at == size:
            break
        kind, end = _box(data, at)
        if not at < end <= size and kind not in _MUST_BE_WHOLE and _has_picture(data, seen):
            return Walked(at)
        if not at < end <= size:
            return _cut(f"within its box {_name(kind)}" if kind.isalnum() else "before its picture")
        seen.add(kind)
        at = end
    return Walked() if _has_picture(data, seen) else _cut("before its picture")


def _has_picture(data: Data, seen: set[bytes]) -> bool:
    """Return whether the boxes found can make an image."""
    is_described = data[4:8] != b"ftyp" or not seen.isdisjoint(_DESCRIPTIONS)
    # some small files have their picture within `meta`, in a box `idat`
    return is_described and (not seen.isdisjoint(_PAYLOADS) or data.find(b"idat") >= 0)


def _box(data: Data, at: int) -> tuple[bytes, int]:
    """Return the name and end of the box at a position: the end may exceed the file; it is the position for no box."""
    head = data[at : at + 16]
    kind, length = head[4:8], int.from_bytes(head[:4], "big")
    if len(kind) < 4:  # noqa: PLR2004 - a name's length
        return kind, at
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    if length == 0 and kind.isalnum():  # up to the end of all
        return kind, len(data)
    return kind, at + length if length >= 8 else at  # noqa: PLR2004 - a box's head


def walk_svg(data: Data) -> Walked:
    """Check that the root element of an SVG is closed."""
    if data[:2] in MARKS_UTF16:
        return Walked()
    root = root_of(data)
    if root is None:  # its first tag has no end, as far as that was read
        return Walked() if len(data) > HEAD else _cut("within its root element")
    is_closed = root[2].endswith("/") or data.rfind(f"</{root[1]}".encode()) >= 0
    return Walked() if is_closed else _cut("before its root element is closed")
