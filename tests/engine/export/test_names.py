"""Names of exported files are valid on every system, and each problem is told before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.engine import operations
from dagster_gptimg.engine.export.names import PART_BYTES, FileNames, folded, wrong_with, wrong_with_path
from dagster_gptimg.engine.export.options import ExportOptions
from dagster_gptimg.errors import UsageError
from tests import galleries
from tests.engine.gallery.hostile import TEXTS
from tests.galleries import Row, picture

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset

IMPOSSIBLE = [
    "", ".", "..", ".hidden", "a.", "a ", " a", "a/b", "a\\b", "a:b", "a*b", "a?b", 'a"b', "a<b", "a>b", "a|b", "a\nb",
    "a\0b", "a\x7fb", "a\u202eb", "a\u200bb", "a\u00a0b", "con", "CON.png", "nul .txt", "Aux", "com1.tar.gz", "LPT9",
    "com\u00b9", "conin$", "a" * 256, "é" * 128,
]  # fmt: skip
POSSIBLE = ["a", "a.b", "con1", "console", "comma.png", "ü", "日本", "a b", "(1)", "=1+1", "-rf", "#", "%41", "a" * 255]


@pytest.mark.parametrize("part", IMPOSSIBLE)
def test_a_part_that_some_system_does_not_take_is_refused(part: str) -> None:
    assert wrong_with(part) is not None


@pytest.mark.parametrize("part", POSSIBLE)
def test_a_part_that_every_system_takes_is_taken(part: str) -> None:
    assert wrong_with(part) is None


def test_a_path_is_checked_part_by_part_and_as_a_whole() -> None:
    assert wrong_with_path("a/b/c.png") is None
    for path in ("/etc/passwd", "a//b", "a/../b", "a/", "/".join(["a" * 200] * 5)):
        assert wrong_with_path(path) is not None, path


@given(st.text(), st.text())
def test_a_name_without_a_template_is_always_possible(row_id: str, partition: str) -> None:
    for has_partitions, is_dotless in ((True, False), (False, True)):
        names = FileNames(None, has_partitions=has_partitions, is_dotless=is_dotless, is_split=not has_partitions)
        name, wrong = names.of({"row_id": row_id, "image_index": 0, "partition": partition})
        assert wrong is None
        assert names.check(f"{name}-01234567.png") is None
        assert name.count("/") == has_partitions


def test_names_that_some_system_takes_for_one_are_the_same_folded() -> None:
    assert folded("Cup/É.png") == folded("cup/e\u0301.PNG")
    assert folded("straße") == folded("STRASSE")
    assert folded("a") != folded("b")


def named(dataset: Dataset, to: Path, template: str | None, *, layout: str = "folder") -> list[str]:
    found = operations.export(dataset, str(to), ExportOptions(layout, template))  # type: ignore[arg-type]
    assert found.is_complete
    return sorted(str(path.relative_to(to)) for path in to.rglob("*.webp"))


def refused(dataset: Dataset, to: Path, template: str | None, layout: str = "folder") -> str:
    with pytest.raises(UsageError) as error:
        named(dataset, to, template, layout=layout)
    assert not to.exists(), "nothing is written"
    return str(error.value)


def one(row_id: str, number: int, **own: object) -> Row:
    return Row(row_id, "p", (picture(number),), columns=tuple(own.items()))


def test_a_template_makes_folders_and_names(dataset: Dataset, to: Path) -> None:
    rows = [one("a", 1, category="hats", size=3), one("b", 2, category="bags", size=2.5)]
    galleries.write(
        dataset, [*rows, Row("c", "p", (picture(3), picture(4)), columns=(("category", "hats"), ("size", 1)))]
    )
    assert named(dataset, to, "{category}/{row_id}-{size}-{image_index}") == [
        "bags/b-2.5-0.webp", "hats/a-3-0.webp", "hats/c-1-0.webp", "hats/c-1-1.webp"
    ]  # fmt: skip


def test_every_problem_is_told_with_its_row(dataset: Dataset, to: Path) -> None:
    own = ("hats", "HATS", "a/b", "..", "", None, "con", "x" * 300, "a\u202eb", "../../etc")
    galleries.write(dataset, [one(f"r{n}", n, category=value) for n, value in enumerate(own)])
    told = refused(dataset, to, "{category}")
    assert told.startswith("9 names of images are not possible. Nothing was written:\n")
    assert "row 'r1', image 0: 'HATS.webp' is also the name of row r0, image 0" in told
    assert "row 'r2', image 0: '.webp' has '/' in {category}, 'a/b': only the template makes folders" in told
    assert "row 'r3', image 0: '...webp' has '...webp', which begins with a dot" in told
    assert "row 'r4', image 0: '.webp' has no {category}: the cell is empty" in told
    assert "row 'r5', image 0: '.webp' has no {category}: the cell is empty" in told
    assert "row 'r6', image 0: 'con.webp' has 'con.webp', which is a device on Windows" in told
    assert "has a part of 305 bytes; up to 255 are possible" in told
    assert "has the character U+202E" in told
    assert "row 'r9', image 0: '.webp' has '/' in {category}" in told


def test_a_name_that_is_a_folder_too_and_names_of_the_export_itself_are_refused(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, [one("a", 1, x="cup", y="b"), one("b", 2, x="a", y="CUP.webp/cup")])
    assert "only the template makes folders" in refused(dataset, to, "{y}")
    galleries.write(dataset, [one("a", 1, x="Images.csv")])
    assert "has a folder that is a file of the export itself" in refused(dataset, to, "{x}/{row_id}")


def test_an_image_with_the_name_of_a_folder_is_refused(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, [one("a", 1)])
    galleries.write(dataset, [one("b", 2)], "a-0.webp")
    assert "row 'a', image 0: 'a-0.webp' is also the folder of another image" in refused(dataset, to, None)


def test_a_template_without_a_column_or_with_more_than_columns_is_refused(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, [one("a", 1, category="hats")])
    assert "no image has such a column; did you mean 'category'?" in refused(dataset, to, "{categry}/{row_id}")
    assert "What was the table's id column is 'row_id' here" in refused(dataset, to, "{sku}")
    assert "names no column: every row would have the same name" in refused(dataset, to, "cup")
    assert "only {column} is allowed" in refused(dataset, to, "{row_id.__class__}")
    assert "begins with a dot" in refused(dataset, to, "../{row_id}")
    assert "has an empty part" in refused(dataset, to, "/etc/{row_id}")


def test_names_of_row_ids_stay_apart_whatever_the_ids_are(dataset: Dataset, to: Path) -> None:
    ids = [*TEXTS, "A", "a", "a/b", "a:b", "x" * 400, "x" * 401]
    galleries.write(dataset, [one(row_id, n) for n, row_id in enumerate(ids)])
    found = named(dataset, to, None)
    assert len({folded(name) for name in found}) == len(ids)
    assert all(wrong_with(name) is None and len(name.encode()) <= PART_BYTES for name in found)


def test_partitions_are_folders_and_equal_ids_in_one_layout_stay_apart(dataset: Dataset, to: Path) -> None:
    for number, key in enumerate(("hats", "../up")):
        galleries.write(dataset, [one("a", number)], key)
    assert named(dataset, to, None) == ["_._up/a-0.webp", "hats/a-0.webp"]
    assert len(named(dataset, to.with_name("w"), None, layout="imagefolder")) == 2
    only = operations.export(dataset, str(to.with_name("one")), ExportOptions(), "hats")
    assert only.images == 1


def test_a_folder_that_datasets_takes_for_a_split_is_refused(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, [one("a", 1, kind="my-test_1"), one("b", 2, kind="latest"), one("c", 3, kind="__x")])
    told = refused(dataset, to, "{kind}/{row_id}", "imagefolder")
    assert "row 'a'" in told
    assert "'my-test_1', which `datasets` takes for a split" in told
    assert "row 'b'" not in told
    assert "row 'c', image 0: 'train/__x/c.webp' has the folder '__x'" in told
    assert len(named(dataset, to, "{kind}/{row_id}")) == 3
