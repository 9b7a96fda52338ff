"""Partitions: Dagster's definition and the row filter agree, and keys that make trouble are refused when they load."""

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import UsageError, by_column, by_date, by_dimensions, by_dynamic, by_hash
from dagster_gptimg.definitions.partitions import TablePartitions, partitions_from
from dagster_gptimg.prompts.cell_values import CellError
from tests.definitions.support import dagster_instance, images, metadata, run
from tests.harness import Fal

DAYS = by_date("day", start="2026-01-01", end="2026-03-01")


def kept(partitions: TablePartitions, key: str, rows: list[dict[str, object]]) -> list[object]:
    return [row["id"] for row in rows if partitions.where(key).keeps(row)]


def test_static_keys_are_given_or_read_once_from_a_local_file(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("bags\n\n  shoes \nbags\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text('id,kind\n1,shoes\n2,\n3,"Food & Beverage"\n4,shoes\n', encoding="utf-8")
    assert by_column("kind", ["bags", "shoes"]).get_partition_keys() == ["bags", "shoes"]
    assert by_column("kind", tmp_path / "keys.txt").get_partition_keys() == ["bags", "shoes"]
    assert by_column("kind", tmp_path / "t.csv").get_partition_keys() == ["shoes", "Food & Beverage"]
    assert by_column("kind", str(tmp_path / "t.csv")).get_partition_keys() == ["shoes", "Food & Beverage"]
    for wrong in (tmp_path / "none.txt", "table", "bags"):  # a text is never taken apart into letters
        with pytest.raises(UsageError, match="file of keys cannot be read"):
            by_column("kind", wrong)
    with pytest.raises(UsageError, match="each key must be a text"):
        by_column("kind", [1, 2])  # type: ignore[list-item]
    for name in ("keys", "keys_file"):
        made = partitions_from({"by_column": "kind", name: "keys.txt"}, tmp_path)
        assert made.get_partition_keys() == ["bags", "shoes"]


@pytest.mark.parametrize("keys", [[], ["a", "a"], ["a", " "], ["a...b"], ["a\nb"]])
def test_keys_that_are_none_are_refused(keys: list[str]) -> None:
    with pytest.raises(UsageError, match="partitions by 'kind'"):
        by_column("kind", keys)


def test_hours_are_those_of_dagster_in_utc() -> None:
    made = by_date("at", "hourly", start="2026-01-05", end="2026-01-07")
    keys = made.get_partition_keys()
    assert (len(keys), keys[0], keys[-1]) == (48, "2026-01-05-00:00", "2026-01-06-23:00")
    rows = {
        "2026-01-05T13:59:59": "2026-01-05-13:00",
        "2026-01-05 23:30:00+02:00": "2026-01-05-21:00",
        "2026-01-05 10:00:00 UTC": "2026-01-05-10:00",
        datetime(2026, 1, 6, 1, 5, tzinfo=timezone(timedelta(hours=5))): "2026-01-05-20:00",
        "2026-01-05T00:00": "2026-01-05-00:00",
    }
    for cell, key in rows.items():
        assert made.rows.of({"at": cell}) == key
        assert key in keys
        assert made.where(key).keeps({"at": cell})
        [bound] = made.rows.bounds(key)
        assert bound.low < date.fromisoformat(key[:10]) < bound.high  # type: ignore[operator]
    for cell in ("2026-01-05", date(2026, 1, 5), 20260105, "20260105", "soon"):  # a day has no hour
        with pytest.raises(CellError, match="not a date with a time"):
            made.rows.of({"at": cell})
    with pytest.raises(UsageError, match="hourly partitions are in UTC"):
        by_date("at", "hourly", start="2026-01-05", timezone="Europe/Berlin")


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(
    ("first", "wednesdays"), [("monday", "2026-01-05"), ("sunday", "2026-01-04"), ("thursday", "2026-01-01")]
)
def test_weeks_start_on_the_day_that_is_said(first: str, wednesdays: str, timezone: str) -> None:
    made = by_date("day", "weekly", start="2026-01-07", end="2026-03-31", week_starts_on=first, timezone=timezone)
    keys = made.get_partition_keys()
    assert keys[0] == wednesdays
    for n in range(60):
        day = date(2026, 1, 7) + timedelta(days=n)
        key = made.rows.of({"day": day})
        assert key in keys
        assert 0 <= (day - date.fromisoformat(key)).days < 7


def test_a_hash_has_sorted_keys_and_each_row_is_in_one() -> None:
    made = by_hash("id", 12)
    assert made.get_partition_keys() == [f"{n:02}" for n in range(12)]
    rows: list[dict[str, object]] = [{"id": n} for n in range(100)]
    held = [row for key in made.get_partition_keys() for row in kept(made, key, rows)]
    assert sorted(map(int, map(str, held))) == list(range(100))
    with pytest.raises(UsageError, match="buckets is 0: it must be a whole number from 1 to 100000"):
        by_hash("id", 0)


@pytest.mark.parametrize("every", ["daily", "weekly", "monthly"])
def test_every_day_has_a_partition_of_dagsters(every: Any) -> None:
    made = by_date("day", every, start=date(2026, 1, 7), end="2026-02-28")
    keys = set(made.get_partition_keys())
    first = {"daily": "2026-01-07", "weekly": "2026-01-04", "monthly": "2026-01-01"}[every]
    assert min(keys) == first
    last = {"daily": "2026-02-27", "weekly": "2026-02-15", "monthly": "2026-01-01"}[every]
    assert max(keys) == last
    for day in ("2026-01-07", "2026-01-10", "2026-01-31"):
        assert made.rows.of({"day": day}) in keys
    with pytest.raises(UsageError, match="partitions by 'day'"):
        by_date("day", every, start="soon")


def test_a_period_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="daily, weekly or monthly"):
        by_date("day", "yearly", start="2026-01-01")  # type: ignore[arg-type]


def test_two_dimensions_have_dagsters_keys() -> None:
    made = by_dimensions(kind=by_column("kind", ["bags", "mugs"]), day=DAYS)
    assert made.rows.of({"kind": "bags", "day": "2026-01-31"}) == "2026-01-31|bags"
    assert "2026-01-31|bags" in made.get_partition_keys()
    key = dg.MultiPartitionKey({"kind": "mugs", "day": "2026-02-01"})
    rows: list[dict[str, object]] = [{"id": k, "kind": k, "day": "2026-02-01"} for k in ("bags", "mugs")]
    assert kept(made, key, rows) == ["mugs"]
    with pytest.raises(UsageError, match="partitions by a"):
        by_dimensions(a=by_hash("id", 2))
    with pytest.raises(UsageError, match="partitions by a and b"):
        by_dimensions(a=by_column("x", ["p|q"]), b=DAYS)


def test_dynamic_keys_live_in_the_instance() -> None:
    made = by_dynamic("kind", "kinds")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("kinds", [made.rows.of({"kind": "a, b"})])
        [key] = made.get_partition_keys(instance)
    assert key.startswith("a- b-")
    assert "," not in key
    assert kept(made, key, [{"id": 1, "kind": "a, b"}, {"id": 2, "kind": "a b"}]) == [1]
    assert (made.dynamic_name, DAYS.dynamic_name) == ("kinds", None)


@pytest.mark.parametrize(
    ("about", "same"),
    [
        ({"by_column": "kind", "keys": ["a"]}, by_column("kind", ["a"])),
        ({"by_column": "year", "keys": [2024, "2025"]}, by_column("year", ["2024", "2025"])),
        ({"by_hash": "id", "buckets": 4}, by_hash("id", 4)),
        ({"by_date": "day", "every": "weekly", "start": "2026-01-01"}, by_date("day", "weekly", start="2026-01-01")),
        ({"by_dynamic": "kind", "name": "kinds"}, by_dynamic("kind", "kinds")),
        (
            {"by_dimensions": {"a": {"by_hash": "id", "buckets": 2}, "b": {"by_column": "kind", "keys": ["x"]}}},
            by_dimensions(a=by_hash("id", 2), b=by_column("kind", ["x"])),
        ),
    ],
)
def test_partitions_from_plain_values(about: dict[str, object], same: TablePartitions) -> None:
    assert partitions_from(about) == same


@pytest.mark.parametrize(
    "about", [{}, {"by_row": "id"}, {"by_column": "kind"}, {"by_hash": "id", "buckets": 2, "keys": ["a"]},
              {"by_column": "kind", "by_hash": "id"}],
)  # fmt: skip
def test_plain_values_that_are_none_are_told(about: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="partitions"):
        partitions_from(about)


def test_a_keys_file_is_looked_for_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("x\ny\n", encoding="utf-8")
    assert partitions_from({"by_column": "kind", "keys_file": "keys.txt"}, tmp_path).get_partition_keys() == ["x", "y"]


def test_each_partition_buys_its_own_rows_and_moving_a_row_buys_nothing(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    instance = dagster_instance(tmp_path)
    for key in by_hash("sku", 2).get_partition_keys():
        assert run(images(partitions=by_hash("sku", 2)), resources, partition_key=key, instance=instance).success
    assert len(fal.charged()) == 6
    other = images(partitions=by_hash("sku", 3))
    for key in by_hash("sku", 3).get_partition_keys():
        assert metadata(run(other, resources, partition_key=key, instance=instance))["bought"] == 0
    assert len(fal.bill()["rows"]) == 6


def test_a_run_of_two_dimensions_takes_its_rows(fal: Fal, resources: dict[str, Any]) -> None:
    both = by_dimensions(category=by_column("category", ["bags", "shoes"]), bucket=by_hash("sku", 2))
    [key] = {both.rows.of({"category": "bags", "sku": "bags-0"})}
    found = metadata(run(images(partitions=both), resources, partition_key=key))
    assert 1 <= found["bought"] <= 3
    assert {row["prompt"].split()[2] for row in fal.charged()} == {"bags"}
