"""The files of a gallery: what they say, that thumbnails are made once, and that nothing of a dataset is touched."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from dagster_gptimg.base.masking import hide_key
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.gallery import scripts
from dagster_gptimg.engine.gallery.build import page_files
from dagster_gptimg.engine.gallery.facets import MOST_COLUMNS, MOST_VALUES, Facets
from dagster_gptimg.engine.gallery.records import FIELDS, details, flags_of
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.gallery_layout import thumbnail_name
from dagster_gptimg.store.manifest import SCHEMA
from dagster_gptimg.store.verdicts.verdict_columns import REPLACED, UNREADABLE
from tests import galleries
from tests.galleries import Row, picture

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset


class Written:
    """The data of a gallery, read as a page reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ((pairs,),) = calls(folder / "about.js", "describe")
        self.about: dict[str, Any] = dict(pairs)

    def entries(self) -> list[dict[str, Any]]:
        found = [calls(self.folder / name, "receive")[0] for name, _ in self.about["entries"]]
        assert [(kind, number) for kind, number, _ in found] == [("entries", n) for n in range(len(found))]
        return [dict(zip(self.about["fields"], line, strict=True)) for *_, lines in found for line in lines]

    def details(self) -> list[list[Any]]:
        return [line for name, _ in self.about["details"] for line in calls(self.folder / name, "receive")[0][2]]


def calls(path: Path, name: str) -> list[list[Any]]:
    data = path.read_text(encoding="ascii")
    assert not set("<>&\u2028\u2029") & set(data)
    begin, end = f"gallery.{name}(", ");\n"
    assert data.startswith(begin)
    assert data.endswith(end)
    return [json.loads(f"[{data.removeprefix(begin).removesuffix(end)}]")]


def built(dataset: Dataset, **more: Any) -> Written:
    found = operations.gallery(dataset, **more)
    assert found.path is not None
    return Written(Path(found.path).parent)


def colour(name: str, side: int = 200) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), name).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_entry_has_what_lists_need_and_details_have_the_rest(dataset: Dataset) -> None:
    own = (("category", "hats"), ("stock", 3), ("new", True), ("none", None), ("tags", ["a", 1]))
    galleries.write(
        dataset, [Row("r", "a hat", (picture(1), picture(2)), columns=own, arguments=(("quality", "low"),))]
    )
    galleries.write(dataset, [Row("s", "a cup", status="refused", error="no cups")], "cups")
    written = built(dataset)
    assert tuple(written.about["fields"]) == FIELDS
    assert (written.about["records"], written.about["images"], written.about["thumbnails"]) == (
        3,
        "../images/",
        "../thumbnails/",
    )
    entries = {(entry["row_id"], entry["image_index"]): entry for entry in written.entries()}
    first, refused = entries["r", 0], entries["s", None]
    assert (first["prompt"], first["status"], first["images_wanted"], first["partition"]) == (
        "a hat",
        "stored",
        2,
        None,
    )
    assert (first["cost_usd"], first["has_thumbnail"], first["flags"], first["error"]) == (0.01, 1, [], None)
    assert first["sha256"] == hashlib.sha256(picture(1)).hexdigest()
    assert first["columns"] == [["category", "hats"], ["stock", "3"], ["new", "yes"], ["tags", '["a", 1]']]
    assert first["inputs"] == [["quality", "low"]]
    assert (first["verdict"], first["verdict_note"], first["verdict_number"]) == (None, None, 0)
    assert (refused["status"], refused["error"], refused["sha256"], refused["partition"]) == (
        "refused",
        "no cups",
        None,
        "cups",
    )
    path, values, inputs, columns = written.details()[[e["row_id"] for e in written.entries()].index("r")]
    assert (written.folder / written.about["images"] / path).read_bytes() == picture(1)
    assert dict(values)["request_id"] == "request-0"
    assert (inputs, columns) == ([["quality", "low"]], first["columns"])


def test_secrets_are_masked(dataset: Dataset) -> None:
    key = "11112222-3333-4444-5555-666677778888:99990000aaaabbbbccccddddeeeeffff"
    hide_key(key)
    galleries.write(
        dataset, [Row("r", f"a cup {key}", status="failed", error=f"Key {key}", columns=(("c", key), (key, "v")))]
    )
    written = built(dataset)
    every = "".join(path.read_text() for path in written.folder.rglob("*.js"))
    assert "ccccdddd" not in every
    assert "666677778888" not in every


