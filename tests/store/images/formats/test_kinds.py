"""What a file is, by its bytes: what is called something else is told, and a page of text is never an image."""

from __future__ import annotations

import pytest

from dagster_gptimg.errors import ImageError
from dagster_gptimg.store.images.formats import UNKNOWN, Kind, called, contradiction, kind_of
from dagster_gptimg.store.images.formats.kinds import JPEG, PNG, SVG, WEBP
from tests.pictures import saved

NEW = b"\x01\x02\x03 a format that nobody knows yet"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (saved("PNG"), PNG),
        (saved("JPEG"), JPEG),
        (saved("WEBP"), WEBP),
        (b'\xef\xbb\xbf<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg"/>', SVG),
        (NEW, UNKNOWN),
    ],
    ids=["png", "jpeg", "webp", "svg", "unknown"],
)
def test_a_file_is_what_its_bytes_say(data: bytes, kind: Kind) -> None:
    assert kind_of(data) == kind


@pytest.mark.parametrize("data", [b"", b"BM is how this page begins", b"<html><svg/></html>", b"{}"])
def test_text_and_nothing_are_no_images(data: bytes) -> None:
    with pytest.raises(ImageError):
        kind_of(data)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (["image/new"], Kind("image/new", "bin")),
        (["application/octet-stream", "image/new; q=1"], Kind("image/new", "bin")),
        ([None, "", "no type"], UNKNOWN),
        (["image/png"], UNKNOWN),  # its bytes would say so
        (["text/html"], UNKNOWN),
    ],
)
def test_a_file_of_an_unknown_kind_is_called_what_its_answer_says(told: list[str | None], kind: Kind) -> None:
    assert called(kind_of(NEW), told) == kind
    assert called(PNG, told) == PNG


@pytest.mark.parametrize(
    ("kind", "told", "wrong"),
    [
        (PNG, ["image/jpeg"], "image/jpeg"),
        (PNG, ["image/png", None], None),
        (JPEG, ["image/jpg"], None),
        (PNG, ["binary/octet-stream"], None),
        (SVG, ["image/svg+xml; charset=utf-8", "image/svg"], None),
        (SVG, ["image/png"], "image/png"),
        (PNG, ["image/svg+xml"], "image/svg+xml"),
        (UNKNOWN, ["image/svg+xml"], "image/svg+xml"),
        (UNKNOWN, ["image/png"], "image/png"),
        (UNKNOWN, ["image/new"], None),
        (UNKNOWN, ["application/problem+json"], "application/problem+json"),
    ],
)
def test_an_answer_that_calls_a_file_something_else_is_told(
    kind: Kind, told: list[str | None], wrong: str | None
) -> None:
    assert contradiction(kind, told) == wrong
