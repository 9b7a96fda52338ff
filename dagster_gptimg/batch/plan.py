"""The plan: the checked rows of a run with their request keys, written to a temporary file.

The source is read exactly once, so that nobody can change it between check, purchase and manifest, and no Python
object is kept for a row.
"""

from __future__ import annotations

import json
import tempfile
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self

import pyarrow as pa

from dagster_gptimg.batch.keys import cut, request_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dagster_gptimg.fal.model import FalModel
    from dagster_gptimg.fal.prices import Price
    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts import PromptRow

_SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("prompt", pa.string()),
        ("arguments", pa.string()),
        ("columns", pa.string()),
        ("keys", pa.list_(pa.string())),
        ("references", pa.string()),
    ]
)


class Request(NamedTuple):
    """One paid POST that a row needs.

    Attributes:
        endpoint: fal's full id: a row with reference images goes to the model's endpoint for edits.
        arguments: its inputs, the prompt among them; images that are not public URLs as `sha256:<hex>`.
        references: where those images are.
    """

    key: str
    row_id: str
    endpoint: str
    arguments: dict[str, Json]
    references: Mapping[str, str] = MappingProxyType({})

    @property
    def images(self) -> int:
        """How many images it asks for."""
        count = self.arguments.get("num_images", 1)
        return count if isinstance(count, int) else 1


class PlannedRow(NamedTuple):
    """A row, and the requests that it is cut into.

    Attributes:
        columns: the row's other columns.
    """

    row_id: str
    prompt: str
    arguments: dict[str, Json]
    columns: dict[str, Json]
    requests: list[Request]


class Plan:
    """The rows of one run. Use it as a context manager: its file goes with it.

    Attributes:
        rows: how many.
        requests: how many POSTs they would take if nothing was done yet.
    """

    def __init__(self, batches: Iterable[list[PromptRow]], model: FalModel) -> None:
        """Read all rows.

        Raises:
            TableError: any row is invalid.
        """
        self.model = model
        self.rows = self.requests = 0
        self._copies: dict[bytes, int] = {}
        self._file = tempfile.TemporaryFile(prefix="dagster-gptimg-plan-")  # noqa: SIM115 - closed by __exit__
        try:
            with pa.ipc.new_stream(self._file, _SCHEMA) as writer:
                for rows in batches:
                    writer.write_batch(self._batch(rows))
        except BaseException:
            self._file.close()
            raise
        self._copies.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[PlannedRow]:
        """The rows in table order; one iteration at a time."""
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            for row in batch.to_pylist():
                yield self._row(row)

    def price(self, request: Request) -> Price:
        """What a request costs, in US dollars, at least and at most."""
        return self.model.cost(request.arguments)

    def _batch(self, rows: list[PromptRow]) -> pa.RecordBatch:
        self.rows += len(rows)
        return pa.RecordBatch.from_pylist([self._spilled(row) for row in rows], schema=_SCHEMA)

    def _spilled(self, row: PromptRow) -> dict[str, object]:
        keys = [self._key(arguments) for arguments in _cut(self.model, row.prompt, row.arguments)]
        self.requests += len(keys)
        arguments, columns = json.dumps(row.arguments), json.dumps(row.columns)
        return {
            "row_id": row.row_id,
            "prompt": row.prompt,
            "arguments": arguments,
            "columns": columns,
            "keys": keys,
            "references": json.dumps(row.references) if row.references else None,
        }

    def _key(self, arguments: dict[str, Json]) -> str:
        """The key of the next request that asks for this."""
        first = request_key(self.model, arguments, 0)
        digest = bytes.fromhex(first[:32])  # 16 bytes stand for it: a million of them are kept
        copy = self._copies.get(digest, 0)
        self._copies[digest] = copy + 1
        return request_key(self.model, arguments, copy) if copy else first

    def _row(self, spilled: dict[str, str]) -> PlannedRow:
        row_id, prompt, arguments = spilled["row_id"], spilled["prompt"], json.loads(spilled["arguments"])
        references = json.loads(spilled["references"] or "{}")
        parts = zip(spilled["keys"], _cut(self.model, prompt, arguments), strict=True)
        requests = [Request(key, row_id, self.model.variant(part).endpoint, part, references) for key, part in parts]
        return PlannedRow(row_id, prompt, arguments, json.loads(spilled["columns"]), requests)


def _cut(model: FalModel, prompt: str, arguments: dict[str, Json]) -> list[dict[str, Json]]:
    """The arguments of each request of a row. `num_images` is always said, so that what was asked for is on record."""
    variant = model.variant(arguments)
    if "num_images" not in variant.inputs.model_fields:
        return [{"prompt": prompt, **arguments}]
    images = arguments.get("num_images", 1)
    counts = cut(images if isinstance(images, int) else 1, variant.max_images_per_request)
    return [{"prompt": prompt, **arguments, "num_images": count} for count in counts]
