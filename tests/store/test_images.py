"""Images are checked before they are recorded, and kept as they came."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from dagster_gptimg.errors import ImageError
from dagster_gptimg.store.images import inspect, store_image
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from pathlib import Path


def image(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "ending"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_whole_images_are_kept_byte_by_byte_under_what_they_are(tmp_path: Path, kind: str, ending: str) -> None:
    data, store = image(kind), Store(str(tmp_path))
    stored = store_image(store, "d", "abc-R1-0", data)
    assert stored.path == f"images/ab/abc-R1-0.{ending}"
    assert (stored.width, stored.height, stored.bytes) == (64, 48, len(data))
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert store.read(f"d/{stored.path}") == data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("keep", [0, 0.01, 0.5, 0.99])
def test_a_cut_image_is_none(tmp_path: Path, kind: str, keep: float) -> None:
    data = image(kind)
    cut = data[: int(len(data) * keep)]
    with pytest.raises(ImageError):
        store_image(Store(str(tmp_path)), "d", "abc-R1-0", cut)
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_in_a_png_is_found_wherever_it_is() -> None:
    data = image("PNG", (16, 16))
    for place in range(8, len(data)):
        broken = bytearray(data)
        broken[place] ^= 0x10
        with pytest.raises(ImageError):
            inspect(bytes(broken))


@pytest.mark.parametrize(
    "data", [b"<html>no</html>", b'{"detail": "no"}', image("GIF"), image("BMP"), b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_image_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        inspect(data)
