"""Edits: references and masks from a table to fal and back, uploaded once, told by row."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from PIL import Image

from dagster_gptimg import ImageStoreResource, build_gptimg_asset, gptimg_asset
from tests.harness import Fal, Ran, cli, records

LOW = ("--set", "quality=low", "--set", "image_size=1024x1024")
RED, BLUE, LIME = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def picture(color: str, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), color).save(file, form)
    return file.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, color in (("red", "red"), ("also-red", "red"), ("blue", "blue"), ("mask", "lime")):
        (folder / f"{name}.png").write_bytes(picture(color))
    return folder


def table(tmp_path: Path, *rows: dict[str, Any], name: str = "t.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def call(fal: Fal | None, path: Path, *more: str, dataset: str = "d", command: str = "generate") -> Ran:
    folder = path.parent
    named = ("--store", str(folder / "store"), "--dataset", dataset, "--references-from", str(folder / "photos"))
    return cli(fal, command, str(path), *named, *LOW, *more, "--json")


def uploads(tmp_path: Path) -> list[str]:
    """The hashes of what lies in the emulator's storage."""
    files = sorted((tmp_path / "fal-emulator" / "uploads").glob("*.bytes"))
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def shown(record: dict[str, Any], number: int) -> tuple[int, ...]:
    """The colour of an edit where the emulator shows its reference images, masks last."""
    with Image.open(record["uri"].removeprefix("file://")) as image:
        edge = image.convert("RGB").crop((1024 - 42 - 120 * (number + 1), 42, 1024 - 42 - 120 * number, 42 + 120))
        colors = edge.getcolors(120 * 120) or []
    return max(colors)[1]  # type: ignore[return-value]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("model", "mask", "endpoint"),
    [
        ("gpt-image-1.5", "mask_image_url", "fal-ai/gpt-image-1.5/edit"),
        ("gpt-image-2", "mask_url", "openai/gpt-image-2/edit"),
    ],
)
def test_an_edit_with_a_mask(fal: Fal, tmp_path: Path, photos: Path, model: str, mask: str, endpoint: str) -> None:
    rows = table(
        tmp_path,
        {"id": "a", "prompt": "make it blue", "image_urls": "red.png", mask: "mask.png"},
        {"id": "b", "prompt": "a plain picture"},
    )
    planned = call(None, rows, "--model", model, "--id-column", "id", command="plan")
    assert planned.summary["bought"] == 2
    ran = call(fal, rows, "--model", model, "--id-column", "id")
    assert (ran.status, ran.summary["images"]) == (0, 2), ran.stderr
    edit, plain = records(tmp_path / "store", "d")
    assert (edit["endpoint"], plain["endpoint"]) == (endpoint, endpoint.removesuffix("/edit"))
    assert len(uploads(tmp_path)) == 2
    # The image table tells the source: by its content, and as the table named it.
    tokens = {name: f"sha256:{sha256(photos / file)}" for name, file in ((mask, "mask.png"), ("image", "red.png"))}
    assert (edit["arguments"]["image_urls"], edit["arguments"][mask]) == ([tokens["image"]], tokens[mask])
    assert edit["columns"] == {"image_urls": "red.png", mask: "mask.png"}
    # What was sent is a URL that fal can fetch, and it stands on the receipt.
    [sent] = [row for row in fal.bill()["rows"] if row["endpoint_id"] == endpoint]
    arguments = json.loads(sent["arguments"]) if isinstance(sent["arguments"], str) else sent["arguments"]
    assert all(url.startswith(f"{fal.url}/files/") for url in (*arguments["image_urls"], arguments[mask]))
    low, high = planned.summary["cost_usd"]["low"], planned.summary["cost_usd"]["high"]
    assert low <= float(fal.bill()["total_usd"]) <= high


