"""SVGs: their size by their first tag, and their well-formedness by a parser that expands and loads nothing."""

from __future__ import annotations

import time
from xml.parsers import expat

import pytest

from dagster_gptimg.errors import ImageError
from dagster_gptimg.store.images.formats import svg
from dagster_gptimg.store.images.formats.svg import shapes_in, svg_size
from dagster_gptimg.store.images.image_files import inspect
from tests.pictures import HOSTILE, SVG

NAMESPACE = "xmlns='http://www.w3.org/2000/svg'"


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="640" height="480"', (640, 480)),
        ("width='640px' height=' 480.4px '", (640, 480)),
        ('viewBox="0 0 300 200"', (300, 200)),
        ('width="640" height="480" viewBox="0 0 300 200"', (640, 480)),
        ('width="100%" height="100%" viewBox="0,0 , 300 200.0"', (300, 200)),
        ('stroke-width="3" data-x=" width=\'9\' height=\'9\'" viewBox="0 0 300 200"', (300, 200)),
        ('width="10cm" height="5cm" viewBox="0 0 300 200"', (None, None)),
        ('width="640" viewBox="0 0 300 200"', (None, None)),
        ('viewBox="0 0 -300 200"', (None, None)),
        ('viewBox="0 0 300"', (None, None)),
        ('width="0" height="9"', (None, None)),
        ('width="1e9" height="9"', (None, None)),
        ('width="&w;" height="9"', (None, None)),
        ("", (None, None)),
    ],
)
def test_the_size_is_that_of_the_attributes_or_of_the_view_box(
    attributes: str, size: tuple[int | None, int | None]
) -> None:
    text = f"<?xml version='1.0'?><!-- <svg width='1' height='1'> --><svg {NAMESPACE} {attributes}><path/></svg>"
    assert svg_size(text.encode()) == size
    assert svg_size(text.encode("utf-16")) == size


@pytest.mark.parametrize("tag", ["a" * 65_000, "a " * 32_000, "a=" * 32_000, '"a" ' * 16_000, f"a{' ' * 65_000}="])
def test_a_long_first_tag_is_read_in_no_time(tag: str) -> None:
    began = time.process_time()
    assert inspect(f"<svg {NAMESPACE} {tag}></svg>".encode()).width is None
    assert time.process_time() - began < 5  # thirty seconds and more where the time grows with the square


def test_a_side_that_no_column_holds_is_not_taken_for_a_size() -> None:
    found = inspect(f'<svg {NAMESPACE} width="99999999999" height="9"/>'.encode())
    assert (found.width, found.height, found.hole) == (None, None, "")


def test_a_well_formed_drawing_is_parsed_to_its_end() -> None:
    assert shapes_in(SVG) == 1
    assert shapes_in(f"<s:svg xmlns:s='http://www.w3.org/2000/svg'><s:g>{'<s:path/>' * 9}</s:g></s:svg>".encode()) == 9
    old = b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
    assert shapes_in(old + SVG) == 1
    assert shapes_in(SVG.decode().encode("utf-16")) == 1
    assert shapes_in(f"<svg {NAMESPACE}><defs/><title>nothing</title></svg>".encode()) == 0
    assert shapes_in(f"<svg {NAMESPACE}>{'<g>' * 20_000}<path/>{'</g>' * 20_000}</svg>".encode()) == 1


@pytest.mark.parametrize(
    "data",
    [
        SVG[:-6],
        SVG + b"<html/>",
        SVG.replace(b'width="96"', b"width=96"),
        SVG.replace(b"/></svg>", b"></svg>"),
        SVG.replace(b'r="40"', b'r="\x01"'),
    ],
)
def test_what_is_not_well_formed_is_found(data: bytes) -> None:
    with pytest.raises(expat.ExpatError):
        shapes_in(data)


def test_another_root_than_svgs_own_draws_nothing() -> None:
    for text in ("<svg><path/></svg>", f"<html><svg {NAMESPACE}/></html>", "<svg xmlns='http://example.com/'/>"):
        with pytest.raises(ValueError, match="root element is not SVG's own"):
            shapes_in(text.encode())


@pytest.mark.parametrize("name", HOSTILE)
def test_no_entity_is_expanded_and_nothing_is_loaded(name: str) -> None:
    if "entity" in name:
        with pytest.raises(ValueError, match="declares an entity"):
            shapes_in(HOSTILE[name])
    else:
        assert shapes_in(HOSTILE[name]) == {"a script": 0, "a style": 0, "a link": 1, "everything": 4}.get(name, 1)


def test_only_so_many_bytes_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg, "BYTES_MOST", len(SVG))
    assert shapes_in(SVG) == 1
    with pytest.raises(ImageError, match="are parsed"):
        shapes_in(SVG + b" ")
