"""The settled index: what is done, by request key, in one columnar read.

Derived from receipts, and never needed for money. Runs add immutable Parquet pieces; many pieces are merged into one. A
piece that is lost or broken costs time, not money: `lost` names it, and the receipts are read instead.

In memory a line takes 19 bytes (its key's digest, its kind, how many images it has, a version), and about as many again
once single keys are asked for; the rest is read when it is asked for.
"""

from __future__ import annotations

import logging
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dagster_gptimg.base.digest_columns import KEY, SIZE, DigestMap, Digests, digests_of
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.arrow_columns import batch_of, read_batches
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.images.listing import WantedImages
from dagster_gptimg.store.index_pieces import MARK, check_piece, listed, piece_name
from dagster_gptimg.store.money import MONEY, rounded
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.row_file import Lines
from dagster_gptimg.temporary_files import TemporaryFolder, create

_log = logging.getLogger(__name__)
_TIME = pa.timestamp("us", tz="UTC")
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
        ("submitted_at", _TIME),
        ("completed_at", _TIME),
        ("stored_at", _TIME),
        ("notes", pa.list_(pa.string())),
    ],
    metadata={"dagster_gptimg.settled.version": "1"},
)
_KNOWN = ["key", "request_id", "kind", "images", "cost_usd"]
"""The columns that are read of all lines when the index is loaded."""
PLACED = 2**16
"""Keys that are looked for at once, at least: each time all lines are gone through."""
MERGE_ABOVE = 32

Kind = Literal["stored", "refused", "ended", "erased", "missing"]
"""How a request has ended. `missing` is nothing that the index keeps: a file of the images is gone just now."""

_KINDS: tuple[Kind, ...] = ("ended", "refused", "stored", "erased")
_STATUS: Mapping[Kind, RowStatus] = {
    "stored": RowStatus.STORED,
    "refused": RowStatus.REFUSED,
    "ended": RowStatus.LOST,
    "erased": RowStatus.ERASED,
    "missing": RowStatus.MISSING,
}
"""By how a request has ended, the status of its row."""
_MISSING = 128
"""Beside the kind: a file of its images is not there as it was stored."""
_BRIEF = {n | gone: (kind, bool(gone)) for n, kind in enumerate(_KINDS) for gone in (0, _MISSING)}


class Settled(NamedTuple):
    """A request that is done: stored, refused for good, ended without images, or erased at the user's word.

    Attributes:
        bought_by: the run that sent it. settled_by: the run that recorded the outcome.
        images: as `StoredImage`s are, each a dict.
        notes: for each of the images what is odd about it, in words; None where nothing is. None as a whole: of none.
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

    @property
    def status(self) -> RowStatus:
        """The status of its row, as far as it goes by this request."""
        return _STATUS[self.kind]


class Brief(NamedTuple):
    """As much of a settled request as counting takes.

    Attributes:
        images: how many it has.
        is_missing: whether a file of them was gone when the index was loaded, or had another size.
        version: changes when anything of the line does; 32 bits.
    """

    kind: Kind
    images: int
    is_missing: bool
    version: int

    @property
    def status(self) -> RowStatus:
        """Its row's, as far as it goes by this request."""
        return RowStatus.MISSING if self.is_missing else _STATUS[self.kind]


class Piece(NamedTuple):
    """A piece of the index."""

    name: str
    lines: pa.RecordBatch


