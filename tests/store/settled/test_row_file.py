"""Lines by their number: all of them, in any order, with more added on the way."""

from __future__ import annotations

import random

import pyarrow as pa

from dagster_gptimg.store.settled.row_file import CHUNK, KEPT, Lines

SCHEMA = pa.schema([("n", pa.int64()), ("images", pa.list_(pa.struct([("path", pa.string())])))])


def batch(first: int, count: int) -> pa.RecordBatch:
    rows = [{"n": n, "images": [{"path": f"{n}-{k}"} for k in range(n % 3)]} for n in range(first, first + count)]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def test_each_line_is_found_in_any_order() -> None:
    count = CHUNK * (KEPT + 10)
    lines = Lines([batch(0, 7), batch(7, 0), batch(7, count - 7)], SCHEMA)
    orders = [range(count), range(count - 1, -1, -1), random.Random(1).sample(range(count), 2000)]
    for order in orders:
        for number in order:
            found = lines.get(number)
            assert (found["n"], len(found["images"])) == (number, number % 3)
    assert len(lines._kept) == KEPT


def test_lines_that_are_added_later_are_found_too() -> None:
    lines = Lines([batch(0, 3)], SCHEMA)
    assert lines.get(2)["n"] == 2
    lines.add(batch(3, CHUNK + 1))
    assert [lines.get(n)["n"] for n in (1, 3, CHUNK + 3, 2)] == [1, 3, CHUNK + 3, 2]
