"""The kind of a file, by its bytes: an image, a text page, or unknown.

Nothing is decoded, and no library is used: a decoder refuses files that every viewer opens (a large image, a new
format), and paid images are stored whether or not they can be decoded here.
"""

from __future__ import annotations

import codecs
import mmap
import re
from mimetypes import MimeTypes
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from dagster_gptimg.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

Data: TypeAlias = bytes | mmap.mmap
"""A whole file: in memory, or a large one mapped from disk."""


class Kind(NamedTuple):
    """A kind of file: its content type, and its file ending."""

    content_type: str
    ending: str


PNG = Kind("image/png", "png")
JPEG = Kind("image/jpeg", "jpg")
WEBP = Kind("image/webp", "webp")
GIF = Kind("image/gif", "gif")
BMP = Kind("image/bmp", "bmp")
TIFF = Kind("image/tiff", "tif")
AVIF = Kind("image/avif", "avif")
HEIC = Kind("image/heic", "heic")
JXL = Kind("image/jxl", "jxl")
JP2 = Kind("image/jp2", "jp2")
ICO = Kind("image/vnd.microsoft.icon", "ico")
SVG = Kind("image/svg+xml", "svg")
UNKNOWN = Kind("application/octet-stream", "bin")

_BEGINNINGS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"\xff\x0a", JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JP2),
    (b"\xff\x4f\xff\x51", Kind("image/j2c", "j2c")),
    (b"\0\0\1\0", ICO),
    (b"8BPS\0", Kind("image/vnd.adobe.photoshop", "psd")),
    (b"\x76\x2f\x31\x01", Kind("image/x-exr", "exr")),
    (b"qoif", Kind("image/qoi", "qoi")),
    (b"DDS \x7c\0\0\0", Kind("image/vnd.ms-dds", "dds")),
    (b"#?RADIANCE\n", Kind("image/vnd.radiance", "hdr")),
    (b"#?RGBE\n", Kind("image/vnd.radiance", "hdr")),
    (b"%PDF-", Kind("application/pdf", "pdf")),
    (b"%!PS", Kind("application/postscript", "eps")),
    (b"\xc5\xd0\xd3\xc6", Kind("application/postscript", "eps")),
    (b"/* XPM */", Kind("image/x-xpixmap", "xpm")),
)
_NETPBM = re.compile(rb"P[1-7]\s+(?:#[^\n]*\n\s*)*(?:\d|WIDTH)")
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
"""Valid lengths of the header after a BMP's first 14 bytes; its magic number alone is two letters of any text."""

_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), HEIC),
    **dict.fromkeys((b"mif1", b"msf1"), HEIC),  # any codec: only where no other brand says which
}

_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/apng": "image/png",
    "image/heif": "image/heic",
    "image/svg": "image/svg+xml",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
    "image/jpx": "image/jp2",
}
"""Aliases of content types."""

_KNOWN = frozenset({kind.content_type for _, kind in _BEGINNINGS} | _SAME.keys()) | {
    kind.content_type for kind in (PNG, WEBP, BMP, AVIF, HEIC, SVG)
}
"""Types that are recognized by the bytes: a file that is called one of these, and is not recognized, is another one."""

_PAGES = re.compile(r"text/.*|application/(?:.*\+)?(?:json|xml)")
_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9][a-z0-9.+-]{0,80}")
_GENERIC = frozenset({UNKNOWN.content_type, "binary/octet-stream", "application/binary", "application/unknown"})
_ENDING = re.compile(r"[a-z0-9]{1,8}")
_ENDINGS = MimeTypes(filenames=())  # of Python alone: what a machine's own list says differs from machine to machine

_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has, except in UTF-16 and UTF-32 (https://mimesniff.spec.whatwg.org, section 3)."""

_LOOKED_AT = 1445
"""Number of bytes within which one of these must occur unless the file is text (same source, section 7.2)."""

MARKS_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BEFORE_ROOT = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE(?:[^\[>]*)(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE)
_SVG_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?svg[\s/>]")
HEAD = 65_536
"""Number of bytes within which the root of an SVG must begin, after its declarations and comments."""


def kind_of(data: Data) -> Kind:
    """Return the kind of a file; `UNKNOWN` for bytes that are neither of a known kind nor text.

    Raises:
        ImageError: there are no bytes, or they are a text that is not an image, such as a gateway's error page.
    """
    if not len(data):
        raise ImageError("the image has no bytes")
    head = data[:64]
    if (kind := _by_beginning(head, data)) is not None:
        return kind
    if _is_text(data[:_LOOKED_AT]):
        if svg_from(data):
            return SVG
        raise ImageError(f"a text page ({len(data)} bytes) instead of an image")
    return UNKNOWN


def called(kind: Kind, told: Sequence[str | None]) -> Kind:
    """Return the kind under which a file is stored: its own; for an unknown one, that which the answers name.

    `told`: content types from headers and JSON; the first specific one counts.
    """
    if kind is not UNKNOWN:
        return kind
    types = [name for name in map(_type, told) if name and name not in _GENERIC and not _is_contradicted(name)]
    if not types:
        return UNKNOWN
    ending = (_ENDINGS.guess_extension(types[0]) or "").removeprefix(".")
    return Kind(types[0], ending if _ENDING.fullmatch(ending) else UNKNOWN.ending)


def contradiction(kind: Kind, told: Sequence[str | None]) -> str | None:
    """Return a type that an answer names, although the bytes are of another kind. `told`: as for `called`."""
    for name in map(_type, told):
        own = _SAME.get(name, name) == kind.content_type
        if name and name not in _GENERIC and not own and (kind is not UNKNOWN or _is_contradicted(name)):
            return name
    return None


def _is_contradicted(name: str) -> bool:
    return name in _KNOWN or _PAGES.fullmatch(name) is not None


def _type(told: str | None) -> str:
    """Return a content type without its parameters; empty if it is not valid."""
    name = (told or "").partition(";")[0].strip().lower()
    return name if _TYPE.fullmatch(name) else ""


def _by_beginning(head: bytes, data: Data) -> Kind | None:
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        return _by_brand(data)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BMP
    return Kind("image/x-portable-anymap", "pnm") if _NETPBM.match(head) else None


def _by_brand(data: Data) -> Kind | None:
    """Return the kind of an ISO base media file by its declared brands, the most specific first."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]
    found = {_BRANDS[brand] for brand in brands if brand in _BRANDS}
    return AVIF if AVIF in found else HEIC if found else None


def _is_text(head: bytes) -> bool:
    return head.startswith((codecs.BOM_UTF8, *MARKS_UTF16)) or _BINARY.search(head) is None


def svg_from(data: Data) -> str:
    """Return the beginning of an SVG from its root element; empty for other texts, also for HTML that contains one."""
    head, at = data[:HEAD], 0
    encoding = "utf-16" if head.startswith(MARKS_UTF16) else "utf-8-sig"
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    while match := _BEFORE_ROOT.match(text, at):
        at = match.end()
    return text[at:] if _SVG_ROOT.match(text, at) else ""
