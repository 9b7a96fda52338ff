"""A record of the image table as an object: its fields are the table's columns."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import pyarrow as pa

from dagster_gptimg.base.money import MONEY
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.image_record import ImageRecord, records_of
from dagster_gptimg.store.manifest import SCHEMA
from dagster_gptimg.store.manifest_columns import COLUMNS, Column
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 24, tzinfo=UTC)
VALUES = {
    pa.string(): "text",
    pa.int32(): 1,
    pa.int64(): 2**40,
    pa.float64(): 0.5,
    pa.bool_(): True,
    MONEY: Decimal("0.010000"),
}
"""A value of each type; every other type is a moment."""


def value(column: Column) -> Any:
    return '{"a": 1}' if column.is_json else VALUES.get(column.type, NOW)


def test_the_fields_of_a_record_are_the_columns_and_hold_their_values(tmp_path: Path) -> None:
    dataset = Dataset(Store(str(tmp_path)), "images")
    table = pa.Table.from_pylist([{column.name: value(column) for column in COLUMNS}], schema=SCHEMA)
    [record] = records_of(table, dataset)
    hints = get_type_hints(ImageRecord)
    assert [*hints] == [*SCHEMA.names, "dataset"]
    for column in COLUMNS:
        found = getattr(record, column.name)
        assert found == ({"a": 1} if column.is_json else value(column))
        hint = hints[column.name]
        assert hint == dict[str, Any] if column.is_json else type(found) in (get_args(hint) or (hint,)), column.name
