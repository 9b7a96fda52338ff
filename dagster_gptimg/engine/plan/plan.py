"""The plan: the validated rows of a run with their request keys, written to a temporary file.

The source is read exactly once, so that it cannot change between validation, purchase and manifest. No Python object is
kept for a row; while rows are read, memory holds 8 bytes per request, by which equal ones are found (`equal_rows.py`).
"""

from __future__ import annotations

import hashlib
import io
import json
from itertools import chain, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.digest_columns import KEY
from dagster_gptimg.engine.plan.equal_rows import EqualRows
from dagster_gptimg.engine.plan.shapes import Shape
from dagster_gptimg.engine.plan.text_digest import TextDigest
from dagster_gptimg.fal.registry.model import NO_SIZES
from dagster_gptimg.fal.registry.price_formulas import images_of
from dagster_gptimg.temporary_files import temporary_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.registry.price_formulas import Price, Size
    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts import RowBatch
    from dagster_gptimg.prompts.references import Reference

_SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("prompt", pa.string()),
        ("arguments", pa.string()),
        ("columns", pa.string()),
        ("keys", pa.binary()),
        ("first_keys", pa.binary()),
        ("copies", pa.list_(pa.int32())),
        ("take", pa.int32()),
        ("references", pa.string()),
        ("sizes", pa.string()),
    ]
)
_TEXTS = ("row_id", "prompt", "arguments", "columns", "references")
_json = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` would make an encoder for each row
T = TypeVar("T")
KEYS_READ = KEY * 2**13
CACHED = 4096
"""Maximum number of distinct arguments whose computed values are cached."""


class Request(NamedTuple):
    """One paid POST that a row needs.

    Attributes:
        endpoint: fal's full id: a row with reference images uses the model's endpoint for edits.
        arguments: its inputs, the prompt included if it has one; images that are not public URLs as `sha256:<hex>`.
        references: the locations of those images.
        sizes: their widths and heights in pixels, as far as they are known.
    """

    key: str
    row_id: str
    endpoint: str
    arguments: dict[str, Json]
    references: Mapping[str, str] = MappingProxyType({})
    sizes: Mapping[str, Size] = NO_SIZES

    @property
    def images(self) -> int:
        """The maximum number of images of the request; images beyond it are reported, and not fetched."""
        return images_of(self.arguments).high


class PlannedRow(NamedTuple):
    """A row, and the requests into which it is split. Rarely needed values are computed on access.

    Attributes:
        columns: the row's other columns, as JSON.
        keys: of its requests, of the row's current take.
        shape: the values that it shares with other rows.
        sources: the locations of its reference images, as JSON.
        pixels: their widths and heights, as JSON.
        first_keys: of the same requests, of the first take.
        copies: the copy number of each request; None if all are 0.
        take: the row's current take; 0 is the first.
    """

    row_id: str
    prompt: str
    columns: str
    keys: Sequence[str]
    shape: Shape
    sources: str | None = None
    pixels: str | None = None
    first_keys: Sequence[str] = ()
    copies: Sequence[int] | None = None
    take: int = 0

    @property
    def images(self) -> list[int]:
        """The maximum number of images of each of its requests."""
        return self.shape.images

    @property
    def prices(self) -> list[Price]:
        """The cost of each of its requests, in US dollars."""
        return self.shape.prices(self.prompt, self._sizes)

    def keys_of(self, take: int) -> list[str]:
        """Return the keys of the row's requests of another take."""
        if not take:
            return list(self.first_keys)
        keys = self.shape.keys_of_copies(self.prompt, self.copies or [0] * len(self.shape.images), take)
        return _told(keys)

    @property
    def requests(self) -> list[Request]:
        """The requests of the row."""
        references = json.loads(self.sources) if self.sources else MappingProxyType({})
        parts = zip(self.keys, self.shape.parts(self.prompt), strict=True)
        sizes = self._sizes
        return [Request(key, self.row_id, self.shape.endpoint, part, references, sizes) for key, part in parts]

    @property
    def _sizes(self) -> Mapping[str, Size]:
        if not self.pixels:
            return NO_SIZES
        return {token: (width, height) for token, (width, height) in json.loads(self.pixels).items()}


class PlanBatch:
    """Rows of a plan that were written together; each is made on access.

    Attributes:
        keys: of all requests of all rows, concatenated, 32 bytes each.
        columns: the rows in Arrow columns.
    """

    def __init__(self, batch: pa.RecordBatch, shape: Callable[[str], Shape]) -> None:
        """`shape`: returns the shared values for arguments in JSON."""
        self.columns, self._shape = batch, shape
        self.keys = b"".join(batch["keys"].to_pylist())

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    def some(self, numbers: Sequence[int]) -> PlanBatch:
        """Return the rows with some numbers, from 0."""
        return PlanBatch(self.columns.take(pa.array(numbers, pa.int64())), self._shape)

    def shapes(self) -> list[Shape]:
        """Return the shared values of each row."""
        return [self._shape(arguments) for arguments in self.columns["arguments"].to_pylist()]

    def __iter__(self) -> Iterator[PlannedRow]:
        """Yield the rows in table order."""
        rows = zip(*(column.to_pylist() for column in self.columns.columns), strict=True)
        for row_id, prompt, arguments, columns, keys, first, copies, take, references, sizes in rows:
            told = _told(keys)
            firsts = told if first is None else _told(first)
            yield PlannedRow(
                row_id, prompt, columns, told, self._shape(arguments), references, sizes, firsts, copies, take or 0
            )

    def by_row(self, found: list[T]) -> list[list[T]]:
        """Group a list with one item per key by rows."""
        if len(found) == self.columns.num_rows:  # each row has exactly one
            return [[one] for one in found]
        rest = iter(found)
        return [[*islice(rest, length // KEY)] for length in pc.binary_length(self.columns["keys"]).to_pylist()]


class Plan:
    """The rows of one run. Use it as a context manager, which removes its file.

    Attributes:
        rows: number of rows.
        requests: number of POSTs if nothing was done before.
        digest: of all rows: plans with the same digest ask for the same.
    """

    def __init__(self, batches: Iterable[RowBatch], model: FalModel) -> None:
        """Read all rows.

        Raises:
            TableError: a row is invalid.
            TemporaryError: there is no room for the temporary file.
        """
        self.model = model
        self.rows = self.requests = 0
        self._shapes: dict[str, Shape] = {}
        self._file, self._keys_file = temporary_file(), temporary_file()
        try:
            with pa.ipc.new_stream(self._file, _SCHEMA) as writer:
                self._write(batches, writer)
        except BaseException:
            self.__exit__()
            raise

    def _write(self, batches: Iterable[RowBatch], writer: pa.RecordBatchWriter) -> None:
        equal, digests = EqualRows(), {name: TextDigest() for name in _TEXTS}
        for rows in batches:
            batch = pa.RecordBatch.from_pydict(self._columns(rows, equal), schema=_SCHEMA)
            for name, digest in digests.items():
                digest.add(batch[name])
            writer.write_batch(batch)
            self._keys_file.write(b"".join(batch["keys"].to_pylist()))
        self.digest = hashlib.blake2b(b"".join(map(bytes, digests.values())), digest_size=16).hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._keys_file.close()

    @property
    def size(self) -> int:
        """Bytes of the rows on disk: about the size of all files derived from them."""
        return self._file.seek(0, io.SEEK_END)

    def keys(self) -> Iterator[bytes]:
        """Yield the keys of all requests in table order, in concatenated chunks; only one iteration at a time."""
        self._keys_file.seek(0)
        while some := self._keys_file.read(KEYS_READ):
            yield some

    def batches(self) -> Iterator[PlanBatch]:
        """Yield the rows in table order, in batches; only one iteration at a time."""
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            yield PlanBatch(batch, self._shape)

    def move(self, takes: Mapping[str, int]) -> None:
        """Move rows to other takes: the rows' ids, with their takes. Rewrites the file.

        Raises:
            TemporaryError: there is no room for the temporary files.
        """
        file, keys_file = temporary_file(), temporary_file()
        try:
            self._file.seek(0)
            with pa.ipc.new_stream(file, _SCHEMA) as writer:
                for batch in pa.ipc.open_stream(self._file):
                    moved = self._moved(batch, takes)
                    writer.write_batch(moved)
                    keys_file.write(b"".join(moved["keys"].to_pylist()))
        except BaseException:
            file.close()
            keys_file.close()
            raise
        self.__exit__()
        self._file, self._keys_file = file, keys_file

    def _moved(self, batch: pa.RecordBatch, takes: Mapping[str, int]) -> pa.RecordBatch:
        if takes.keys().isdisjoint(batch["row_id"].to_pylist()):
            return batch
        rows = list(PlanBatch(batch, self._shape))
        keys = [
            bytes.fromhex("".join(row.keys_of(takes[row.row_id]) if row.row_id in takes else row.keys)) for row in rows
        ]
        columns = {name: batch[name] for name in _SCHEMA.names}
        columns["keys"] = pa.array(keys, pa.binary())
        columns["first_keys"] = pa.array([bytes.fromhex("".join(row.first_keys)) for row in rows], pa.binary())
        columns["take"] = pa.array([takes.get(row.row_id, row.take) for row in rows], pa.int32())
        return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)

    def __iter__(self) -> Iterator[PlannedRow]:
        """Yield the rows in table order; only one iteration at a time."""
        return chain.from_iterable(self.batches())

    def price(self, request: Request) -> Price:
        """Return the cost of a request, in US dollars."""
        return self.model.cost(request.arguments, request.sizes)

    def _columns(self, rows: RowBatch, equal: EqualRows) -> dict[str, Sequence[Any]]:
        """Return the columns of a batch for the file."""
        count = len(rows)
        self.rows += count
        told, keys, shapes = [""] * count, [b""] * count, list[Shape | None]([None]) * count
        alike: dict[int, list[int]] = {}
        for number, arguments in enumerate(rows.arguments):  # most rows of a table share few objects
            alike.setdefault(id(arguments), []).append(number)
        for numbers in alike.values():
            arguments = rows.arguments[numbers[0]]
            text = _json(arguments)
            shape = self._shape(text, arguments)
            self.requests += len(numbers) * len(shape.images)
            for number, some in zip(numbers, shape.keys([rows.prompts[n] for n in numbers]), strict=True):
                told[number], keys[number], shapes[number] = text, some, shape
        copies = self._tell_apart(rows.prompts, keys, shapes, equal)
        return {
            "row_id": rows.row_ids,
            "prompt": rows.prompts,
            "arguments": told,
            "columns": rows.columns,
            "keys": keys,
            "first_keys": [None] * len(keys),
            "copies": copies,
            "take": [None] * len(keys),
            "references": [_places(found) for found in rows.references],
            "sizes": [_sizes(found) for found in rows.references],
        }

    @staticmethod
    def _tell_apart(
        prompts: Sequence[str], keys: list[bytes], shapes: Sequence[Shape | None], equal: EqualRows
    ) -> list[Sequence[int] | None]:
        """Change keys of rows that earlier requests have, too; return each row's copy numbers, None if all are 0."""
        told: list[Sequence[int] | None] = [None] * len(keys)

        def keys_of_copies(number: int, copies: Sequence[int]) -> bytes:
            told[number], shape = copies if any(copies) else None, shapes[number]
            return keys[number] if shape is None else shape.keys_of_copies(prompts[number], copies)

        equal.tell_apart(keys, keys_of_copies)
        return told

    def _shape(self, text: str, arguments: Mapping[str, Json] | None = None) -> Shape:
        found = self._shapes.get(text)
        if found is None:
            if len(self._shapes) >= CACHED:
                self._shapes.clear()
            found = self._shapes[text] = Shape(self.model, json.loads(text) if arguments is None else arguments)
        return found


def _places(references: Mapping[str, Reference]) -> str | None:
    return _json({token: found.source for token, found in references.items()}) if references else None


def _sizes(references: Mapping[str, Reference]) -> str | None:
    sizes = {token: found.size for token, found in references.items() if found.size} if references else {}
    return _json(sizes) if sizes else None


def _told(keys: bytes) -> list[str]:
    return [keys[at : at + KEY].hex() for at in range(0, len(keys), KEY)]