def test_the_emulator_was_shown_the_right_images(fal: Fal, tmp_path: Path, photos: Path) -> None:
    rows = table(
        tmp_path,
        {"id": "a", "prompt": "one", "image_urls": ["red.png"]},
        {"id": "b", "prompt": "two", "image_urls": ["blue.png"]},
    )
    ran = call(fal, rows, "--id-column", "id")
    assert ran.status == 0, ran.stderr
    first, second = records(tmp_path / "store", "d")
    assert (shown(first, 0), shown(second, 0)) == (RED, BLUE)


def test_an_image_is_uploaded_once_for_all_rows_and_runs(fal: Fal, tmp_path: Path, photos: Path) -> None:
    same = [{"prompt": f"number {n}", "image_urls": f"{name}.png"} for n, name in enumerate(["red", "also-red"] * 5)]
    assert call(fal, table(tmp_path, *same)).summary["bought"] == 10
    assert uploads(tmp_path) == [sha256(photos / "red.png")]
    more = [{"prompt": "another", "image_urls": ["red.png", "blue.png"]}]
    ran = call(fal, table(tmp_path, *same, *more))
    assert (ran.summary["bought"], ran.summary["reused"]) == (1, 10)
    assert uploads(tmp_path) == sorted(sha256(photos / f"{name}.png") for name in ("red", "blue"))
    # Its name does not matter, its content does: the same purchase under another name.
    (photos / "red.png").rename(photos / "scarlet.png")
    renamed = [{**row, "image_urls": str(row["image_urls"]).replace("red.png", "scarlet.png")} for row in same[::2]]
    assert call(fal, table(tmp_path, *renamed)).summary["bought"] == 0
    (photos / "scarlet.png").write_bytes(picture("maroon"))
    assert call(fal, table(tmp_path, *renamed)).summary["bought"] == 5


def test_a_public_url_goes_as_it_stands(fal: Fal, tmp_path: Path, photos: Path) -> None:
    url = "https://pictures.example.invalid/a.png"
    ran = call(fal, table(tmp_path, {"prompt": "x", "image_urls": url}))
    # The emulator cannot fetch it, and says so as fal does: nothing was computed, and nothing is final.
    assert (ran.status, ran.summary["failed"]) == (3, 1), ran.stderr
    [record] = records(tmp_path / "store", "d")
    assert record["arguments"]["image_urls"] == [url]
    assert "image_load_error" in record["error"]
    assert (uploads(tmp_path), fal.bill()["total_usd"]) == ([], "0.00")


