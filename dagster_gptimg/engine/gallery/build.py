"""Writes a gallery: the page, what it shows, and thumbnails; beside its dataset, or as a folder of its own.

Beside its dataset (`<dataset>/gallery`) a gallery refers to the dataset's images and thumbnails. Elsewhere both are
copied, so that the folder can be moved, sent and published as a whole. `build_served` writes neither: a server has the
dataset's own beside the page (`cli/review_server/`).
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.digest_columns import DigestCounts, digest_of
from dagster_gptimg.base.version import __version__
from dagster_gptimg.engine.gallery import records as shown
from dagster_gptimg.engine.gallery import scripts
from dagster_gptimg.engine.gallery.facets import Facets
from dagster_gptimg.engine.gallery.thumbnails import Thumbnails
from dagster_gptimg.engine.maintain.all_takes import OtherTakes
from dagster_gptimg.engine.maintain.dataset_lookup import table_folders
from dagster_gptimg.errors import UnreadableError, UsageError
from dagster_gptimg.store.gallery_layout import PAGE_DATA, gallery_folder, is_page_data, page_data_name, thumbnail_name
from dagster_gptimg.store.layout import ABOUT, IMAGES, THUMBNAILS, image_in, parse_image, partition_in
from dagster_gptimg.store.manifest import scan_manifest_in
from dagster_gptimg.store.verdicts.verdict_columns import LastVerdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

PAGE = "index.html"
DESCRIPTION = "about.js"
VERSION = b"{{version}}"
"""Place in the page for a text that differs between builds, so that a browser's cache never mixes two."""

CONNECT = b"{{connect}}"
"""Place in the page's content security policy: a page that is served may call its server, others may call nobody."""

ENTRIES = 1_000
"""Maximum records of a file of entries."""

DETAILS = 100
"""Maximum records of a file of details: one is loaded when an image of it is opened."""

IN_COLLAGE = 40
"""Maximum images of a collage."""

