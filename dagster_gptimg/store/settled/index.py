"""The settled index: the finished requests, by request key, in one columnar read.

Derived from receipts, and not needed for any rule about money. Runs add immutable Parquet pieces; many pieces are
merged into one. A lost or damaged piece costs time, not money: `lost` names it, and the receipts are read instead.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.images.listing import WantedImages
from dagster_gptimg.store.layout import SETTLED
from dagster_gptimg.store.settled.lines import LINE_COLUMNS, KnownLines
from dagster_gptimg.store.settled.pieces import Pieces
from dagster_gptimg.store.settled.row_file import Lines
from dagster_gptimg.store.settled.rows import SCHEMA, TIME, Settled, columns_of, images_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store
    from dagster_gptimg.store.settled.rows import Brief

_log = logging.getLogger(__name__)

MERGE_ABOVE = 32
"""Pieces that may lie beside one another."""


class Piece(NamedTuple):
    """A piece of the index."""

    name: str
    lines: pa.RecordBatch


class _WholeLines:
    """Whole lines by their numbers; they are laid out when the first of them is asked for."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._rows: Lines | None = None

    def get(self, number: int) -> Settled:
        """One line, by its number from 0."""
        return Settled(**self._laid_out().get(number))

    def some(self, numbers: Sequence[int]) -> pa.Table:
        """Return lines in columns, in the order of their numbers."""
        return self._laid_out().some(numbers)

    def _laid_out(self) -> Lines:
        if self._rows is None:
            self._rows = Lines(self._pieces.read(), SCHEMA)
        return self._rows

    def add(self, lines: pa.RecordBatch) -> None:
        """Add lines, before their piece is among the others."""
        if self._rows is not None:
            self._rows.add(lines)


