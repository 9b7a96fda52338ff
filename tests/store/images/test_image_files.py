"""Images are looked at before they are recorded, and kept as they came: only what proves to be incomplete is not."""

from __future__ import annotations

import hashlib
import io
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from dagster_gptimg.errors import ImageError, IncompleteImageError
from dagster_gptimg.store.images.decoding import is_black
from dagster_gptimg.store.images.image_files import find_image, inspect, store_image
from dagster_gptimg.store.root import Store
from tests.pictures import cut, large_png, pictures, saved, with_chunk, with_sides

if TYPE_CHECKING:
    from pathlib import Path

CUT = ["png rgb", "jpeg", "jpeg progressive", "webp", "gif", "bmp", "tiff", "tiff lzw", "avif", "jpeg 2000", "svg"]


@pytest.mark.parametrize("name", sorted(pictures()))
@pytest.mark.parametrize("is_file", [False, True])
def test_whole_images_are_kept_byte_by_byte_under_what_they_are(tmp_path: Path, name: str, *, is_file: bool) -> None:
    picture, store = pictures()[name], Store(str(tmp_path / "store"))
    file = tmp_path / "file"
    file.write_bytes(picture.data)
    stored = store_image(store, "d", "abc-R1-0", file if is_file else picture.data, [picture.told])
    assert stored.path == f"images/ab/abc-R1-0.{picture.ending}"
    assert stored.bytes == len(picture.data)
    assert stored.sha256 == hashlib.sha256(picture.data).hexdigest()
    assert store.read(f"d/{stored.path}") == picture.data
    assert any(picture.odd in note for note in stored.notes) if picture.odd else stored.notes == ()
    assert find_image(store, "d", "abc-R1-0") is not None


@pytest.mark.parametrize("name", [*(name for name in CUT if name != "svg"), "png 16 bits", "gif animated", "jpeg cmyk"])
def test_the_size_in_pixels_is_known(name: str) -> None:
    found = inspect(pictures()[name].data)
    assert (found.width, found.height) == (96, 96)


def test_the_size_of_a_picture_that_no_decoder_takes_is_known() -> None:
    found = inspect(large_png(30_000, 40_000))
    assert (found.width, found.height, found.hole) == (30_000, 40_000, "")


def test_the_frames_of_a_gif_are_counted() -> None:
    found = {name: inspect(pictures()[name].data).frames for name in ("gif", "gif animated", "gif without its end")}
    assert found == {"gif": 1, "gif animated": 3, "gif without its end": 1}
    assert inspect(pictures()["png animated"].data).frames is None


def test_an_animation_that_begins_in_black_is_not_black() -> None:
    black, white = (Image.new("RGB", (96, 96), colour) for colour in ("black", "white"))
    for frames, found in (([], True), ([white], False)):
        buffer = io.BytesIO()
        black.save(buffer, "GIF", save_all=True, append_images=frames)
        assert is_black(buffer.getvalue(), (96, 96)) == found


def test_a_side_that_no_column_holds_is_not_taken_for_a_size() -> None:
    """One such number would take the whole list of a request's images out of the settled index."""
    found = inspect(with_sides(saved("PNG"), 2**32 - 1, 96))
    assert (found.width, found.height, found.hole) == (None, None, "")
    assert inspect(with_sides(saved("PNG"), 2**31 - 1, 96)).width == 2**31 - 1


@pytest.mark.parametrize("name", CUT)
def test_an_image_that_ends_early_is_not_taken_unless_it_stays_so(tmp_path: Path, name: str) -> None:
    data, store = cut()[name][0], Store(str(tmp_path))
    for keep in (0.02, 0.3, 0.5, 0.9, 0.97):
        part = data[: max(int(len(data) * keep), 24)]
        with pytest.raises(IncompleteImageError) as raised:
            store_image(store, "d", "abc-R1-0", part)
        assert raised.value.sha256 == hashlib.sha256(part).hexdigest()
    assert list(tmp_path.iterdir()) == []
    part = data[: len(data) // 2]
    stored = store_image(store, "d", "abc-R1-0", part, as_it_is=True)
    assert store.read(f"d/{stored.path}") == part
    assert stored.notes[0].endswith(", and it came so again")


@pytest.mark.parametrize("name", sorted(pictures()))
def test_no_cut_of_a_file_at_any_place_breaks_the_look_at_it(name: str) -> None:
    data = pictures()[name].data
    for place in {*range(1, 80), *random.Random(1).sample(range(1, len(data)), min(60, len(data) - 1))}:
        for told in (data[:place], data[:place] + b"\xff" * 40, data[place:]):
            with suppress(ImageError):  # a part of an SVG is a page of text
                inspect(told, ["image/png"])


def test_a_flipped_bit_in_a_png_is_found_wherever_a_picture_depends_on_it() -> None:
    data = saved("PNG", "L")
    for place in range(8, len(data), 7):
        broken = bytearray(data)
        broken[place] ^= 0x10
        assert inspect(bytes(broken)).hole, place


def test_a_flipped_bit_in_what_no_picture_depends_on_is_a_note() -> None:
    found = inspect(with_chunk(saved("PNG"), b"tEXt", b"a\0b", flipped=True))
    assert (found.hole, found.notes) == ("", ("the checksum of its chunk tEXt at byte 33 is wrong",))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>no</html>",
        b'{"detail": "no"}',
        b"\xef\xbb\xbf  upstream error",
        "<html>nö</html>".encode("utf-16"),
        b"<!DOCTYPE html><html><svg xmlns='http://www.w3.org/2000/svg'></svg></html>",
    ],
)
def test_what_is_no_file_of_fal_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError) as raised:
        inspect(data)
    assert not isinstance(raised.value, IncompleteImageError)


def test_a_jpeg_without_its_end_is_taken_only_with_all_its_pixels() -> None:
    data = saved("JPEG", quality=90)
    assert inspect(data[:-2]).notes == ("its end marker is missing",)
    assert inspect(data[: len(data) * 9 // 10]).hole


def box(kind: bytes, data: bytes = b"") -> bytes:
    return (8 + len(data)).to_bytes(4, "big") + kind + data


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (box(b"ftyp", b"heic\0\0\0\0mif1") + box(b"meta", bytes(40)) + box(b"mdat", bytes(200)), "heic"),
        (box(b"ftyp", b"mif1\0\0\0\0avif") + box(b"mdat", bytes(200)) + box(b"meta", bytes(99)), "avif"),
        (box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ") + box(b"jxlc", bytes(200)), "jxl"),
    ],
)
def test_files_made_of_boxes_are_whole_when_all_of_them_are_there(data: bytes, ending: str) -> None:
    found = inspect(data)
    assert (found.kind.ending, found.hole, found.notes) == (ending, "", ())
    assert all(inspect(data[:place]).hole for place in range(13, len(data)))
    assert inspect(data + b"\r\n\r\n").notes == ("4 bytes stand behind its end",)
    assert inspect(data + b"a trailer of text").notes == ("17 bytes stand behind its end",)
