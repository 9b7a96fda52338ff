"""What gets into an export, what a second one writes, and what it never touches."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.base.masking import hide_key
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.export.export_list import LIST, UNFINISHED
from dagster_gptimg.engine.export.options import Exported, ExportOptions, Layout
from dagster_gptimg.engine.export.words import export_lines
from dagster_gptimg.engine.maintain.review import review_rows
from dagster_gptimg.errors import StoreError, UsageError
from dagster_gptimg.options import LAYOUTS
from dagster_gptimg.store.manifest import read_manifest, scan_manifest_in
from tests import galleries
from tests.galleries import Row, picture

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset

FILES: tuple[Layout, ...] = ("folder", "imagefolder")


def export(dataset: Dataset, to: Path, layout: Layout = "folder", **more: Any) -> Exported:
    return operations.export(dataset, str(to), ExportOptions(layout, **more))


def some(count: int, first: int = 0) -> list[Row]:
    return [Row(f"r{n}", f"a cup {n}", (picture(n),), columns=(("kind", "cups"),)) for n in range(first, first + count)]


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file below a folder, with the time of its last change and its bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def table(to: Path) -> list[dict[str, str]]:
    with (to / "images.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def original(dataset: Dataset, row_id: str) -> Path:
    (record,) = [one for one in read_manifest(dataset, None).to_pylist() if one["row_id"] == row_id]
    return Path(record["uri"].removeprefix("file://"))


def test_a_folder_has_the_images_and_their_columns(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, [*some(2), Row("x", "p", status="refused")])
    review_rows(dataset, ["r0"], "approved", None, "ann")
    found = export(dataset, to)
    assert (found.images, found.copied, found.files, found.path) == (2, 2, ["images.csv"], str(to))
    first, second = table(to)
    assert list(first) == [
        "file_name", "row_id", "image_index", "prompt", "model", "cost_usd", "verdict", "sha256", "kind"
    ]  # fmt: skip
    assert (first["file_name"], first["verdict"], second["verdict"]) == ("r0-0.webp", "approved", "")
    assert (first["cost_usd"], first["model"], first["kind"]) == ("0.01", galleries.ENDPOINT, "cups")
    assert sorted(state(to)) == ["export.jsonl", "images.csv", "r0-0.webp", "r1-0.webp"]
    assert export_lines(found) == ["2 images, 2 written now"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_second_export_of_the_same_writes_nothing(layout: Layout, dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(3))
    export(dataset, to, layout)
    before = state(to)
    assert (found := export(dataset, to, layout)).copied == 0
    assert (found.images, state(to)) == (3, before)


@pytest.mark.parametrize("layout", FILES)
def test_a_second_export_copies_what_is_new_and_removes_what_has_left(
    layout: Layout, dataset: Dataset, to: Path
) -> None:
    galleries.write(dataset, some(3))
    export(dataset, to, layout)
    before = state(to)
    galleries.write(dataset, some(3, first=1))
    found = export(dataset, to, layout)
    assert (found.images, found.copied, found.removed) == (3, 1, 1)
    after = state(to)
    assert {name for name in after if name.endswith(".webp")} == {
        name.replace("r0", "r3") if "r0" in name else name for name in before if name.endswith(".webp")
    }
    kept = [name for name in before if name.endswith(".webp") and "r0" not in name]
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert not (to / UNFINISHED).exists()


def test_another_image_under_the_same_name_replaces_the_first(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(2))
    export(dataset, to)
    galleries.write(dataset, [Row("r0", "a cup 0", (picture(9),)), some(2)[1]])
    assert export(dataset, to).copied == 1
    assert (to / "r0-0.webp").read_bytes() == picture(9)


def test_only_approved_images_are_exported_and_a_verdict_taken_back_removes_one(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(4))
    review_rows(dataset, ["r0", "r1"], "approved", None, "ann")
    review_rows(dataset, ["r2"], "rejected", None, "ann")
    assert export(dataset, to, only="approved").images == 2
    review_rows(dataset, ["r1"], "cleared", None, "ann")
    found = export(dataset, to, only="approved")
    assert (found.images, found.removed, [row["row_id"] for row in table(to)]) == (1, 1, ["r0"])
    review_rows(dataset, ["r0"], "rejected", None, "ann")
    assert export(dataset, to, only="approved").images == 0
    assert sorted(state(to)) == ["export.jsonl", "images.csv"]


def test_a_verdict_on_an_image_that_was_replaced_does_not_count(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(1))
    review_rows(dataset, ["r0"], "approved", None, "ann")
    galleries.write(dataset, [Row("r0", "a cup 0", (picture(7),))])
    assert export(dataset, to, only="approved").images == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_that_is_gone_or_changed_is_told_and_not_exported(layout: Layout, dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(4))
    original(dataset, "r1").unlink()
    changed = original(dataset, "r2")
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    original(dataset, "r3").write_bytes(picture(3) + b"?")
    found = export(dataset, to, layout)
    assert (found.images, found.failed_count, found.is_complete) == (1, 3, False)
    assert [(one.row_id, one.image_index, one.what) for one in found.failed] == [
        ("r1", 0, "missing"), ("r2", 0, "changed"), ("r3", 0, "changed")
    ]  # fmt: skip
    assert "row r1, image 0: not exported: its file is gone" in export_lines(found)
    every = b"".join(data for _, data in state(to).values())
    assert picture(0) in every
    assert picture(3) not in every
    for number in (1, 2, 3):
        original(dataset, f"r{number}").write_bytes(picture(number))
    assert export(dataset, to, layout).is_complete


def test_an_image_that_is_gone_stays_in_an_export_that_has_it(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(2))
    export(dataset, to)
    original(dataset, "r1").unlink()
    assert export(dataset, to).is_complete
    assert (to / "r1-0.webp").read_bytes() == picture(1)


def test_an_exported_file_that_was_cut_or_deleted_is_written_again(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(3))
    export(dataset, to)
    (to / "r0-0.webp").unlink()
    (to / "r1-0.webp").write_bytes(b"cut")
    assert export(dataset, to).copied == 2
    assert (to / "r1-0.webp").read_bytes() == picture(1)


def test_files_of_others_are_never_touched(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(2))
    export(dataset, to)
    (to / "notes.txt").write_text("mine")
    (to / "r1-0.webp").write_bytes(b"edited by hand")
    galleries.write(dataset, some(1))
    found = export(dataset, to)
    assert (found.removed, found.kept, found.is_complete) == (0, ["r1-0.webp"], False)
    assert (to / "r1-0.webp").read_bytes() == b"edited by hand"
    assert (to / "notes.txt").read_text() == "mine"
    assert export(dataset, to).is_complete


def test_a_file_that_no_export_has_written_is_in_the_way(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(2))
    to.mkdir()
    (to / "r1-0.webp").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"1 files are in .*/out already, and no export has written them.*'r1-0.webp'"):
        export(dataset, to)
    assert sorted(state(to)) == ["r1-0.webp"]


def test_another_layout_does_not_mix_with_the_first(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(2))
    export(dataset, to)
    before = state(to)
    with pytest.raises(UsageError, match="is of an export of the layout 'folder', not zip"):
        export(dataset, to, "zip")
    assert state(to) == before


def test_a_folder_that_is_a_link_is_not_followed(dataset: Dataset, to: Path, tmp_path: Path) -> None:
    galleries.write(dataset, some(2))
    outside = tmp_path / "outside"
    outside.mkdir()
    to.mkdir()
    (to / "cups").symlink_to(outside)
    with pytest.raises(UsageError, match="is a link, and an export follows none"):
        export(dataset, to, file_names="{kind}/{row_id}")
    assert list(outside.iterdir()) == []


def test_a_file_that_is_a_link_is_replaced_and_what_it_leads_to_stays(
    dataset: Dataset, to: Path, tmp_path: Path
) -> None:
    galleries.write(dataset, some(2))
    export(dataset, to)
    outside = tmp_path / "outside.webp"
    outside.write_bytes(picture(1))
    (to / "r1-0.webp").unlink()
    (to / "r1-0.webp").symlink_to(outside)
    assert export(dataset, to).copied == 1
    assert not (to / "r1-0.webp").is_symlink()
    (to / "r1-0.webp").unlink()
    (to / "r1-0.webp").symlink_to(outside)
    galleries.write(dataset, some(1))
    assert export(dataset, to).kept == ["r1-0.webp"]
    assert outside.read_bytes() == picture(1)


HOSTILE_LISTS = [
    '{"name": "../outside.txt", "sha256": "%s", "bytes": 4}',
    '{"name": "/outside.txt", "sha256": "%s", "bytes": 4}',
    '{"name": "a/../../outside.txt", "sha256": "%s", "bytes": 4}',
    '{"name": "export.jsonl", "sha256": "%s", "bytes": 4}',
    '{"name": "a", "sha256": "x%s", "bytes": 4}',
    '{"name": "a", "sha256": "%s", "bytes": -4}',
    '{"name": 5, "sha256": "%s"}',
    "[]%.0s",
    "{%.0s",
]


@pytest.mark.parametrize("line", HOSTILE_LISTS)
def test_a_list_that_names_other_files_is_refused(line: str, dataset: Dataset, to: Path, tmp_path: Path) -> None:
    import hashlib

    galleries.write(dataset, some(1))
    export(dataset, to)
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    with (to / LIST).open("a") as file:
        file.write(line % hashlib.sha256(b"mine").hexdigest() + "\n")
    before = state(to)
    with pytest.raises(UsageError, match=r"export\.jsonl (names|has) .*choose another folder"):
        export(dataset, to)
    assert (outside.read_text(), state(to)) == ("mine", before)


@pytest.mark.parametrize("inside", [".", "d", "d/images", "export", ".."])
def test_a_folder_in_or_around_a_store_is_refused(inside: str, dataset: Dataset) -> None:
    galleries.write(dataset, some(1))
    before = state(Path(dataset.store.root))
    with pytest.raises(UsageError, match="lie one within the other: name a folder beside the store"):
        export(dataset, Path(dataset.store.root, inside))
    assert state(Path(dataset.store.root)) == before


def test_a_folder_in_another_dataset_is_refused_also_through_a_link(dataset: Dataset, tmp_path: Path) -> None:
    galleries.write(dataset, some(1))
    galleries.dataset_in(tmp_path / "other", "e")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    for folder in ("other/e", "other/e/images/x", "link/e/x"):
        with pytest.raises(UsageError, match="is a dataset, or within one"):
            export(dataset, tmp_path / folder)
    (tmp_path / "own").symlink_to(dataset.store.root)
    with pytest.raises(UsageError, match="lie one within the other"):
        export(dataset, tmp_path / "own" / "x")


def test_an_export_that_is_not_finished_shows(dataset: Dataset, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    galleries.write(dataset, some(5))
    done = []

    def stop(now: int, of: int) -> None:
        done.append((now, of))
        if now == 3:
            raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="the disk is full"):
        operations.export(dataset, str(to), on_progress=stop)
    assert done == [(1, 5), (2, 5), (3, 5)]
    assert not (to / LIST).exists()
    assert (to / UNFINISHED).exists()
    found = export(dataset, to)
    assert (found.copied, found.images) == (2, 5)
    assert not (to / UNFINISHED).exists()


def test_of_two_exports_at_once_into_a_folder_one_is_told(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(2))
    begun: list[Exported] = []

    def another(now: int, _of: int) -> None:
        if now == 1:
            begun.append(export(dataset, to))

    with pytest.raises(UsageError, match="another export has begun in"):
        operations.export(dataset, str(to), on_progress=another)
    assert begun[0].is_complete
    assert export(dataset, to).copied == 0


def test_a_stored_secret_is_in_no_column_and_no_name(dataset: Dataset, to: Path) -> None:
    key = "11112222-3333-4444-5555-666677779999:99990000aaaabbbbccccddddeeee1111"
    hide_key(key)
    secret = key.partition(":")[2]
    galleries.write(dataset, [Row(f"r {secret}", f"p {key}", (picture(1),), columns=(("c", key), (secret, [key])))])
    for layout in LAYOUTS:
        export(dataset, to / layout, layout)
        for name, (_, data) in state(to / layout).items():
            assert secret not in name
            assert secret.encode() not in data, (layout, name)


def test_own_columns_of_any_type_are_one_type_each(dataset: Dataset, to: Path) -> None:
    values: list[dict[str, Any]] = [
        {"whole": 1, "real": 1, "flag": True, "text": "x", "mixed": 1, "huge": 2**70, "long": 2**60, "none": None},
        {"whole": 2, "real": 2.5, "flag": False, "text": "2026-01-01", "mixed": True, "huge": 1, "long": 1, "late": {}},
    ]
    galleries.write(
        dataset, [Row(f"r{n}", "p", (picture(n),), columns=tuple(own.items())) for n, own in enumerate(values)]
    )
    import pyarrow.parquet as pq

    (name,) = export(dataset, to, "parquet").files
    found = pq.read_table(to / name)
    kinds = {field.name: str(field.type) for field in found.schema}
    assert {n: kinds[n] for n in (*values[0], "late")} == {
        "whole": "int64", "real": "double", "flag": "bool", "text": "string", "mixed": "string", "huge": "string",
        "long": "int64", "none": "string", "late": "string",
    }  # fmt: skip
    assert found["mixed"].to_pylist() == ["1", "true"]
    assert found["late"].to_pylist() == [None, "{}"]
    assert found["huge"].to_pylist() == [str(2**70), "1"]


def test_a_hostile_text_stays_in_its_cell(dataset: Dataset, to: Path) -> None:
    texts = ['a,"b"\r\nc', "=1+1", "a\0b", "\ud800", "\u2028", ""]
    galleries.write(dataset, [Row(f"r{n}", "p", (picture(n),), columns=(("t", text),)) for n, text in enumerate(texts)])
    export(dataset, to)
    assert [row["t"] for row in table(to)] == ['a,"b"\r\nc', "=1+1", "a\ufffdb", "?", "\u2028", ""]


def test_a_list_says_what_the_files_are(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(1))
    export(dataset, to)
    head, *files = [json.loads(line) for line in (to / LIST).read_text().splitlines()]
    assert (head["version"], head["dataset"], head["layout"]) == (1, "d", "folder")
    assert [file["name"] for file in files] == ["r0-0.webp", "images.csv"]
    assert [file["bytes"] for file in files] == [(to / file["name"]).stat().st_size for file in files]


def test_links_need_an_object_store(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, some(1))
    with pytest.raises(UsageError, match="links are made by object stores"):
        export(dataset, to, links=60)
    assert not to.exists()


def test_a_zip_has_its_name_in_a_folder(dataset: Dataset, tmp_path: Path) -> None:
    galleries.write(dataset, some(1))
    with pytest.raises(UsageError, match=r"name the folder .* in which images\.zip is to be"):
        export(dataset, tmp_path / "cups.zip", "zip")


def test_of_several_takes_only_the_last_is_exported(
    dataset: Dataset, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    galleries.write(dataset, some(2))

    def with_takes(*given: Any) -> Any:
        for batch in scan_manifest_in(*given):
            yield [record | {"take": int(record["row_id"][1:]), "row_id": "r"} for record in batch]

    monkeypatch.setattr("dagster_gptimg.engine.export.selection.scan_manifest_in", with_takes)
    found = export(dataset, to)
    assert (found.images, found.earlier_takes) == (1, 1)
    assert (to / "r-0.webp").read_bytes() == picture(1)
