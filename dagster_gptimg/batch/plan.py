"""The plan: the checked rows of a run with their request keys, written to a temporary file.

The source is read exactly once, so that nobody can change it between check, purchase and manifest, and no Python
object is kept for a row; while they are read, 8 bytes stand for each request, by which equal ones find each other.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pyarrow as pa

from dagster_gptimg.batch.keys import cut, keys_of, request_key
from dagster_gptimg.digests import DigestCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dagster_gptimg.canonical import Canonical
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
        ("keys", pa.binary()),
        ("references", pa.string()),
    ]
)
_KEY = 32
_json = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` would make an encoder for each row
CACHED = 4096
"""Distinct sets of arguments that are kept worked out."""


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
        return _images(self.arguments)


class PlannedRow(NamedTuple):
    """A row, and the requests that it is cut into. What few ask for is made when they do.

    Attributes:
        columns: the row's other columns, as JSON.
        keys: of its requests.
        shape: what it has in common with others.
        sources: where its reference images are, as JSON.
    """

    row_id: str
    prompt: str
    columns: str
    keys: Sequence[str]
    shape: Shape
    sources: str | None = None

    @property
    def images(self) -> list[int]:
        """How many images each of its requests asks for."""
        return self.shape.images

    @property
    def requests(self) -> list[Request]:
        """Its requests."""
        references = json.loads(self.sources) if self.sources else MappingProxyType({})
        parts = zip(self.keys, self.shape.parts(self.prompt), strict=True)
        return [Request(key, self.row_id, self.shape.endpoint, part, references) for key, part in parts]


class Shape:
    """What rows with the same arguments have in common.

    Attributes:
        endpoint: fal's full id. images: how many images each request of such a row asks for.
    """

    def __init__(self, model: FalModel, arguments: Mapping[str, Json]) -> None:
        """Work it out. `num_images` is always said, so that what was asked for is on record."""
        variant = model.variant(arguments)
        self.endpoint = variant.endpoint
        self._cut: list[dict[str, Json]] = [dict(arguments)]
        if "num_images" in variant.inputs.model_fields:
            counts = cut(_images(arguments), variant.max_images_per_request)
            self._cut = [{**arguments, "num_images": count} for count in counts]
        self.images = [_images(part) for part in self._cut]
        self._keys: list[Canonical] = [keys_of(model, {"prompt": "", **part}, 0) for part in self._cut]

    def parts(self, prompt: str) -> list[dict[str, Json]]:
        """The arguments of each request of a row with this prompt."""
        return [{"prompt": prompt, **part} for part in self._cut]

    def keys(self, prompt: str) -> list[bytes]:
        """The keys of the first row with this prompt."""
        return [keys.digest(prompt) for keys in self._keys]


class Plan:
    """The rows of one run. Use it as a context manager: its file goes with it.

    Attributes:
        rows: how many.
        requests: how many POSTs they would take if nothing was done yet.
        digest: of all rows as they stand: two plans with the same one ask for the same.
    """

    def __init__(self, batches: Iterable[list[PromptRow]], model: FalModel) -> None:
        """Read all rows.

        Raises:
            TableError: any row is invalid.
        """
        self.model = model
        self.rows = self.requests = 0
        self._shapes: dict[str, Shape] = {}
        self._file = tempfile.TemporaryFile(prefix="dagster-gptimg-plan-")  # noqa: SIM115 - closed by __exit__
        try:
            with pa.ipc.new_stream(self._file, _SCHEMA) as writer:
                self._write(batches, writer)
        except BaseException:
            self._file.close()
            raise

    def _write(self, batches: Iterable[list[PromptRow]], writer: pa.RecordBatchWriter) -> None:
        known, digest = DigestCounts(), hashlib.blake2b(digest_size=16)
        for rows in batches:
            columns = self._columns(rows, known)
            # Not of Arrow's bytes: what stands between its buffers is whatever the memory held.
            digest.update(_json([column for name, column in columns.items() if name != "keys"]).encode())
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=_SCHEMA))
        self.digest = digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[PlannedRow]:
        """The rows in table order; one iteration at a time."""
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            for row_id, prompt, arguments, columns, keys, references in rows:
                told = [keys[at : at + _KEY].hex() for at in range(0, len(keys), _KEY)]
                yield PlannedRow(row_id, prompt, columns, told, self._shape(arguments), references)

    def price(self, request: Request) -> Price:
        """What a request costs, in US dollars, at least and at most."""
        return self.model.cost(request.arguments)

    def _columns(self, rows: list[PromptRow], known: DigestCounts) -> dict[str, list[Any]]:
        """The columns of a batch of the file."""
        self.rows += len(rows)
        told, keyed = list[str](), list[bytes]()
        arguments, text, shape = None, "", None
        for row in rows:
            if shape is None or row.arguments is not arguments:  # most rows of a table have the same
                arguments, text = row.arguments, _json(row.arguments)
                shape = self._shape(text, arguments)
            keys = self._keys(shape, row.prompt, known)
            self.requests += len(keys)
            told.append(text)
            keyed.append(b"".join(keys))
        return {
            "row_id": [row.row_id for row in rows],
            "prompt": [row.prompt for row in rows],
            "arguments": told,
            "columns": [_json(row.columns) if row.columns else "{}" for row in rows],
            "keys": keyed,
            "references": [_json(dict(row.references)) if row.references else None for row in rows],
        }

    def _shape(self, text: str, arguments: Mapping[str, Json] | None = None) -> Shape:
        found = self._shapes.get(text)
        if found is None:
            if len(self._shapes) >= CACHED:
                self._shapes.clear()
            found = self._shapes[text] = Shape(self.model, json.loads(text) if arguments is None else arguments)
        return found

    def _keys(self, shape: Shape, prompt: str, known: DigestCounts) -> list[bytes]:
        """The keys of a row's requests, told apart from those of equal requests before."""
        keys = shape.keys(prompt)
        for place, key in enumerate(keys):
            if copy := known.count(key):
                keys[place] = bytes.fromhex(request_key(self.model, shape.parts(prompt)[place], copy))
        return keys


def _images(arguments: Mapping[str, Json]) -> int:
    count = arguments.get("num_images", 1)
    return count if isinstance(count, int) else 1