def test_thumbnails_are_made_once_by_the_content_of_an_image(dataset: Dataset) -> None:
    same, other = picture(1, 800), picture(2)
    galleries.write(dataset, [Row("a", "p", (same,)), Row("b", "p", (same,)), Row("c", "p", (other,))])
    first = operations.gallery(dataset)
    assert (first.thumbnails_made, first.without_thumbnail, first.images) == (2, 0, 3)
    place = dataset.store.path(f"{dataset.folder}/{thumbnail_name(hashlib.sha256(same).hexdigest())}")
    with Image.open(place) as small:
        assert (small.format, small.size) == ("WEBP", (320, 320))
    assert operations.gallery(dataset).thumbnails_made == 0


def test_an_image_that_is_gone_or_changed_or_of_another_kind_is_shown_without_one(dataset: Dataset) -> None:
    galleries.write(dataset, [Row(name, "p", (picture(n),)) for n, name in enumerate(("gone", "changed", "fine"))])
    galleries.write(dataset, [Row("odd", "p", (picture(5),))], "q")
    w = built(dataset)
    files = {entry["row_id"]: line[0] for entry, line in zip(w.entries(), w.details(), strict=True)}
    for path in Path(dataset.store.root).rglob("thumbnails/*/*"):
        path.unlink()

    def image(row: str) -> Path:
        return Path(w.folder, w.about["images"], files[row])

    image("gone").unlink()
    image("changed").write_bytes(picture(77))
    image("odd").write_bytes(b"no image")
    found = operations.gallery(dataset)
    assert (found.without_thumbnail, found.thumbnails_made) == (3, 1)
    assert {entry["row_id"]: entry["has_thumbnail"] for entry in Written(w.folder).entries()} == {
        "gone": 0, "changed": 0, "odd": 0, "fine": 1,
    }  # fmt: skip
    assert image("changed").read_bytes() == picture(77)


def test_a_drawing_that_could_run_scripts_has_no_address_in_the_page() -> None:
    record = dict.fromkeys(SCHEMA.names) | {"arguments": "{}", "columns": "{}"}
    place = "images/ab/ab" + "0" * 62 + "-request-0"
    for told, ending, path in (
        ("image/png", "png", f"{place[7:]}.png"),
        ("image/svg+xml", "bin", None),
        (None, "svg", None),
    ):
        assert details(record | {"uri": f"file:///s/d/{place}.{ending}", "content_type": told})[0] == path


def test_blank_black_and_twice_stored_images_are_flagged(dataset: Dataset) -> None:
    rows = [
        ("white", colour("white")),
        ("black", colour("black")),
        ("a", picture(1)),
        ("b", picture(1)),
        ("c", picture(2)),
    ]
    galleries.write(dataset, [Row(name, "p", (data,)) for name, data in rows])
    for _ in range(2):  # the thumbnails are there, the second time
        flags = {entry["row_id"]: entry["flags"] for entry in built(dataset).entries()}
        assert flags == {"white": ["blank"], "black": ["black"], "a": ["duplicate"], "b": ["duplicate"], "c": []}


def test_a_new_build_leaves_nothing_of_the_one_before(dataset: Dataset) -> None:
    galleries.write(dataset, [Row("a", "the first prompt", (picture(1),))])
    first = built(dataset)
    (first.folder / "data" / "notes.txt").write_text("somebody's own")
    galleries.write(dataset, [Row("b", "another prompt", (picture(1),))])
    second = built(dataset)
    assert [entry["row_id"] for entry in second.entries()] == ["b"]
    names = {path.name for path in (second.folder / "data").iterdir()}
    assert names == {name.removeprefix("data/") for name, _ in (*second.about["entries"], *second.about["details"])} | {
        "notes.txt"
    }
    page = (second.folder / "index.html").read_text()
    assert "{{version}}" not in page


def test_a_partition_has_a_gallery_of_its_own(dataset: Dataset) -> None:
    for partition in ("a/b", "c"):
        galleries.write(dataset, [Row(f"row of {partition}", "p", (picture(1),))], partition)
    assert [entry["partition"] for entry in built(dataset).entries()] == ["a/b", "c"]
    one = built(dataset, partition="a/b")
    assert [entry["row_id"] for entry in one.entries()] == ["row of a/b"]
    assert (one.folder / one.about["images"] / one.details()[0][0]).exists()
    with pytest.raises(UsageError, match="partition 'd' of dataset 'd' has no image table"):
        operations.gallery(dataset, "d")


