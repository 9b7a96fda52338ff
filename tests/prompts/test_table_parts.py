"""A part of a table that was read once is what the table itself is to the filter of that partition."""

from __future__ import annotations

import json
import threading
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptSpec, read_rows
from dagster_gptimg.prompts.partition_keys import ByBucket, ByDate, ByValue
from dagster_gptimg.prompts.readers import sources
from dagster_gptimg.prompts.table_parts import KEPT, TableParts
from dagster_gptimg.prompts.table_scan import DigestedPartition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dagster_gptimg.prompts.partition_keys import RowKey

BY = ByValue("category")
KEYS = ["bags", "shoes", "hats", "none of these"]


def found(source: Any, by: RowKey, key: str, **about: Any) -> list[Any]:
    """What is read of a partition: rows, digest, warning; or the problems."""
    where = DigestedPartition(by, key)
    spec = PromptSpec(get_model("gpt-image-1-mini"), where=where, **about)
    try:
        rows = [list(batch) for batch in read_rows(source, spec)]
    except TableError as error:
        return [str(error)]
    return [[row for batch in rows for row in batch], where.digest, spec.seen.warning, spec.seen.sentence()]


def alike(source: Any, by: RowKey, keys: Sequence[str], **about: Any) -> list[list[Any]]:
    """Assert that each part is what the partition is; return what was found."""
    parts, every = TableParts(source, by, keys), []
    for key in keys:
        every.append(found(source, by, key, **about))
        read = found(parts.part(key), by, key, **about)
        if by.bounds(key) and len(read) > 1 and not read[0]:  # a reader skips rows by bounds, and cannot tell of them
            read[2] = every[-1][2]
        assert read == every[-1], key
    assert parts.are_kept()
    return every


def records(count: int) -> list[dict[str, object]]:
    return [
        {
            "prompt": f"thing {n % 7}",
            "category": (None, "bags", "shoes", "hats", "others")[n % 5],
            "day": date(2026, 1, 1 + n % 28),
            "own": n / 3,
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("limit", [None, 3])
def test_a_part_has_the_rows_of_its_partition(tmp_path: Path, limit: int | None, *, is_first: bool) -> None:
    table = pl.DataFrame(records(60))
    table.write_csv(tmp_path / "t.csv")
    table.write_parquet(tmp_path / "t.parquet", row_group_size=9)
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row, default=str) for row in table.to_dicts()))
    table.write_csv(tmp_path / "u.csv")
    for source in (table, table.to_dicts(), *(str(tmp_path / f"t.{form}") for form in ("csv", "parquet", "jsonl"))):
        every = alike(source, BY, KEYS, limit=limit, is_first=is_first)
        assert [len(rows[0]) for rows in every[:3]] == [limit or 12] * 3
    several = alike(str(tmp_path / "*.csv"), BY, KEYS, limit=limit, is_first=is_first, template="A {prompt}, {own}")
    assert len(several[0][0]) == (limit or 24)
    alike(table, ByBucket("own", 5), [*"01234"], limit=limit, is_first=is_first)
    days = ByDate("day", "weekly")
    alike(str(tmp_path / "t.parquet"), days, ["2026-01-04", "2026-01-18", "2027-01-03"], is_first=is_first)


def test_problems_are_those_of_the_partition_and_of_what_cannot_be_read(tmp_path: Path) -> None:
    lines = ["prompt,category,num_images", "a,bags,1", "b,shoes,0", "c,bags,x", ",hats,1", '"d', "e,bags,1,too many"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    every = alike(str(tmp_path / "t.csv"), BY, KEYS)
    assert "t.csv:4" in str(every[0])
    assert "t.csv:3" in str(every[1])
    bad_dates = [{"prompt": "a", "day": "2026-01-01"}, {"prompt": "b", "day": "soon"}, {"prompt": "c", "day": ""}]
    problems = alike(bad_dates, ByDate("day", "daily"), ["2026-01-01", "2026-01-02"])
    assert all("not a date" in str(one) for one in problems)


def test_columns_that_other_partitions_rows_have_are_known(tmp_path: Path) -> None:
    rows = [{"category": "bags", "prompt": "a"}, {"category": "shoes", "prompt": "b", "quality": "low", "style": "x"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    alike(str(tmp_path / "t.jsonl"), BY, KEYS)
    alike(str(tmp_path / "t.jsonl"), BY, KEYS, id_column="style")
    alike(str(tmp_path / "t.jsonl"), BY, KEYS, template="{prompt} in {style}")


def test_a_table_is_read_once_however_many_rows_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, read_chunks = list[object](), sources.read_chunks

    def counted(source: Any, *given: Any) -> Any:
        reads.append(source)
        return read_chunks(source, *given)

    monkeypatch.setattr(sources, "read_chunks", counted)
    table = pl.DataFrame(records(KEPT * 2 + 5))
    parts = TableParts(table, BY, ["bags", "shoes"])
    assert not reads
    rows = [len(found(parts.part(key), BY, key)[0]) for key in ("bags", "shoes", "bags")]
    assert rows == [1640, 1639, 1640]
    assert len(reads) == 1


def test_a_table_with_values_that_cannot_be_written_is_read_for_each_partition() -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "a", "category": "bags", "own": threading.Lock()},
        {"prompt": "b", "category": "shoes"},
    ]
    parts = TableParts(rows, BY, KEYS)
    for key in KEYS:
        assert found(parts.part(key), BY, key) == found(rows, BY, key)
    assert not parts.are_kept()
    assert "shoes" in str(found(parts.part("shoes"), BY, "shoes"))


def test_a_table_that_cannot_be_read_says_so_for_each_partition(tmp_path: Path) -> None:
    parts = TableParts(str(tmp_path / "none.csv"), BY, KEYS)
    for key in KEYS:
        assert "none.csv" in str(found(parts.part(key), BY, key))
    (tmp_path / "none.csv").write_text("prompt,category\na,bags\n")
    assert len(found(parts.part("bags"), BY, "bags")[0]) == 1