class SettledIndex:
    """The settled index of one dataset. Every call blocks, and none may run beside another, but for `save`.

    Attributes:
        has_missing: whether a file of any line's images is gone, as far as somebody has looked.
        lost: pieces that were written, and were not there or could not be read when the index was loaded: what they
            said is in the receipts only.
    """

    def __init__(self, store: Store, folder: str) -> None:
        """`folder` is the dataset's, relative to the store."""
        self._store, self._folder = store, f"{folder}/settled"
        # Copies of the pieces: another run may put them together, and remove them, while this one goes on.
        self._copies: TemporaryFolder | None = None
        self.has_missing = False
        self.lost: list[str] = []
        self._forget()

    def _forget(self) -> None:
        # Lines by their keys: all of them in their order, and those that have been asked for one by one in a map.
        self._keys, self._map, self._others = Digests(), DigestMap(), dict[int, list[int]]()
        self._kinds, self._images, self._versions = bytearray(), array("H"), array("I")
        self._wanted = WantedImages()  # until somebody has looked for the files
        self._pieces: list[str] = []
        self._lines: Lines | None = None

    def load(self) -> None:
        """Read all pieces. One that cannot be read is left out, with a warning. Raises `StoreError`."""
        broken: set[str] = set()
        while not self._load(broken):
            continue  # what came of a broken piece is among the rest: once more, without it

    def look_for_images(self, dataset: Dataset) -> None:
        """List the image files, and mark the lines that miss one; once, after `load`. Raises `StoreError`."""
        missing, number = self._wanted.missing(dataset), 0
        self.has_missing = bool(missing)
        self._wanted = WantedImages()
        for batch in self._batches(["images"]) if missing else ():
            paths = iter(_images(batch, "path"))
            for count in pc.list_value_length(batch["images"]).to_pylist():
                if not missing.isdisjoint([*map(hash, islice(paths, count))]):
                    self._kinds[number] |= _MISSING
                number += 1

    def get(self, key: str) -> Settled | None:
        """What is settled for a key."""
        found = self._best(key)
        return self._line(self._most_known(found)) if found else None

    def brief(self, key: str) -> Brief | None:
        """The same in brief; nothing is read."""
        return self.briefs(self._by_key().find(digests_of(bytes.fromhex(key))))[0] if self._kinds else None

    def places(self, keys: Iterable[bytes]) -> Iterator[int]:
        """Where very many keys stand in the index, for `briefs`: of 32 bytes each, one behind the other.

        Take as many as there are keys: where the index is empty, it does not count them.
        Many at once are found without a map of the lines; that is made when somebody asks for single keys.
        """
        if not self._kinds:
            yield from repeat(-1)
        wanted, most = Digests(), max(PLACED, len(self) // 4)
        for some in keys:
            wanted.extend(some)
            if len(wanted) >= most:
                yield from self._places(wanted)
                wanted = Digests()
        yield from self._places(wanted)

    def _places(self, wanted: Digests) -> Sequence[int]:
        found = None if len(self._map) else wanted.places_in(self._keys)
        return self._by_key().find(wanted) if found is None else found

    def briefs(self, places: Iterable[int]) -> list[Brief | None]:
        """The keys of some `places` in brief; None for one that is not in the index."""
        kinds, images, versions, others = self._kinds, self._images, self._versions, self._others
        found = list[Brief | None]()
        for first in places:
            if first < 0:
                found.append(None)
                continue
            number = self._most_known(self._best_of(first)) if first in others else first
            kind, is_missing = _BRIEF[kinds[number]]
            # `Brief(...)` is a call of Python for each of a million.
            found.append(tuple.__new__(Brief, (kind, images[number], is_missing, versions[number])))
        return found

    def completed(self, start: datetime, end: datetime) -> set[str]:
        """Ids of the requests that completed between two moments."""
        found: set[str] = set()
        for batch in self._batches(["request_id", "completed_at"]):
            when = batch["completed_at"]
            inside = pc.and_(
                pc.greater_equal(when, pa.scalar(start, _TIME)), pc.less_equal(when, pa.scalar(end, _TIME))
            )
            found.update(batch["request_id"].filter(inside).to_pylist())
        return found

    def request_ids(self) -> Iterator[str]:
        """The ids of all requests that are on record here."""
        for batch in self._batches(["request_id"]):
            yield from batch["request_id"].to_pylist()

    def __len__(self) -> int:
        return len(self._kinds)

    def write(self, piece: str, rows: Sequence[Settled]) -> None:
        """Add an immutable piece, and know it from now on. Raises `StoreError`."""
        if rows:
            made = self.make(piece, rows)
            self.save(made)
            self.know(made)

    def make(self, name: str, rows: Sequence[Settled]) -> Piece:
        """Lay out a piece on this machine.

        In always the same thread, if it is done again and again: of what Arrow and zstd take for it, glibc keeps some
        10 MB for every thread in which that was ever done.
        """
        batch = _batch_of(rows)
        return Piece(self._lay_out(name, [batch]), batch)

    def save(self, piece: Piece) -> None:
        """Add a piece to the store. Raises `StoreError`."""
        self._put(piece.name)

    def _put(self, name: str) -> None:
        """Write a piece, and the mark that it was written."""
        self._store.write_file(f"{self._folder}/{name}", self._copy(name))
        with suppress(FileExistsError):
            self._store.create(f"{self._folder}/{name}{MARK}", b"")

    def _remove(self, names: Iterable[str]) -> None:
        """Remove pieces; the marks before them: whoever looks in between must not take them for lost."""
        for name in names:
            self._store.delete(f"{self._folder}/{name}{MARK}")
            self._store.delete(f"{self._folder}/{name}")

    def drop_lost(self) -> None:
        """Forget that pieces were lost, once what they said is in others. Raises `StoreError`."""
        self._remove(self.lost)
        self.lost = []

    def know(self, piece: Piece) -> None:
        """Know what was saved from now on. Nothing else may read the index meanwhile; the store is not asked."""
        if self._lines is not None:
            self._lines.add(piece.lines)
        self._pieces.append(piece.name)
        self._add(piece.lines)

    def replace(self, piece: str, rows: Sequence[Settled]) -> None:
        """Put these lines in place of everything that is there, readable or not. Raises `StoreError`."""
        old = sorted(self._store.names(self._folder), key=lambda name: not name.endswith(MARK))  # marks go first
        self._forget()
        self.write(piece, rows)
        for name in old:
            if name.removesuffix(MARK) not in self._pieces:
                self._store.delete(f"{self._folder}/{name}")

    def merge(self, piece: str) -> None:
        """Put many pieces into one, written before the others are removed. Raises `StoreError`."""
        if len(self._pieces) <= MERGE_ABOVE:
            return
        old = list(self._pieces)
        self._put(self._lay_out(piece, self._alive()))
        self._remove(old)

    # -- lines, by their numbers

    def _best(self, key: str) -> list[int]:
        """The numbers of a key's lines that are of its best kind."""
        first = self._by_key().get(bytes.fromhex(key[: 2 * SIZE])) if self._kinds else None
        return [] if first is None else self._best_of(first)

    def _by_key(self) -> DigestMap:
        """The first lines of all keys; lines that are not among them yet are put there."""
        for number, first in self._map.extend(self._keys):
            self._others.setdefault(first, []).append(number)
        self._keys = Digests()
        return self._map

    def _best_of(self, first: int) -> list[int]:
        """The same, for the key whose first line has this number."""
        found = [first, *self._others.get(first, ())]
        if len(found) > 1:
            kinds = [self._kinds[number] & ~_MISSING for number in found]
            found = [number for number, kind in zip(found, kinds, strict=True) if kind == max(kinds)]
        return found

    def _most_known(self, numbers: Sequence[int]) -> int:
        """Of the lines of one key the one that says most: an erasure, then images, then a refusal.

        What is known of a key only grows: its cost is the sum over all its requests, so the larger one knows more. Of
        two that know as much, the one whose images are there.
        """
        if len(numbers) == 1:
            return numbers[0]
        return max(numbers, key=lambda n: _knowledge(self._line(n), is_here=not self._kinds[n] & _MISSING, number=n))

    def _line(self, number: int) -> Settled:
        if self._lines is None:
            self._lines = Lines(self._batches(), SCHEMA)
        return Settled(**self._lines.get(number))

    def _alive(self) -> Iterator[pa.RecordBatch]:
        """All lines but those that another one of the same key goes before."""
        self._by_key()
        alike = ([first, *others] for first, others in self._others.items())
        dead = {number for numbers in alike for number in set(numbers) - {self._most_known(numbers)}}
        before = 0
        for batch in self._batches():
            yield batch.filter(pa.array([before + n not in dead for n in range(batch.num_rows)]))
            before += batch.num_rows

    # -- pieces

    def _load(self, broken: set[str]) -> bool:
        """Read all pieces but the broken ones; False when another one is broken, which is added to these."""
        self._forget()
        pieces, marked = listed(self._store.names(self._folder))
        self.lost = sorted(marked.difference(pieces) | broken.intersection(pieces))
        for name in pieces:
            if name in broken:
                continue
            try:
                self._read(name)
            except (FileNotFoundError, UnreadableError, pa.ArrowException, ValueError) as error:
                words = words_of(error)
                _log.warning("a piece of the settled index is left out (its receipts are read instead): %s", words)
                broken.add(name)
                return False
        return True

    def _read(self, name: str) -> None:
        self._store.fetch(f"{self._folder}/{name}", self._copy(name))
        check_piece(name, self._copy(name))
        for batch in read_batches(self._copy(name), pa.schema(map(SCHEMA.field, _KNOWN))):
            self._add(batch)
            self._wanted.add(_images(batch, "path"), _images(batch, "bytes"))
        self._pieces.append(name)

    def _lay_out(self, name: str, batches: Iterable[pa.RecordBatch]) -> str:
        """Write a piece on this machine; returns its name."""
        laid = self._copy(name)
        with create(laid) as file:
            with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
        found = piece_name(name, laid)
        laid.rename(self._copy(found))
        return found

    def _copy(self, name: str) -> Path:
        if self._copies is None:  # not before there is something to copy: what a SIGKILL leaves lying is then rare
            self._copies = TemporaryFolder()
        return self._copies.path / name

    def _batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        schema = SCHEMA if columns is None else pa.schema(map(SCHEMA.field, columns))
        for name in list(self._pieces):
            yield from read_batches(self._copy(name), schema)

    def _add(self, batch: pa.RecordBatch) -> None:
        self._keys.extend(_bytes_of(batch["key"]))
        counts, costs = pc.list_value_length(batch["images"]), batch["cost_usd"].cast(pa.string()).fill_null("None")
        self._images.extend(counts.to_pylist())
        self._kinds += bytes(map(_KINDS.index, batch["kind"].to_pylist()))
        told = pc.binary_join_element_wise(batch["request_id"], costs, counts.cast(pa.string()), batch["kind"], "|")
        self._versions.extend(map(zlib.crc32, told.cast(pa.binary()).to_pylist()))


def _batch_of(rows: Sequence[Settled]) -> pa.RecordBatch:
    """Lines in columns. What a column cannot hold is null in it: receipts have it, and nothing derived stops a run."""
    told = [row._asdict() for row in rows]
    for line in told:
        line |= {name: rounded(line[name]) for name in ("cost_usd", "billable_units")}
    return batch_of(told, SCHEMA)


def _images(batch: pa.RecordBatch, field: str) -> list[Any]:
    """One field of all images of some lines, in their order."""
    found: list[Any] = batch["images"].flatten().field(field).to_pylist()
    return found


def _bytes_of(keys: pa.Array) -> bytes:
    """Keys in hex as bytes, one behind the other. Raises `ValueError` when one is no key."""
    found = bytes.fromhex("".join(keys.to_pylist()))
    if pc.any(pc.not_equal(pc.utf8_length(keys), 2 * KEY)).as_py():
        raise ValueError("a key that is no SHA-256")
    return found


def _knowledge(line: Settled, *, is_here: bool, number: int) -> tuple[int, Decimal, bool, int, int]:
    cost = Decimal(-1) if line.cost_usd is None else line.cost_usd
    return _KINDS.index(line.kind), cost, is_here, line.attempt, number
