"""The image table of a partition: what this run says of its rows, and what other rows had on record stays."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.job import Options
from dagster_gptimg.engine.record.image_table import write_image_table
from dagster_gptimg.engine.record.manifest_rows import Records
from dagster_gptimg.engine.record.results import RunResults, Unsettled
from dagster_gptimg.errors import StoreError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.layout import manifest_name
from dagster_gptimg.store.manifest import Part, about_manifest, read_manifest, write_manifest
from dagster_gptimg.store.root import Store
from tests.engine.scripted import RUN, Scene, plan, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.engine.plan.plan import Request

A, B, C, D, E, F = (request(f"thing {letter}") for letter in "abcdef")


def write(scene: Scene, wanted: Sequence[Request], table: str = "t.csv", **about: Any) -> None:
    """Write the image table of a run over a table with these requests, each of which has its image."""
    results = RunResults(scene.dataset, scene.io, RUN)
    for number, one in enumerate(wanted):
        results.record(scene.settled(one, f"R{number}"))
    _write(scene, wanted, results, Options(table=table, **about))


def _write(scene: Scene, wanted: Sequence[Request], results: RunResults, options: Options) -> None:
    job = dataclasses.replace(scene.job, options=options)
    with plan(*wanted) as planned:
        write_image_table(job, planned, results, Records(scene.dataset, scene.partition, planned, results))


def rows(scene: Scene) -> list[str]:
    return [str(row) for row in read_manifest(scene.dataset, None)["row_id"].to_pylist()]


def ids(*wanted: Request) -> list[str]:
    return [one.row_id for one in wanted]


def parts(scene: Scene) -> tuple[Part, ...]:
    return about_manifest(scene.dataset, None).parts


def test_each_row_has_a_record_with_what_became_of_it(scene: Scene) -> None:
    scene.results.record(scene.settled(A, "R1"))
    held_row = Unsettled(key=B.key, status=RowStatus.HELD, error_type="ambiguous_submit", error="nobody knows")
    scene.results.leave(held_row)
    _write(scene, [A, B, C], scene.results, Options(table="t.csv"))
    stored, held, waiting = read_manifest(scene.dataset, None).to_pylist()
    assert (stored["status"], stored["request_id"], stored["cost_usd"]) == ("stored", "R1", Decimal("0.01"))
    path = stored["uri"].removeprefix(scene.dataset.uri(""))
    assert len(scene.store.read(f"d/{path}")) == stored["bytes"]
    assert (held["status"], held["error"], held["cost_usd"], held["uri"]) == ("held", "nobody knows", None, None)
    assert (waiting["status"], waiting["prompt"]) == ("not_submitted", "thing c")


def test_a_run_over_the_whole_table_drops_what_has_left_it(scene: Scene) -> None:
    write(scene, [A, B, C])
    write(scene, [A, C])
    assert rows(scene) == ids(A, C)
    write(scene, [])
    assert rows(scene) == []


def test_a_run_over_the_first_rows_replaces_these_and_leaves_the_others(scene: Scene) -> None:
    write(scene, [A, B, C], recipe="old")
    edited = D._replace(row_id=A.row_id)
    write(scene, [edited], is_limited=True, recipe="new")
    table = read_manifest(scene.dataset, None).to_pylist()
    assert [(row["row_id"], row["prompt"]) for row in table] == [
        (A.row_id, "thing d"),
        (B.row_id, "thing b"),
        (C.row_id, "thing c"),
    ]
    assert parts(scene) == (Part("t.csv", 1, "new"), Part("t.csv", 2, "old"))
    assert about_manifest(scene.dataset, None).recipe == "new"


def test_records_of_another_table_stay_and_count_as_its(scene: Scene) -> None:
    write(scene, [A, B], table="one.csv", recipe="1")
    write(scene, [C, D, E], table="two.csv", recipe="2")
    assert rows(scene) == ids(C, D, E, A, B)
    assert parts(scene) == (Part("two.csv", 3, "2"), Part("one.csv", 2, "1"))
    write(scene, [A], table="one.csv", recipe="1")
    assert rows(scene) == ids(A, C, D, E)
    assert parts(scene) == (Part("one.csv", 1, "1"), Part("two.csv", 3, "2"))


def test_the_same_table_under_a_new_name_is_no_second_one(scene: Scene) -> None:
    write(scene, [A, B, C, D], table="monday.csv")
    write(scene, [A, B], table="tuesday.csv")  # half of them: it is the same
    assert rows(scene) == ids(A, B)
    write(scene, [A, C, D, E], table="wednesday.csv")
    write(scene, [A, F], table="thursday.csv")  # a quarter: it is another one
    assert set(rows(scene)) == set(ids(A, F, C, D, E))


def test_what_two_tables_share_is_paid_for_in_one_record(scene: Scene) -> None:
    write(scene, [A, B, C], table="one.csv")
    write(scene, [D, A._replace(row_id="the same under another id")], table="two.csv")
    table = read_manifest(scene.dataset, None).to_pylist()
    assert len(table) == 5
    assert sum(row["cost_usd"] for row in table) == Decimal("0.04")
    free = [row["row_id"] for row in table if not row["cost_usd"]]
    assert free == [A.row_id]


def test_an_earlier_table_that_cannot_be_read_is_written_anew(scene: Scene) -> None:
    write(scene, [A, B])
    scene.store.write(f"d/{manifest_name(None)}", b"PAR1 torn")
    write(scene, [A], is_limited=True)
    assert rows(scene) == ids(A)


def test_a_first_run_without_rows_has_an_empty_table_that_is_its_own(scene: Scene) -> None:
    write(scene, [])
    assert (rows(scene), parts(scene)) == ([], (Part("t.csv", 0),))
    write(scene, [A], table="other.csv")
    write(scene, [B], is_limited=True)
    assert rows(scene) == ids(B, A)


def test_addresses_of_records_that_stay_are_those_of_the_store_where_it_is_now(scene: Scene) -> None:
    write(scene, [A, B])
    old = scene.store.read(f"d/{manifest_name(None)}")
    moved = Scene()
    try:
        moved.store.write(f"d/{manifest_name(None)}", old)
        write(moved, [A], is_limited=True)
        uris = read_manifest(moved.dataset, None)["uri"].to_pylist()
        assert all(uri.startswith(moved.dataset.uri("")) for uri in uris)
    finally:
        moved.forget()


def test_an_image_table_that_breaks_off_leaves_the_earlier_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    write(scene, [A, B])
    before = scene.store.read(f"d/{manifest_name(None)}")

    def fails(*_: Any) -> None:
        raise StoreError("503 slow down")

    with monkeypatch.context() as patched:
        patched.setattr(RunResults, "get", fails)
        with pytest.raises(StoreError):
            write(scene, [A])
    assert scene.store.read(f"d/{manifest_name(None)}") == before


def test_a_table_without_parts_is_of_an_earlier_release_and_a_limited_run_leaves_its_rows(scene: Scene) -> None:
    write(scene, [A, B])
    records = read_manifest(scene.dataset, None).to_pylist()
    write_manifest(Dataset(Store(scene.store.uri("")), "d"), None, records)
    assert parts(scene) == ()
    write(scene, [A], is_limited=True)
    assert rows(scene) == ids(A, B)
