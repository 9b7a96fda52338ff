"""`generate()` in a script, in a running event loop, and in a real notebook."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image, ImageShow

from dagster_gptimg import FalModel, GeneratedImages, RequestSettings, UsageError, generate, get_model, per_image
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from tests.engine.maintain.test_prune import forget_at_fal
from tests.harness import Fal, cli
from tests.support import ROOT

LOW = {"quality": "low", "image_size": "1024x1024"}
MINI = "gpt-image-1-mini"
"""A cent an image."""


def made(fal: Fal, store: Path, prompts: Any, **more: Any) -> GeneratedImages:
    given: dict[str, Any] = {"dataset": "d", "model": MINI, "arguments": LOW, "progress": False, **more}
    return generate(prompts, store=store, settings=FalSettings("test-key", FalUrls.at(fal.url)), **given)


async def test_a_list_of_prompts_becomes_images_once_also_in_a_running_loop(fal: Fal, store: Path) -> None:
    images = made(fal, store, ["a red cup", "a blue cup"])
    assert (images.summary.bought, images.summary.cost_billed) == (2, Decimal("0.02"))
    assert repr(images) == "<GeneratedImages: 2 bought, 0 reused, $0.02>"
    assert [image.prompt for image in images] == ["a red cup", "a blue cup"]
    assert (len(images), images[0].prompt, images[-1].prompt) == (2, "a red cup", "a blue cup")
    assert [image.prompt for image in images[1:]] == ["a blue cup"]
    with pytest.raises(IndexError):
        images[2]
    with images[0].open() as picture:
        assert picture.size == (1024, 1024)
    assert hashlib.sha256(images[0].read_image()).hexdigest() == images[0].sha256
    again = made(fal, store, ["a red cup", "a blue cup"])
    assert repr(again) == "<GeneratedImages: 0 bought, 2 reused, $0.00>"
    assert len(fal.charged()) == 2


@pytest.mark.parametrize("kind", ["dicts", "polars", "arrow", "url"])
def test_every_kind_of_table(fal: Fal, store: Path, tmp_path: Path, kind: str) -> None:
    rows = [{"sku": "a", "thing": "cup", "quality": "medium"}, {"sku": "b", "thing": "hat", "quality": "low"}]
    (tmp_path / "t.csv").write_text("sku,thing,quality\na,cup,medium\nb,hat,low\n", encoding="utf-8")
    tables: dict[str, Any] = {"dicts": rows, "polars": pl.DataFrame(rows), "arrow": pa.Table.from_pylist(rows)}
    table = tables.get(kind, str(tmp_path / "t.csv"))
    images = made(fal, store, table, template="a {thing}", id_column="sku")
    assert [(image.row_id, image.prompt, image.columns) for image in images] == [
        ("a", "a cup", {"thing": "cup"}),
        ("b", "a hat", {"thing": "hat"}),
    ]
    assert fal.bill()["total_usd"] == "0.03"
    # The command line knows them: it is the same run.
    named = ("--store", str(store), "--dataset", "d", "--template", "a {thing}", "--id-column", "sku")
    ran = cli(fal, "generate", str(tmp_path / "t.csv"), *named, "--set", "image_size=1024x1024", "--json")
    assert (ran.summary["bought"], ran.summary["reused"]) == (0, 2)


def test_a_plan_needs_no_key_and_buys_nothing(fal: Fal, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAL_KEY", raising=False)
    planned = generate(["a cup"], store=store, dataset="d", model=MINI, arguments=LOW, plan_only=True)
    assert repr(planned) == "<GeneratedImages: plan: 1 row, 0 images reused; 1 image to buy for $0.01>"
    assert (list(planned), planned.manifest, fal.bill()["rows"]) == ([], None, [])
    with pytest.raises(UsageError, match="no fal key"):
        generate(["a cup"], store=store, dataset="d")


def test_a_partition_that_no_row_has_is_an_error_before_anything_is_written(fal: Fal, store: Path) -> None:
    rows = [{"prompt": "a cup", "kind": "cups"}, {"prompt": "a bag", "kind": "bags"}]
    for plan_only in (False, True):
        with pytest.raises(UsageError, match=r"'bagz', and nothing was sent; the table has .*; did you mean 'bags'\?$"):
            made(fal, store, rows, partition=("kind", "bagz"), plan_only=plan_only)
    assert not any(store.rglob("*"))
    assert made(fal, store, rows, partition=("kind", "bags")).summary.bought == 1
    left = made(fal, store, rows[:1], partition=("kind", "bags"))
    assert (left.summary.rows, len(left.table)) == (0, 0), "its rows have left, and its image table is emptied"


def test_a_row_that_has_its_images_is_told_when_it_is_named_to_be_bought_again(
    fal: Fal, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "a cup", "sku": "a"}, {"prompt": "a bag", "sku": "b"}]
    made(fal, store, rows, id_column="sku")
    capsys.readouterr()
    words = "1 row ('a') had all images before, and nothing is bought for them: a stored image is never bought again"
    again = made(fal, store, rows, id_column="sku", again=["a"], progress=True)
    assert (again.summary.bought, again.summary.exit_status) == (0, 0)
    told = " ".join(capsys.readouterr().err.split())
    assert words in told
    assert "`regenerate` buys another take of a row" in told
    assert words in repr(made(fal, store, rows, id_column="sku", again=["a"], plan_only=True))
    assert words not in repr(made(fal, store, rows, id_column="sku", again=["refused"], plan_only=True))
    for plan_only in (False, True):
        with pytest.raises(UsageError, match="again: no row has the id 'c'"):
            made(fal, store, rows, id_column="sku", again=["c"], plan_only=plan_only)


def test_the_keywords_are_those_of_the_command_line(fal: Fal, store: Path) -> None:
    rows = [{"prompt": "a", "shop": "north"}, {"prompt": "b", "shop": "south"}, {"prompt": "c", "shop": "south"}]
    stopped = made(fal, store, rows, max_cost=0.01, max_in_flight=1)
    assert (stopped.summary.stop, len(stopped), len(stopped.without_images)) == ("budget", 1, 2)
    assert "stopped (budget): the next request could pass the limit of $0.01" in repr(stopped)
    part = made(fal, store, rows, partition=("shop", "south"), limit=1)
    assert [image.prompt for image in part] == ["b"]
    mine = FalModel.from_openapi(
        (ROOT / "tests" / "fixtures" / "openapi" / "gpt-image-1-mini.json").read_text(encoding="utf-8"),
        price=per_image("0.01"),
    )
    assert made(fal, store, ["a"], model=mine).summary.reused == 1
    with pytest.raises(UsageError, match="would be bought again"):
        made(fal, store, ["a"], model="gpt-image-1")
    assert made(fal, store, ["a"], model=get_model("gpt-image-1"), allow_rebuy=True).summary.bought == 1
    forced = RequestSettings(headers={"X-Fal-Store-IO": "0"}, without_guarantee=True)
    assert made(fal, store, ["d"], request=forced).summary.bought == 1


class Seen(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_gallery_shows_images_and_trouble_and_escapes_what_comes_from_outside(fal: Fal, store: Path) -> None:
    evil = '<script>alert("x")</script>'
    fal.fail("refuse me", "refused")
    rows = [{"id": f'"><b>{n}', "prompt": f"{evil} number {n}"} for n in range(14)]
    rows += [{"id": "<i>bad</i>", "prompt": f"refuse me {evil}"}]
    images = made(fal, store, rows, id_column="id")
    seen = Seen(images._repr_html_())
    assert not {"script", "b", "i"} & (set(seen.tags[1:]) - {"b"})
    assert seen.tags.count("b") == 1  # our own
    assert len(seen.images) == 12
    for image in seen.images:
        assert str(image["src"]).startswith("data:image/webp;base64,")
        assert set(image) == {"src", "title", "alt"}
        assert evil in str(image["alt"])
    assert "14 bought, 0 reused, 1 refused, $0.14" in seen.text
    assert "and 2 more" in seen.text
    assert "<i>bad</i>: refused: " in seen.text
    assert str(images.manifest) in seen.text


def test_an_image_that_has_gone_does_not_break_the_gallery(fal: Fal, store: Path) -> None:
    images = made(fal, store, ["a cup", "a hat"])
    Path(str(images[0].uri).removeprefix("file://")).unlink()
    seen = Seen(images._repr_html_())
    assert len(seen.images) == 1
    forget_at_fal(fal)
    [missing] = made(fal, store, ["a cup"]).without_images
    assert missing.status == "missing"


def test_show_opens_the_systems_viewer(fal: Fal, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, int]] = []

    class Viewer(ImageShow.Viewer):
        def show(self, image: Image.Image, **options: Any) -> int:
            shown.append(image.size)
            return 1

    monkeypatch.setattr(ImageShow, "_viewers", [Viewer()])
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    made(fal, store, ["a cup"])[0].show()
    assert shown == [(1024, 1024)]


def test_a_real_notebook_shows_the_gallery(fal: Fal, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY", "test-key")
    monkeypatch.setenv("FAL_BASE_URL", fal.url)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code = [
        "from dagster_gptimg import generate",
        f"images = generate(['a red cup', 'a blue cup'], store={str(store)!r}, dataset='d', arguments={LOW!r})",
        "images",
        "images[1].show()",
    ]
    cells = [{"cell_type": "code", "source": line, "metadata": {}, "outputs": []} for line in code]
    notebook = nbformat.from_dict({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells})  # type: ignore[no-untyped-call]
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    [gallery] = notebook.cells[2].outputs
    assert Seen(gallery.data["text/html"]).tags.count("img") == 2
    [picture] = notebook.cells[3].outputs
    assert "image/png" in picture.data
    assert len(fal.charged()) == 2


def test_it_is_no_face_of_dagster() -> None:
    code = "import sys, dagster_gptimg; dagster_gptimg.generate; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_what_fal_is_paid_for_is_never_kept_in_the_memory_of_a_process() -> None:
    given: dict[str, Any] = {"dataset": "d", "model": MINI, "progress": False, "settings": FalSettings("no-key")}
    with pytest.raises(UsageError, match=r"in the memory of this process: .* would be lost .* Nothing was sent"):
        generate(["a red cup"], store="memory://paid", **given)
    assert generate(["a red cup"], store="memory://paid", plan_only=True, **given).summary.rows == 1


def test_verdicts_are_recorded_from_a_notebook_and_bound_to_what_it_shows(fal: Fal, store: Path) -> None:
    images = made(fal, store, ["a red cup", "a blue cup", "a green cup"])
    other = made(fal, store, ["a red cup", "a blue cup", "a green cup"])
    assert images.approve(0, images[1], by="ann").recorded == 2
    assert [image.verdict for image in images] == ["approved", "approved", None]
    late = other.reject(images[2].row_id, 1, note="no handle")
    assert (late.recorded, [(left.given.row_id, left.why) for left in late.not_applied]) == (
        1,
        [(images[1].row_id, "stale")],
    )
    assert [(image.verdict, image.verdict_note) for image in other] == [
        ("approved", None),
        ("approved", None),
        ("rejected", "no handle"),
    ], "what others have recorded is shown as well"
    assert other.reject(1).recorded == 1
    assert other.clear(0, -1).recorded == 2
    again = made(fal, store, ["a red cup", "a blue cup", "a green cup"])
    assert [(image.verdict, image.verdict_number) for image in again] == [(None, 2), ("rejected", 2), (None, 2)]
    for which in ("nobody", 3, again.without_images[:1] or 7):
        with pytest.raises((UsageError, IndexError)):
            again.approve(which)  # type: ignore[arg-type]
