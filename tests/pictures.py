"""Pictures that every viewer opens, and that no two programs write alike; made here, so that no file is needed."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, PngImagePlugin

SIDE = 96


class Picture(NamedTuple):
    """One file as a CDN serves it.

    Attributes:
        ending: of its name in the store.
        told: its content type, as the CDN and the result have it.
        odd: words of the note that a record of it must have; empty: it may have one on its size only.
    """

    data: bytes
    ending: str
    told: str
    odd: str = ""


def drawn(mode: str = "RGB", side: int = SIDE, seed: int = 1) -> Image.Image:
    """A picture that compresses badly, so that its pixels make up most of a file."""
    noise = Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(side * side * 3))
    ImageDraw.Draw(noise).ellipse((9, 9, side // 2, side // 2), fill=(200, 40, 90))
    if mode == "RGBA":
        noise.putalpha(Image.linear_gradient("L").resize(noise.size))
    return noise if mode in {"RGB", "RGBA"} else noise.convert(mode)


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    buffer = io.BytesIO()
    drawn(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, kind: bytes, data: bytes, *, flipped: bool = False) -> bytes:
    """A PNG with one more chunk behind its header; `flipped`: its checksum is wrong."""
    more = chunk(kind, data)
    more = more[:-1] + bytes([more[-1] ^ 1]) if flipped else more
    return png[:33] + more + png[33:]


def with_sides(png: bytes, width: int, height: int) -> bytes:
    """A PNG whose header has other sides."""
    return png[:8] + chunk(b"IHDR", struct.pack(">II", width, height) + png[24:29]) + png[33:]


@cache
def large_png(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, all of them black, of any size, in little memory."""
    packer, piece = zlib.compressobj(1), bytes(2**20)
    pieces, rest = divmod(height * (1 + (width + 7) // 8), len(piece))
    rows = b"".join(packer.compress(piece) for _ in range(pieces)) + packer.compress(piece[:rest]) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def big_tiff() -> bytes:
    """A BigTIFF, which has addresses of 8 bytes."""
    entries = [(256, 3, 1, 4), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 16, 1, 16)]
    entries += [(278, 3, 1, 2), (279, 4, 1, 8)]
    table = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, 24) + bytes(range(8)) + struct.pack("<Q", 8) + table + bytes(8)


def without_end(jpeg: bytes) -> bytes:
    """A JPEG as some cameras write it: without the marker of its end."""
    assert jpeg.endswith(b"\xff\xd9")
    return jpeg[:-2]


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96"><circle cx="48" cy="48" r="40"/></svg>'

_HOSTILE = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_FILE = '<!DOCTYPE svg [<!ENTITY a SYSTEM "a.txt">]>'
_PARTS = {
    "a script": "<script>alert(1)</script>",
    "a handler": '<rect width="9" height="9" onload="alert(1)" onclick="alert(1)"/>',
    "an address": '<image width="9" height="9" xlink:href="https://example.com/a.png"/>',
    "a link": '<a xlink:href="javascript:alert(1)"><text>click</text></a>',
    "a page": '<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><img src="x"/></body></foreignObject>',
    "a style": "<style>@import url(https://example.com/a.css);</style>",
}
HOSTILE = {
    **{name: f"<svg {_HOSTILE}>{part}</svg>".encode() for name, part in _PARTS.items()},
    "everything": f'<svg {_HOSTILE} onload="alert(1)">{"".join(_PARTS.values())}</svg>'.encode(),
    "an entity": f'<!DOCTYPE svg [<!ENTITY a "aa">]><svg {_HOSTILE}><text>&a;&a;</text></svg>'.encode(),
    "an entity of a file": f"{_FILE}<svg {_HOSTILE}><text>&a;</text></svg>".encode(),
    "a parameter entity": f'<!DOCTYPE svg [<!ENTITY % a "b"> %a;]><svg {_HOSTILE}><path/></svg>'.encode(),
}
"""SVGs with what a viewer might execute, load or expand; harmless here and elsewhere."""