LETTERS = 1_000_000
"""Characters in the prompts of a file of entries, or in a file of details, after which the next one begins."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """A gallery that was written.

    Attributes:
        uri: the address of its page.
        path: the page's path if it is on this machine; else None.
        records: number of records in it.
        images: number of records with an image, those of other takes included.
        thumbnails_made: number of thumbnails that were made for it.
        without_thumbnail: number of images without a thumbnail: their file is gone, changed, or cannot be decoded.
        are_originals_copied: whether the folder has copies of the images; else it refers to those of the dataset.
        sample: SHA-256 digests of some images with a thumbnail, spread over the whole table, for a collage.
    """

    uri: str
    path: str | None
    records: int
    images: int
    thumbnails_made: int
    without_thumbnail: int
    are_originals_copied: bool
    sample: tuple[str, ...] = ()


def build(
    dataset: Dataset,
    partition: str | None = None,
    to: Store | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Gallery:
    """Write the gallery of a dataset, or of one partition of it. Blocks.

    Args:
        dataset: must exist.
        partition: the key of the only partition that is shown; None: all.
        to: the folder of the gallery, with copies of images and thumbnails; None: beside the dataset, with references.
        on_progress: is called with the number of records that are done, and their total number.

    Raises:
        UsageError: there is no image table; or `to` is a dataset, or within one.
        UnreadableError: an image table cannot be read.
        StoreError: the store cannot be used.
    """
    return _build(_Place(dataset, partition, to), on_progress)


def build_served(
    dataset: Dataset,
    partition: str | None,
    to: Store,
    served: Served,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Gallery:
    """Write the page of a gallery that a server shows, and its records, into a folder; missing thumbnails are made.

    Files of an earlier build in the folder are kept: a page that is open may still ask for them. Blocks. Raises as
    `build` does.
    """
    return _build(_Place(dataset, partition, to, served), on_progress)


def _build(place: _Place, on_progress: Callable[[int, int], None]) -> Gallery:
    records = _Records(place.dataset, table_folders(place.dataset, place.partition))
    return _Writer(place, records, on_progress).write()


class Served(NamedTuple):
    """What a page knows about the server that shows it.

    Attributes:
        by: the reviewer's name; None: the page asks for it.
        tables: a text that changes with the image tables, as they were before the page was written.
    """

    by: str | None
    tables: str


class _Place:
    """Where a gallery is written, and how it names images and thumbnails."""

    def __init__(self, dataset: Dataset, partition: str | None, to: Store | None, served: Served | None = None) -> None:
        self.dataset, self.partition, self.served = dataset, partition, served
        self.is_copy = to is not None and served is None
        if to is None:
            self.store, inner = dataset.store, gallery_folder(partition)
            self.folder, self.up = f"{dataset.folder}/{inner}/", "../" * (inner.count("/") + 1)
        else:
            self.store, self.folder, self.up = to, "", ""
            if self.is_copy:
                self._check(to)
        self._copied, self._sizes = DigestCounts(), dict[str, dict[str, int | None]]()

    def _check(self, to: Store) -> None:
        """Check that the folder is not in a dataset, whose files would be mixed with copies."""
        own = f"{self.dataset.store.root}/{self.dataset.folder}"
        is_same = type(to.fs) is type(self.dataset.store.fs) and f"{to.root}/".startswith(f"{own}/")
        if is_same or ABOUT in to.names("", ABOUT):
            raise UsageError(f"{to.uri('')} is a dataset, or within one: name another folder for the gallery (--to)")

    def write(self, name: str, data: bytes) -> None:
        self.store.write(f"{self.folder}{name}", data)

    def names(self, folder: str) -> list[str]:
        return self.store.names(f"{self.folder}{folder}")

    def copy(self, path: str, size: int | None) -> None:
        """Copy a file of the dataset into the gallery, if it is not there."""
        if not self.is_copy or self._copied.count(digest_of(path)):
            return
        folder, _, name = path.rpartition("/")
        if folder not in self._sizes:
            self._sizes[folder] = self.store.sizes(folder)
        there = self._sizes[folder].get(name)
        if there is not None and there == (size or there):
            return
        try:
            self.store.write(path, self.dataset.store.read(f"{self.dataset.folder}/{path}"))
        except (FileNotFoundError, UnreadableError):  # the page says that the image cannot be loaded
            return

    def uri(self, name: str) -> str:
        return self.store.uri(f"{self.folder}{name}")

    def path(self, name: str) -> str | None:
        return self.store.path(f"{self.folder}{name}") if self.store.is_local else None


class _Record(NamedTuple):
    """A record of an image table, or of another take of one of its rows."""

    partition: str | None
    values: dict[str, Any]
    is_other: bool


class _Records:
    """The records of the image tables of a gallery, with the last verdicts; behind each table, images of other takes.

    The first pass counts what the second needs to know; no verdict is among that.
    """

    def __init__(self, dataset: Dataset, folders: list[str]) -> None:
        self.dataset, self._folders = dataset, folders
        self.facets, self._hashes, self.images = Facets(), DigestCounts(), 0
        self._takes, self._of_folder = OtherTakes(dataset), dict[str, pa.Table]()
        seen = DigestCounts()
        for partition, record, _ in self._scan(None):
            self.facets.add(record, partition)
            path = image_in(record["uri"]) if record["uri"] else None
            if path is not None and record["sha256"] and not seen.count(digest_of(path)):
                self._hashes.count(digest_of(record["sha256"]))
            self.images += path is not None

    @property
    def others(self) -> int:
        """The number of records of other takes."""
        return sum(table.num_rows for table in self._of_folder.values())

    def __iter__(self) -> Iterator[_Record]:
        return self._scan(LastVerdicts(self.dataset))

    def _scan(self, verdicts: LastVerdicts | None) -> Iterator[_Record]:
        for folder in self._folders:
            partition, several = partition_in(folder), list[dict[str, Any]]()
            for batch in scan_manifest_in(self.dataset, folder, verdicts):
                for record in batch:
                    yield _Record(partition, record, is_other=False)
                    if verdicts is None and self._takes.has_any(record["request_key"]):
                        several.append(record)
            if verdicts is None:
                found = self._takes.of(several)
                self._of_folder[folder] = found.filter(pc.is_valid(found["uri"]))
            for part in self._of_folder[folder].to_batches(ENTRIES):
                table = pa.Table.from_batches([part])
                for record in (table if verdicts is None else verdicts.laid_over(table)).to_pylist():
                    yield _Record(partition, record, is_other=True)

    def is_duplicate(self, record: Mapping[str, Any]) -> bool:
        """Return whether another stored file has the same bytes."""
        return bool(record["uri"] and record["sha256"]) and self._hashes.of(digest_of(record["sha256"])) > 1


class _Writer:
    """Writes the files of a gallery; the page itself last, so that it never names a file that is not there."""

    def __init__(self, place: _Place, records: _Records, on_progress: Callable[[int, int], None]) -> None:
        self._place, self._records, self._on_progress = place, records, on_progress
        self._inputs = records.facets.varying_inputs()
        self._entries = _Chunks(place, "entries", ENTRIES)
        self._details = _Chunks(place, "details", DETAILS)

    def write(self) -> Gallery:
        thumbnails = Thumbnails(self._place.dataset)
        sample, every = dict[str, None](), max(1, -(-self._records.images // IN_COLLAGE))
        total, given, images = self._records.facets.records, deque[_Record](), 0

        def rows() -> Iterator[dict[str, Any]]:
            for one in self._records:
                given.append(one)
                yield one.values

        for number, (record, thumbnail) in enumerate(thumbnails.of(rows())):
            flags = shown.flags_of(record) if record["uri"] else []
            if thumbnail is not None and thumbnail.flag and thumbnail.flag not in flags:
                flags.append(thumbnail.flag)
            if self._records.is_duplicate(record):
                flags.append("duplicate")
            partition, _, is_other = given.popleft()
            seen = shown.Seen(thumbnail is not None and thumbnail.exists, tuple(flags), is_other)
            self._copy(record, seen)
            if seen.has_thumbnail and not is_other:
                if images % every == 0:
                    sample[record["sha256"]] = None
                images += 1
            entry = shown.entry(record, partition, seen, self._inputs)
            self._entries.add([*entry, shown.identity(record)] if self._place.served else entry)
            self._details.add(shown.details(record))
            self._on_progress(number + 1, total)
        self._finish()
        return Gallery(
            uri=self._place.uri(PAGE),
            path=self._place.path(PAGE),
            records=total,
            images=self._records.images,
            thumbnails_made=thumbnails.made,
            without_thumbnail=thumbnails.failed,
            are_originals_copied=self._place.is_copy,
            sample=tuple(sample),
        )

    def _copy(self, record: Mapping[str, Any], seen: shown.Seen) -> None:
        path = image_in(record["uri"]) if record["uri"] else None
        if path is not None and parse_image(path):
            self._place.copy(path, record["bytes"])
            if seen.has_thumbnail:
                self._place.copy(thumbnail_name(record["sha256"]), None)

    def _finish(self) -> None:
        entries, details = self._entries.end(), self._details.end()
        about = self._about(entries, details)
        self._place.write(DESCRIPTION, about)
        version = f"{__version__}-{scripts.digest_of(about)[:12]}".encode()
        for name, data in page_files():
            if name != PAGE:
                self._place.write(name, data)
        connect = b"connect-src 'self'; " if self._place.served else b""
        self._place.write(PAGE, dict(page_files())[PAGE].replace(VERSION, version).replace(CONNECT, connect))
        if self._place.served:
            return
        for name in set(self._place.names(PAGE_DATA)) - {name.rpartition("/")[2] for name, _ in (*entries, *details)}:
            if is_page_data(name):  # of an earlier build
                self._place.store.delete(f"{self._place.folder}{PAGE_DATA}/{name}")

    def _about(self, entries: list[tuple[str, int]], details: list[tuple[str, int]]) -> bytes:
        dataset, up = self._place.dataset, self._place.up
        identity = hashlib.sha256(repr((dataset.origin(), dataset.uri(""), self._place.partition)).encode()).hexdigest()
        served = self._place.served
        pairs = [
            ["id", identity[:16]],
            ["dataset", dataset.name],
            ["partition", self._place.partition],
            ["images", f"{up}{IMAGES}/"],
            ["thumbnails", f"{up}{THUMBNAILS}/"],
            ["records", self._records.facets.records],
            ["others", self._records.others],
            ["fields", [*shown.FIELDS, shown.IDENTITY] if served else list(shown.FIELDS)],
            ["facets", self._records.facets.as_lists()],
            ["entries", [list(pair) for pair in entries]],
            ["details", [list(pair) for pair in details]],
            *([["served", True], ["by", served.by], ["tables", served.tables]] if served else []),
        ]
        return scripts.script("describe", pairs)


class _Chunks:
    """Files of records: each begins anew after a number of records, or of characters."""

    def __init__(self, place: _Place, kind: str, most: int) -> None:
        self._place, self._kind, self._most = place, kind, most
        self._lines, self._letters = list[list[Any]](), 0
        self._written = list[tuple[str, int]]()

    def add(self, line: list[Any]) -> None:
        self._lines.append(line)
        self._letters += sum(map(_letters, line))
        if len(self._lines) == self._most or self._letters > LETTERS:
            self._write()

    def end(self) -> list[tuple[str, int]]:
        """Return the name and the number of records of each file."""
        if self._lines:
            self._write()
        return self._written

    def _write(self) -> None:
        data = scripts.script("receive", self._kind, len(self._written), self._lines)
        name = page_data_name(scripts.digest_of(data))
        self._place.write(name, data)
        self._written.append((name, len(self._lines)))
        self._lines, self._letters = [], 0


def _letters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(map(_letters, value)) if isinstance(value, list) else 0


def page_files() -> list[tuple[str, bytes]]:
    """Return the names and contents of the page's own files, which are parts of this package."""
    folder = resources.files("dagster_gptimg.engine.gallery").joinpath("page")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith((".html", ".css", ".js")))
    return [(name, folder.joinpath(name).read_bytes()) for name in names]
