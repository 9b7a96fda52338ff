"""What stands in a line of the settled index, and the columns that it is stored in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from dagster_gptimg.base.money import MONEY, rounded
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.store.arrow_columns import batch_of

TIME = pa.timestamp("us", tz="UTC")
_IMAGE = pa.struct(
    [
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("content_type", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("attempt", pa.int32()),
        ("request_id", pa.string()),
        ("kind", pa.string()),
        ("images", pa.list_(_IMAGE)),
        ("cost_usd", MONEY),
        ("billable_units", MONEY),
        ("error_type", pa.string()),
        ("error", pa.string()),
        ("partition", pa.string()),
        ("bought_by", pa.string()),
        ("settled_by", pa.string()),
        ("inference_s", pa.float64()),
        ("submitted_at", TIME),
        ("completed_at", TIME),
        ("stored_at", TIME),
        ("notes", pa.list_(pa.string())),
        ("details", pa.list_(pa.string())),
    ],
    metadata={"dagster_gptimg.settled.version": "1"},
)

Kind = Literal["stored", "refused", "ended", "erased", "missing"]
"""How a request has ended. `missing` is not stored in the index: an image file is missing now."""

KINDS: tuple[Kind, ...] = ("ended", "refused", "stored", "erased")
"""The kinds that the index keeps; of two lines of a key the one whose kind stands later here is right."""

_STATUS: Mapping[Kind, RowStatus] = {
    "stored": RowStatus.STORED,
    "refused": RowStatus.REFUSED,
    "ended": RowStatus.LOST,
    "erased": RowStatus.ERASED,
    "missing": RowStatus.MISSING,
}
"""By how a request has ended, the status of its row."""


class Settled(NamedTuple):
    """A finished request: stored, refused for good, ended without images, or erased on request.

    Attributes:
        bought_by: the run that sent it.
        settled_by: the run that recorded the outcome.
        images: fields of `StoredImage`, each as a dict.
        notes: for each image its anomalies, in words, or None; None if there are none at all.
        details: for each image a JSON object of its non-empty columns among `DETAILS`, or None; None if there are none
            at all.
    """

    key: str
    attempt: int
    request_id: str
    kind: Kind
    images: list[dict[str, Any]]
    cost_usd: Decimal | None
    billable_units: Decimal | None
    error_type: str | None
    error: str | None
    partition: str | None
    bought_by: str
    settled_by: str
    inference_s: float | None
    submitted_at: datetime
    completed_at: datetime
    stored_at: datetime
    notes: Sequence[str | None] | None = None
    details: Sequence[str | None] | None = None

    @property
    def status(self) -> RowStatus:
        """The row's status, as far as it depends on this request."""
        return _STATUS[self.kind]


class Brief(NamedTuple):
    """The fields of a settled request that are needed for counting.

    Attributes:
        images: number of images.
        is_missing: whether an image file was missing, or had another size, when the files were listed.
        version: changes when anything in the line does; 32 bits.
    """

    kind: Kind
    images: int
    is_missing: bool
    version: int

    @property
    def status(self) -> RowStatus:
        """The row's status, as far as it depends on this request."""
        return RowStatus.MISSING if self.is_missing else _STATUS[self.kind]


def columns_of(rows: Sequence[Settled]) -> pa.RecordBatch:
    """Return lines in columns. Invalid values become null: receipts have them, and derived data never stops a run."""
    told = [row._asdict() for row in rows]
    for line in told:
        line |= {name: rounded(line[name]) for name in ("cost_usd", "billable_units")}
    return batch_of(told, SCHEMA)


def images_of(batch: pa.RecordBatch, field: str) -> list[Any]:
    """Return one field of all images of some lines, in order."""
    found: list[Any] = batch["images"].flatten().field(field).to_pylist()
    return found