@cache
def pictures() -> dict[str, Picture]:
    """By name; each is whole."""
    png, jpeg, webp, gif = saved("PNG"), saved("JPEG", quality=90), saved("WEBP"), saved("GIF", "P")
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", "x" * 2_000_000, zip=True)  # more than Pillow takes of a compressed text
    frames = [drawn("P", seed=seed) for seed in (1, 2, 3)]
    trailer = "stands behind its end", "stand behind its end"
    made = {
        "png rgb": Picture(png, "png", "image/png"),
        "png rgba": Picture(saved("PNG", "RGBA"), "png", "image/png"),
        "png grey": Picture(saved("PNG", "L"), "png", "image/png"),
        "png grey and alpha": Picture(saved("PNG", "LA"), "png", "image/png"),
        "png palette": Picture(saved("PNG", "P"), "png", "image/png"),
        "png one bit": Picture(saved("PNG", "1"), "png", "image/png"),
        "png 16 bits": Picture(saved("PNG", "I;16"), "png", "image/png"),
        "png animated": Picture(saved("PNG", save_all=True, append_images=frames[1:]), "png", "image/apng"),
        "png with a private chunk": Picture(with_chunk(png, b"caBX", b"credentials" * 900), "png", "image/png"),
        "png with a long text": Picture(saved("PNG", pnginfo=text), "png", "image/png"),
        "png with a wrong profile": Picture(with_chunk(png, b"iCCP", b"p\0\0rubbish"), "png", "image/png"),
        "png with a flipped text": Picture(
            with_chunk(png, b"tEXt", b"a\0b", flipped=True), "png", "image/png", "checksum of its chunk tEXt"
        ),
        "png and a line feed": Picture(png + b"\n", "png", "image/png", trailer[0]),
        "png and zeros": Picture(png + bytes(512), "png", "image/png", trailer[1]),
        "png and a zip": Picture(png + b"PK\5\6" + bytes(18), "png", "image/png", trailer[1]),
        "png called a jpeg": Picture(png, "png", "image/jpeg", "calls it image/jpeg"),
        "png called a page": Picture(png, "png", "text/html; charset=utf-8", "calls it text/html"),
        "png of 180 million pixels": Picture(large_png(18_000, 10_000), "png", "image/png"),
        "png of 900 million pixels": Picture(large_png(30_000, 30_000), "png", "image/png"),
        "jpeg": Picture(jpeg, "jpg", "image/jpeg"),
        "jpeg progressive": Picture(saved("JPEG", progressive=True), "jpg", "image/jpeg"),
        "jpeg grey": Picture(saved("JPEG", "L"), "jpg", "image/jpeg"),
        "jpeg cmyk": Picture(saved("JPEG", "CMYK"), "jpg", "image/jpg"),
        "jpeg and zeros": Picture(jpeg + bytes(64), "jpg", "image/jpeg", trailer[1]),
        "jpeg and a motion picture": Picture(jpeg + b"\0\0\0\x18ftypmp42" + bytes(99), "jpg", "image/jpeg", trailer[1]),
        "jpeg without its end": Picture(without_end(jpeg), "jpg", "image/jpeg", "end marker is missing"),
        "jpeg of two pictures": Picture(
            saved("MPO", save_all=True, append_images=[drawn(seed=2)]), "jpg", "image/jpeg"
        ),
        "jpeg called a png": Picture(jpeg, "jpg", "image/png", "calls it image/png"),
        "webp": Picture(webp, "webp", "image/webp"),
        "webp lossless": Picture(saved("WEBP", "RGBA", lossless=True), "webp", "image/webp"),
        "webp animated": Picture(saved("WEBP", save_all=True, append_images=frames[1:]), "webp", "image/webp"),
        "webp and a line feed": Picture(webp + b"\n", "webp", "image/webp", trailer[0]),
        "gif": Picture(gif, "gif", "image/gif"),
        "gif animated": Picture(saved("GIF", "P", save_all=True, append_images=frames[1:]), "gif", "image/gif"),
        "gif and zeros": Picture(gif + bytes(3), "gif", "image/gif", trailer[1]),
        "gif without its end": Picture(gif.removesuffix(b";"), "gif", "image/gif", "end marker is missing"),
        "bmp": Picture(saved("BMP"), "bmp", "image/x-ms-bmp"),
        "tiff": Picture(saved("TIFF"), "tif", "image/tiff"),
        "tiff lzw": Picture(saved("TIFF", compression="tiff_lzw"), "tif", "image/tiff"),
        "tiff large": Picture(big_tiff(), "tif", "image/tiff"),
        "avif": Picture(saved("AVIF"), "avif", "image/avif"),
        "jpeg 2000": Picture(saved("JPEG2000"), "jp2", "image/jp2"),
        "ico": Picture(saved("ICO"), "ico", "image/x-icon"),
        "svg": Picture(SVG, "svg", "image/svg+xml"),
        "svg with a declaration": Picture(
            b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a -->' + SVG, "svg", "image/svg+xml"
        ),
        "pixmap": Picture(saved("PPM"), "pnm", "image/x-portable-anymap"),
        "a kind that nobody knows": Picture(
            b"\x01\x02NEW\0" + bytes(99), "bin", "image/x-new", "no kind that is known"
        ),
    }
    assert len(made) > 40
    return made


def cut() -> dict[str, tuple[bytes, bytes]]:
    """By name: the whole file, and what an interrupted copy of it leaves."""
    whole = {name: pictures()[name].data for name in ("png rgb", "jpeg", "jpeg progressive", "webp", "gif", "bmp")}
    whole |= {name: pictures()[name].data for name in ("tiff", "tiff lzw", "avif", "jpeg 2000", "svg")}
    return {name: (data, data[: len(data) * 2 // 3]) for name, data in whole.items()}


def undecodable() -> bytes:
    """A PNG whose chunks and checksums are right, and whose pixels are rubbish."""
    header = struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"rubbish" * 50) + chunk(b"IEND", b"")