class SettledIndex:
    """The settled index of one dataset. All methods block, and must not run concurrently, except `save`.

    Attributes:
        has_missing: whether an image file of any line is missing, as far as the files were listed.
        lost: pieces that were written, but were missing or unreadable when the index was loaded: their content is in
            the
            receipts only.
    """

    def __init__(self, store: Store, folder: str) -> None:
        """`folder`: the dataset's, relative to the store."""
        self._pieces = Pieces(store, f"{folder}/{SETTLED}")
        self.has_missing = False
        self.lost: list[str] = []
        self._forget()

    def _forget(self) -> None:
        self._pieces.names = []
        self._whole = _WholeLines(self._pieces)
        self._known = KnownLines(self._whole.get)
        self._wanted = WantedImages()  # until somebody has looked for the files

    def load(self) -> None:
        """Read all pieces. An unreadable one is left out, with a warning. Raises `StoreError`."""
        broken: set[str] = set()
        while not self._load(broken):
            continue  # what came of a broken piece is among the rest: once more, without it

    def _load(self, broken: set[str]) -> bool:
        """Read all pieces except the broken ones; False if another one is broken, which is then added to them."""
        self._forget()
        pieces, marked = self._pieces.listed()
        self.lost = sorted(marked.difference(pieces) | broken.intersection(pieces))
        for name in pieces:
            if name in broken:
                continue
            try:
                for batch in self._pieces.fetched(name, LINE_COLUMNS):
                    self._known.add(batch)
                    self._wanted.add(images_of(batch, "path"), images_of(batch, "bytes"))
            except (FileNotFoundError, UnreadableError, pa.ArrowException, ValueError) as error:
                words = words_of(error)
                _log.warning("a piece of the settled index is left out (its receipts are read instead): %s", words)
                broken.add(name)
                return False
        return True

    def look_for_images(self, dataset: Dataset) -> None:
        """List the image files, and mark the lines with a missing one; once, after `load`. Raises `StoreError`."""
        missing, number = self._wanted.missing(dataset), 0
        self.has_missing = bool(missing)
        self._wanted = WantedImages()
        for batch in self._pieces.read(["images"]) if missing else ():
            paths = iter(images_of(batch, "path"))
            for count in pc.list_value_length(batch["images"]).to_pylist():
                if not missing.isdisjoint([*map(hash, islice(paths, count))]):
                    self._known.mark_missing(number)
                number += 1

    # -- what is settled

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Settled | None:
        """Return the best line of a key; None if there is none."""
        return self._known.get(key)

    def brief(self, key: str) -> Brief | None:
        """What is settled for a key, in brief: nothing is read, unless the key has several lines."""
        return self._known.brief(key)

    def places(self, keys: Iterable[bytes]) -> Iterator[int]:
        """Yield the places in the index of very many concatenated keys of 32 bytes each, for `briefs`.

        Take as many as there are keys: where the index is empty, it does not count them.
        """
        return self._known.places(keys)

    def briefs(self, places: Iterable[int]) -> list[Brief | None]:
        """The keys of some `places` in brief; None for one that is not in the index."""
        return self._known.briefs(places)

    def lines(self, places: Iterable[int]) -> pa.Table:
        """Return the best lines of the keys at some `places`, all of which are in the index, in columns of `SCHEMA`."""
        return self._whole.some(self._known.numbers(places))

    def completed(self, start: datetime, end: datetime) -> set[str]:
        """Return the ids of the requests that were completed between two moments."""
        found: set[str] = set()
        for batch in self._pieces.read(["request_id", "completed_at"]):
            when = batch["completed_at"]
            inside = pc.and_(pc.greater_equal(when, pa.scalar(start, TIME)), pc.less_equal(when, pa.scalar(end, TIME)))
            found.update(batch["request_id"].filter(inside).to_pylist())
        return found

    def request_ids(self) -> Iterator[str]:
        """Yield the ids of all requests in the index."""
        for batch in self._pieces.read(["request_id"]):
            yield from batch["request_id"].to_pylist()

    # -- what is added

    def write(self, piece: str, rows: Sequence[Settled]) -> None:
        """Add an immutable piece to the store and to this index. Raises `StoreError`."""
        if rows:
            made = self.make(piece, rows)
            self.save(made)
            self.know(made)

    def make(self, name: str, rows: Sequence[Settled]) -> Piece:
        """Write a piece to a local file.

        Always call this in the same thread: glibc keeps some 10 MB of Arrow's and zstd's memory for every thread that
        does it.
        """
        batch = columns_of(rows)
        return Piece(self._pieces.lay_out(name, [batch]), batch)

    def save(self, piece: Piece) -> None:
        """Add a piece to the store. Raises `StoreError`."""
        self._pieces.put(piece.name)

    def know(self, piece: Piece) -> None:
        """Add a saved piece to this index, without reading the store. Nothing else may read the index meanwhile."""
        self._whole.add(piece.lines)
        self._pieces.names.append(piece.name)
        self._known.add(piece.lines)

    # -- what is put in place of something else

    def drop_lost(self) -> None:
        """Forget lost pieces, once their content is in other pieces. Raises `StoreError`."""
        self._pieces.remove(self.lost)
        self.lost = []

    def replace(self, piece: str, rows: Sequence[Settled]) -> None:
        """Replace everything in the folder, readable or not, by these lines. Raises `StoreError`."""
        old = self._pieces.all_files()
        self._forget()
        self.write(piece, rows)
        self._pieces.remove_files(old)

    def merge(self, piece: str, above: int | None = None) -> None:
        """Merge more than `above` pieces (many, by default) into one, written before the others are removed.

        The result lacks the lines that another one of the same key supersedes. Raises `StoreError`.
        """
        old = list(self._pieces.names)
        if len(old) > (MERGE_ABOVE if above is None else above):
            self._pieces.put(self._pieces.lay_out(piece, self._alive()))
            self._pieces.remove(old)

    def _alive(self) -> Iterator[pa.RecordBatch]:
        """Yield all lines except those that another one of the same key supersedes."""
        dead, before = self._known.superseded(), 0
        for batch in self._pieces.read():
            yield batch.filter(pa.array([before + n not in dead for n in range(batch.num_rows)]))
            before += batch.num_rows
