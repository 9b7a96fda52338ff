"""Records made in columns are those that are made one by one, in the same order, and are counted alike."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.plan.plan import Plan, Request
from dagster_gptimg.engine.record.manifest_rows import Content, Records
from dagster_gptimg.engine.record.results import RunResults, Unsettled
from dagster_gptimg.engine.record.settled_columns import SettledColumns
from dagster_gptimg.engine.record.summary import Summary
from dagster_gptimg.prompts import RowBatch
from dagster_gptimg.store.arrow_columns import batch_of
from dagster_gptimg.store.manifest import SCHEMA
from tests.engine.scripted import MODEL, RUN, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.store.settled.rows import Settled

ROWS = 40
PROMPTS = [f'a "cup" \\ {number}\n\u2028é\x7f' for number in range(ROWS)]


def table(arguments: Sequence[dict[str, Any]], batches: int = 3) -> Plan:
    """The plan of rows with these arguments, read in some batches."""
    size = -(-len(arguments) // batches)
    rows = range(len(arguments))
    parts = [rows[start : start + size] for start in range(0, len(arguments), size)]
    told = [
        RowBatch(
            [f"row {n}" for n in part],
            [PROMPTS[n % ROWS] for n in part],
            [dict(arguments[n]) for n in part],
            [json.dumps({"n": n}) for n in part],
            part,
            [{}] * len(part),
        )
        for part in parts
    ]
    return Plan(told, MODEL)


def images(key: str, count: int) -> list[dict[str, Any]]:
    about = {"sha256": key[::-1], "bytes": 77, "width": 8, "height": None, "content_type": "image/png"}
    return [{"path": f"images/{key[:2]}/{key}-r-{n}.png", **about} for n in range(count)]


def end(scene: Scene, number: int, key: str, count: int) -> Settled:
    """The line of a request: of each kind some, by the number of its row."""
    kind: Any = ("stored", "stored", "stored", "refused", "ended", "erased")[number % 6]
    found = [] if kind != "stored" else images(key, count if number % 7 else max(count - 1, 1))
    about: dict[str, Any] = {"partition": "other" if number % 5 == 0 else scene.partition}
    about |= {
        "cost_usd": None if number % 11 == 0 else Decimal("0.010001"),
        "bought_by": RUN if number % 2 else "early",
    }
    about |= {"settled_by": RUN if number % 3 else "early", "inference_s": None if number % 4 else 1.5}
    if kind != "stored":
        about |= {"error_type": "content_policy_violation", "error": "no\x00 words"}
    elif number % 4 == 1:
        about["notes"] = [f"odd {n}" if n else None for n in range(len(found))]
        about["details"] = [json.dumps({"seed": 7, "nsfw": bool(n), "timings": '{"a": 1}'}) for n in range(len(found))]
    wanted = Request(key, f"row {number}", MODEL.endpoint, {})
    return scene.settled(wanted, f"R{number}", images=found, kind=kind, **about)


def both(scene: Scene, planned: Plan, results: RunResults) -> tuple[pa.Table, pa.Table, Summary, Summary]:
    """The records made one by one and in columns, and what each has counted."""

    def content() -> Content:
        return Content(scene.dataset, scene.partition, planned.digest, scene.job.options)

    singly = Records(scene.dataset, scene.partition, planned, results, content())
    expected = batch_of(list(singly), SCHEMA)
    records = Records(scene.dataset, scene.partition, planned, results, content())
    made = list(SettledColumns(scene.dataset, scene.partition, planned, results, records))
    assert records.content() == singly.content()
    counts = [found.tally.summary(1.0) for found in (singly, records)]
    return pa.Table.from_batches([expected]), pa.Table.from_batches(made, SCHEMA), *counts


@pytest.mark.parametrize("count", [1, 3], ids=["one image", "three images"])
def test_rows_of_the_index_have_the_records_that_single_rows_have(scene: Scene, count: int) -> None:
    results = RunResults(scene.dataset, scene.io, RUN)
    arguments = [{"quality": "low"} if number % 8 else {} for number in range(ROWS)]
    with table([{**one, **({"num_images": count} if count > 1 else {})} for one in arguments]) as planned:
        lines = [end(scene, n, key, count) for n, row in enumerate(planned) for key in row.keys]
        results.index.write("one", lines[::-1])
        expected, made, singly, counted = both(scene, planned, results)
    assert made.num_rows == expected.num_rows > ROWS - 1
    assert made.to_pylist() == expected.to_pylist()
    assert counted == singly


def test_other_rows_stand_between_them_in_table_order(scene: Scene) -> None:
    results = RunResults(scene.dataset, scene.io, RUN)
    with table([{"quality": "low", "num_images": 2 + 9 * (number % 4 == 0)} for number in range(ROWS)]) as planned:
        keys = [row.keys for row in planned]
        assert {len(some) for some in keys} > {1}
        for number, some in enumerate(keys):
            if number % 9 == 4:
                left = Unsettled(
                    key=some[0], status=RowStatus.HELD, error_type="ambiguous_submit", error="nobody knows"
                )
                results.leave(left)
            elif number % 10 != 3:
                results.index.write(f"p{number}", [end(scene, number, key, 2) for key in some])
        again = end(scene, 1, keys[1][0], 2)
        results.index.write("again", [again._replace(cost_usd=Decimal("0.5"))])  # two lines of one request
        expected, made, singly, counted = both(scene, planned, results)
    assert made.to_pylist() == expected.to_pylist()
    assert counted == singly
    assert [row["row_id"] for row in made.to_pylist()] == sorted(
        made["row_id"].to_pylist(), key=lambda row_id: int(row_id.split()[1])
    )


def test_images_whose_files_are_gone_are_missing(scene: Scene) -> None:
    results = RunResults(scene.dataset, scene.io, RUN)
    with table([{"quality": "low"}] * ROWS) as planned:
        lines = [end(scene, 0, key, 1) for row in planned for key in row.keys]
        for line in lines[::2]:
            scene.store.write(f"d/{line.images[0]['path']}", b"x" * 77)
        results.index.write("one", lines)
        results.index.load()
        results.index.look_for_images(scene.dataset)
        expected, made, singly, counted = both(scene, planned, results)
    assert made.to_pylist() == expected.to_pylist()
    assert (counted, counted.missing) == (singly, ROWS // 2)


def test_no_object_is_made_of_a_row_that_is_done(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    results = RunResults(scene.dataset, scene.io, RUN)

    def fails(*_: object) -> None:
        raise AssertionError("a single row was made")

    with table([{"quality": "low"}] * ROWS) as planned:
        results.index.write("one", [end(scene, 1, key, 1) for row in planned for key in row.keys])
        monkeypatch.setattr(RunResults, "get", fails)
        records = Records(scene.dataset, scene.partition, planned, results)
        made = list(SettledColumns(scene.dataset, scene.partition, planned, results, records))
    assert sum(batch.num_rows for batch in made) == ROWS