def test_what_must_not_be_read_is_told_with_its_place(fal: Fal, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture("red"))
    (photos / "notes.png").write_text("no image")
    path = tmp_path / "t.csv"
    lines = [
        "prompt,image_urls,mask_image_url",
        "a,http://10.0.0.8/a.png,",
        "b,red.png,http://localhost/m.png",
        "c,../secret.png,",
        f"d,{tmp_path}/secret.png,",
        "e,none.png,",
        "f,notes.png,",
        "g,,mask.png",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    ran = call(fal, path, "--model", "gpt-image-1.5")
    assert ran.status == 2
    for words in (
        "t.csv:2: 'image_urls': 'http://10.0.0.8/a.png': 10.0.0.8 is not a public address",
        "t.csv:3: 'mask_image_url': 'http://localhost/m.png': localhost is not a public address",
        "t.csv:4: 'image_urls': '../secret.png': it is not below a root",
        "t.csv:5: 'image_urls': ",
        "t.csv:6: 'image_urls': 'none.png': it is not below a root",
        "t.csv:7: 'image_urls': 'notes.png': it is not a PNG, JPEG or WebP image",
        "t.csv:8: 'mask_image_url': image_urls: fal-ai/gpt-image-1.5/edit edits images, but the row has none",
    ):
        assert words in ran.stderr
    assert not fal.bill()["rows"]
    assert not uploads(tmp_path)


def test_an_edit_of_another_datasets_image_by_its_uri(fal: Fal, tmp_path: Path, photos: Path) -> None:
    first = table(tmp_path, {"sku": "A", "prompt": "a red cup"}, {"sku": "B", "prompt": "a hat"}, name="first.jsonl")
    assert call(fal, first, "--id-column", "sku", dataset="catalog").status == 0
    sources = {record["row_id"]: record for record in records(tmp_path / "store", "catalog")}
    rows = [{"sku": sku, "prompt": "on a beach", "source": record["uri"]} for sku, record in sources.items()]
    ran = call(fal, table(tmp_path, *rows), "--id-column", "sku", "--image-column", "source", dataset="beach")
    assert (ran.status, ran.summary["bought"]) == (0, 2), ran.stderr
    for edit in records(tmp_path / "store", "beach"):
        source = sources[edit["row_id"]]
        assert edit["columns"] == {"source": source["uri"]}
        assert edit["arguments"]["image_urls"] == [f"sha256:{source['sha256']}"]


def test_assets_edit_the_images_of_an_asset_upstream(fal: Fal, tmp_path: Path) -> None:
    arguments = {"quality": "low", "image_size": "1024x1024"}
    rows = [{"sku": "A", "prompt": "a red cup"}, {"sku": "B", "prompt": "a hat"}]
    catalog = build_gptimg_asset("catalog", prompts=rows, id_column="sku", arguments=arguments)

    @gptimg_asset(id_column="row_id", template="{prompt} on a beach", image_columns=["uri"], arguments=arguments)
    def beach(catalog: pl.DataFrame) -> pl.DataFrame:
        return catalog.select("row_id", "prompt", "uri")

    store = ImageStoreResource(root=str(tmp_path / "store"))
    result = dg.materialize([catalog, beach], resources={"fal": fal.resource, "image_store": store})
    assert result.success
    sources = {record["row_id"]: record for record in records(tmp_path / "store", "catalog")}
    edits = records(tmp_path / "store", "beach")
    assert [edit["row_id"] for edit in edits] == ["A", "B"]
    for edit in edits:
        assert edit["endpoint"] == "openai/gpt-image-2.5/flare/edit"
        assert edit["columns"]["uri"] == sources[edit["row_id"]]["uri"]
    again = dg.materialize([catalog, beach], resources={"fal": fal.resource, "image_store": store})
    assert again.success
    assert len(fal.charged()) == 4


def test_a_data_uri_is_an_image_like_any_other_and_is_not_carried_along(fal: Fal, tmp_path: Path, photos: Path) -> None:
    import base64

    uri = f"data:image/png;base64,{base64.b64encode((photos / 'red.png').read_bytes()).decode()}"
    given: list[Any] = [uri, "red.png", [uri], json.dumps([uri]), ["red.png", uri]]
    rows = table(tmp_path, *({"prompt": str(n), "image_urls": value, "shop": "x"} for n, value in enumerate(given)))
    ran = call(fal, rows)
    assert (ran.status, ran.summary["bought"]) == (0, 5), ran.stderr
    assert uploads(tmp_path) == [sha256(photos / "red.png")]
    found = records(tmp_path / "store", "d")
    assert {*map(str, (record["arguments"]["image_urls"][0] for record in found))} == {
        f"sha256:{sha256(photos / 'red.png')}"
    }
    named = {"image_urls": "red.png", "shop": "x"}
    assert [record["columns"] for record in found] == [{"shop": "x"}, named, *[{"shop": "x"}] * 3]


def test_storage_that_fails_buys_nothing(fal: Fal, tmp_path: Path, photos: Path) -> None:
    fal.set(faults={"upload_503": 1.0})
    rows = table(tmp_path, {"prompt": "a", "image_urls": "red.png"})
    ran = call(fal, rows)
    # The way round the CDN works, as it does in fal's own clients.
    assert (ran.status, ran.summary["bought"]) == (0, 1), ran.stderr
