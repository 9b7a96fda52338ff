"""The pictures: right size, format and background, each different, any prompt, never refused by mistake."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree as ET

import pytest
from PIL import Image, ImageChops

from dagster_gptimg.emulator.drawing.captions import clean, shortened, wrapped
from dagster_gptimg.emulator.drawing.pictures import Picture, paint
from dagster_gptimg.emulator.models.policy import REFUSED_WORDS, refused_word
from tests.emulator.harness import Emulator
from tests.prompt_table import rows

SIZES = {"auto": (1024, 1024), "1024x1024": (1024, 1024), "1536x1024": (1536, 1024), "1024x1536": (1024, 1536)}


def _opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def _picture(name: str = "a:0", prompt: str = "a cat", form: str = "png", *, transparent: bool = False) -> Image.Image:
    return _opened(paint(Picture(name, prompt, 1024, 1024, form, transparent)))


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("image_size", list(SIZES))
@pytest.mark.parametrize("background", ["auto", "transparent", "opaque"])
def test_as_asked_for(form: str, image_size: str, background: str, quick: Emulator) -> None:
    handle = quick.submit(output_format=form, image_size=image_size, background=background)
    (file,) = quick.finished(handle).json()["images"]
    reply = quick.http.get(file["url"], headers={"Authorization": ""})
    picture = _opened(reply.content)
    assert picture.size == SIZES[image_size]
    assert (picture.format or "").lower() == form
    assert reply.headers["content-type"] == f"image/{form}"
    assert file["url"].endswith({"jpeg": ".jpg"}.get(form, f".{form}"))
    assert (picture.mode == "RGBA") == (background == "transparent" and form != "jpeg")
    if picture.mode == "RGBA":
        assert picture.getchannel("A").getextrema() == (0, 255)


def test_each_is_different_and_each_download_is_the_same(quick: Emulator) -> None:
    images = quick.finished(quick.submit("the same prompt", num_images=4)).json()["images"]
    images += quick.finished(quick.submit("the same prompt", num_images=4)).json()["images"]
    contents = [quick.http.get(image["url"]).content for image in images]
    assert len(set(contents)) == 8
    assert quick.http.get(images[0]["url"]).content == contents[0]


def test_a_gif_moves_and_an_svg_holds_the_prompt_as_text() -> None:
    gif = paint(Picture("a:0", "a cat", 320, 240, "gif"))
    assert paint(Picture("a:0", "a cat", 320, 240, "gif")) == gif
    with Image.open(io.BytesIO(gif)) as moving:
        assert (moving.format, moving.size, getattr(moving, "n_frames")) == ("GIF", (320, 240), 3)  # noqa: B009
    prompt = "</text><script>alert(1)</script> & \"'"
    svg = paint(Picture("a:0", prompt, 320, 240, "svg"))
    root = ET.fromstring(svg)
    assert (root.get("width"), root.get("height")) == ("320", "240")
    assert prompt in [element.text for element in root]
    assert {element.tag.partition("}")[2] for element in root} == {"rect", "circle", "text"}
    clear = ET.fromstring(paint(Picture("a:0", prompt, 320, 240, "svg", transparent=True)))
    assert "rect" not in {element.tag.partition("}")[2] for element in clear}


def test_links_that_lead_nowhere(quick: Emulator) -> None:
    quick.set(latency=0.4)
    handle = quick.submit("a cat")
    early = quick.http.get(f"/files/lion/{handle['request_id']}_0.png")
    url = quick.finished(handle).json()["images"][0]["url"]
    assert early.status_code == 404
    assert quick.http.head(url).status_code == 200
    assert quick.http.get(url.replace("/files/", "/files/b/")).status_code == 200
    for wrong in (url.replace("_0.", "_1."), url.replace(".png", ".jpg"), url + "x", f"{quick.url}/files/lion/x_0.png"):
        assert quick.http.get(wrong).status_code == 404


def test_data_uris(quick: Emulator) -> None:
    images = quick.finished(quick.submit("in line", sync_mode=True, num_images=2)).json()["images"]
    for image in images:
        prefix, _, data = image["url"].partition(",")
        assert prefix == "data:image/png;base64"
        assert _opened(base64.b64decode(data)).size == (1024, 1024)


def test_the_prompt_and_the_mark_are_on_it() -> None:
    one, other = _picture(prompt="a cat"), _picture(prompt="a dog")
    left, top, right, bottom = ImageChops.difference(one, other).getbbox() or (0, 0, 0, 0)
    assert top > 700, "only the panel differs"
    assert right - left > 20
    assert bottom - top > 10
    mark = one.crop((42, 42, 440, 92)).convert("L")
    low, high = mark.getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert high - low > 120, "light letters on a dark band"


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " \n\t ",
        "x" * 32_000,
        "word " * 6_400,
        "日本語のプロンプト 🎉",
        "Ärger, naïve, œuvre \u2013 “quoted”",
        "\x00\x07\u202e\u200d\ufffd",
        "é" * 400,
        "a\u0301" * 1000,
        "\U0010ffff" * 50,
        "ﷺ" * 600,
    ],
)
@pytest.mark.parametrize("size", [(1024, 1024), (1536, 1024), (1024, 1536)])
def test_any_prompt_can_be_drawn(prompt: str, size: tuple[int, int]) -> None:
    assert _opened(paint(Picture("a:0", prompt, *size, "jpeg"))).size == size


def test_lines_fit() -> None:
    text = clean("A very long sentence about a " + "n" * 200 + " thing and what came of it")
    lines = wrapped(text, 400, 30)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(shortened(line, 400, 30) == line for line in lines)
    assert shortened("n" * 200, 400, 30).endswith("...")
    assert clean("x" * 600).endswith("...")
    assert clean("Ärger \u2013 naïve") == "Arger - naive"


def test_no_prompt_of_the_prompt_table_is_refused() -> None:
    assert [row.Prompt for row in rows() if refused_word(row.Prompt)] == []


def test_refused_words_are_whole_words() -> None:
    assert all(refused_word(f"Some {word.upper()}, please") for word in REFUSED_WORDS)
    assert refused_word("Al Gore gored a category of gorillas") == "Gore"
    assert refused_word("gorgeous gorillas") is None
