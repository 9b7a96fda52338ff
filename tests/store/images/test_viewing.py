"""Images as checks look at them: decoded to the last frame, within bounds; an SVG in words only."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from dagster_gptimg.errors import ImageError
from dagster_gptimg.store.images import viewing
from dagster_gptimg.store.images.decoding import MOST_PIXELS
from dagster_gptimg.store.images.viewing import shows_nothing, undrawn
from tests.pictures import SVG, drawn, large_png, pictures, saved

SIZE = (96, 96)
WHITE = Image.new("RGB", SIZE, "white")


def animation(kind: str, *frames: Image.Image) -> bytes:
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=40)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_blank_when_all_its_frames_are(kind: str) -> None:
    assert not shows_nothing(animation(kind, WHITE, drawn()), SIZE, MOST_PIXELS)
    assert not shows_nothing(animation(kind, drawn(), WHITE), SIZE, MOST_PIXELS)
    almost = WHITE.copy()
    almost.putpixel((1, 1), (254, 255, 255))
    assert shows_nothing(animation(kind, WHITE, almost), SIZE, MOST_PIXELS)


def test_an_animation_must_decode_to_its_last_frame() -> None:
    whole = pictures()["gif animated"].data
    assert not shows_nothing(whole, SIZE, MOST_PIXELS)
    cut = whole[: len(whole) * 9 // 10]  # within the third frame
    with pytest.raises(OSError, match="truncated"):
        shows_nothing(cut, SIZE, MOST_PIXELS)


def test_frames_are_decoded_up_to_a_number_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pictures()["gif animated"].data
    monkeypatch.setattr(viewing, "FRAMES_MOST", 2 * 96 * 96)
    assert not shows_nothing(whole[: len(whole) * 9 // 10], SIZE, MOST_PIXELS)  # the third one is not looked at


def test_a_frame_larger_than_what_was_asked_for_is_not_decoded() -> None:
    pages = animation("TIFF", WHITE, Image.new("1", (5000, 5000)))
    with pytest.raises(ImageError, match="5000 x 5000"):
        shows_nothing(pages, SIZE, 96 * 96 * 4)


def test_an_svg_is_parsed_and_blank_without_a_shape() -> None:
    assert not shows_nothing(SVG, (None, None), MOST_PIXELS)
    assert shows_nothing(b"<svg xmlns='http://www.w3.org/2000/svg'/>", (96, 96), MOST_PIXELS)


def test_what_stands_for_an_svg_are_words_and_all_others_are_drawn() -> None:
    assert undrawn("image/svg+xml", 12_345) == "SVG, 12,345 bytes, not drawn"
    assert undrawn("image/svg+xml", None) == "SVG, not drawn"
    for kind in ("image/png", "image/gif", "application/octet-stream", None):
        assert undrawn(kind, 9) == ""


def test_an_image_too_large_is_not_decoded() -> None:
    with pytest.raises(ImageError, match="up to"):
        shows_nothing(large_png(30_000, 30_000), (30_000, 30_000), MOST_PIXELS)
    assert not shows_nothing(saved("PNG"), SIZE, MOST_PIXELS)