def test_a_copy_has_all_files_and_is_not_copied_twice(dataset: Dataset, tmp_path: Path) -> None:
    galleries.write(dataset, [Row("a", "p", (picture(1), picture(2))), Row("b", "p", status="held")])
    found = operations.gallery(dataset, to=str(tmp_path / "to"))
    assert found.are_originals_copied
    copied = {path: path.stat().st_mtime_ns for path in (tmp_path / "to" / "images").rglob("*.webp")}
    assert sorted(path.read_bytes() for path in copied) == sorted([picture(1), picture(2)])
    operations.gallery(dataset, to=str(tmp_path / "to"))
    assert {path: path.stat().st_mtime_ns for path in copied} == copied


def test_a_copy_is_never_written_into_a_dataset(dataset: Dataset, tmp_path: Path) -> None:
    galleries.write(dataset, [Row("a", "p", (picture(1),))])
    own = f"{dataset.store.root}/{dataset.folder}"
    other = galleries.dataset_in(tmp_path / "other", "e")
    for place in (own, f"{own}/images", f"{other.store.root}/e"):
        with pytest.raises(UsageError, match="is a dataset, or within one"):
            operations.gallery(dataset, to=place)


def test_a_gallery_in_another_file_system(tmp_path: Path) -> None:
    dataset = galleries.dataset_in(f"memory://{tmp_path.name}-galleries")
    galleries.write(dataset, [Row("a", "p", (picture(1),))])
    found = operations.gallery(dataset, to=str(tmp_path / "to"))
    assert Written(tmp_path / "to").entries()[0]["has_thumbnail"] == 1
    beside = operations.gallery(dataset)
    assert (beside.path, beside.uri.startswith("memory://"), found.images) == (None, True, 1)


def test_columns_of_few_values_are_filters() -> None:
    facets = Facets()
    for number in range(200):
        columns = {
            "kind": f"k{number % 3}",
            "id": number,
            "text": "x" * 200,
            "one": "same",
            "rare": "y" if number < 5 else None,
        }
        arguments = {"prompt": str(number), "quality": "low" if number % 2 else "high", "size": "same"}
        record = {
            "status": "stored",
            "endpoint": "e",
            "columns": json.dumps(columns),
            "arguments": json.dumps(arguments),
        }
        facets.add(record, f"p{number}")
    found = {(kind, name): values for kind, name, values in facets.as_lists()}
    assert set(found) == {("field", "status"), ("column", "kind"), ("column", "rare"), ("input", "quality")}
    assert found["column", "rare"] == [["y", 5]]
    assert facets.varying_inputs() == {"quality"}
    assert MOST_VALUES < 200


def test_a_hostile_table_of_new_columns_in_each_row_is_bounded() -> None:
    facets = Facets()
    for number in range(2 * MOST_COLUMNS):
        facets.add({"status": "s", "endpoint": "e", "columns": json.dumps({f"c{number}": 1}), "arguments": "{}"}, None)
    assert len(facets.as_lists()) <= MOST_COLUMNS


def test_a_script_holds_no_objects_and_nothing_that_ends_it() -> None:
    data = scripts.script("receive", "entries", 0, [["</script><!--\u2028&\ud800", float("inf")]])
    assert data.isascii()
    assert not set(b"<>&") & set(data)
    with pytest.raises(ValueError, match="dict"):
        scripts.script("receive", [{"__proto__": 1}])
    with pytest.raises(ValueError, match="alert"):
        scripts.script("alert", 1)


def test_the_page_has_no_script_of_its_own_in_its_html_and_names_nobody_elses_files() -> None:
    files = dict(page_files())
    assert set(files) == {
        "index.html",
        "gallery.css",
        "data.js",
        "filter.js",
        "list.js",
        "main.js",
        "rest.js",
        "review.js",
        "search.js",
        "server.js",
        "viewer.js",
    }
    every = b"".join(files.values())
    for wrong in (
        b"innerHTML",
        b"insertAdjacent",
        b"document.write",
        b"eval(",
        b"Function(",
        b"outerHTML",
        b"@import",
        b"url(",
    ):
        assert wrong not in every
    assert b"//" not in files["index.html"].replace(b"<!doctype html>", b"")


def test_what_the_image_table_says_of_an_image_is_flagged() -> None:
    assert flags_of({"notes": None}) == []
    assert flags_of({"notes": "it has no end", "black": True, "nsfw": True}) == [
        "unusual file",
        "black",
        "flagged unsafe by fal",
    ]
    assert flags_of({"notes": None, "black": False, "nsfw": None}) == []


def test_a_note_on_a_verdict_is_not_one_on_the_file() -> None:
    for words in (REPLACED, UNREADABLE.format(12)):
        assert flags_of({"notes": words}) == ["its verdict does not count"]
        assert flags_of({"notes": f"it has no end; {words}"}) == ["unusual file", "its verdict does not count"]
