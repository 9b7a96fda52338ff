"""Prune: image files that are no longer needed, by the receipts; deleted only on request.

Manifests are derived, and may be of another place, or of some rows only. So an image is superfluous if it has no
receipt. Images with receipts were paid for: they are deleted only if the user asks for the images of rows that are no
longer in the table, and the deletion is recorded before the file is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.digest_columns import DigestCounts, digest_of
from dagster_gptimg.base.money import exact_sum
from dagster_gptimg.engine.maintain.dataset_lookup import check_exists
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.layout import IMAGES, image_in, images_folder, parse_image, partition_folder, prefixes
from dagster_gptimg.store.manifest import manifest_folders, read_manifest_in
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.receipts.facts import Deleted
from dagster_gptimg.store.takes import families

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Attempt, Outcome
    from dagster_gptimg.store.receipts.receipts import Names

OPEN = "a run of this dataset is active or was not finished: let `generate` finish first. Nothing was deleted"


class Superfluous(NamedTuple):
    """The deletable image files of one request.

    Attributes:
        paths: relative to the dataset.
        bytes: total size.
        attempt: the attempt of its receipts; None if the files have no receipt.
        row_id: of the row that it was bought for; empty if no receipt has it.
        cost_usd: the cost of the request, if on record.
    """

    key: str
    request_id: str
    paths: tuple[str, ...]
    bytes: int
    attempt: int | None = None
    row_id: str = ""
    cost_usd: Decimal | None = None


@dataclass(frozen=True)
class Prunable:
    """The files that `prune` would delete.

    Attributes:
        requests: with their image files.
        has_left: whether paid images of rows that are no longer in the table are among them.
    """

    requests: Sequence[Superfluous]
    has_left: bool

    @property
    def paths(self) -> list[str]:
        """All files, relative to the dataset."""
        return [path for request in self.requests for path in request.paths]

    @property
    def rows(self) -> int:
        """The number of rows that they were bought for, as far as receipts have them."""
        return len({request.row_id for request in self.requests if request.row_id})

    @property
    def bytes(self) -> int:
        """The total size of the files."""
        return sum(request.bytes for request in self.requests)

    @property
    def cost_usd(self) -> Decimal:
        """The known cost of the requests, in US dollars."""
        return exact_sum(request.cost_usd for request in self.requests)

    @property
    def of_unknown_cost(self) -> int:
        """The number of requests whose cost is not known."""
        return sum(request.attempt is not None and request.cost_usd is None for request in self.requests)


def prunable(dataset: Dataset, *, left: bool) -> Prunable:
    """Return the deletable image files. Files with other names than ours are ignored. Blocks.

    Args:
        dataset: the dataset.
        left: include images in no image table: their rows are no longer in the table, or have other images.

    Raises:
        UsageError: a run is active or was not finished; or the dataset is incomplete, as in a partial copy, so that no
            file is known to be superfluous.
        StoreError: the store cannot be used.
    """
    check_exists(dataset)
    if dataset.open_runs():
        raise UsageError(OPEN)
    search = _Search(dataset, left=left)
    found = list(search.run())
    search.check()
    return Prunable(found, left)


def delete(dataset: Dataset, prunable: Prunable, now: datetime) -> None:
    """Delete these files; deletions of paid images are recorded first. Can be repeated. Blocks.

    Raises:
        UsageError: a run has begun meanwhile; nothing was deleted.
        StoreError: the store cannot be used; run it again.
    """
    if dataset.open_runs():
        raise UsageError(OPEN)
    for request in prunable.requests:
        if request.attempt is not None:
            fact = Deleted(request_id=request.request_id, reason="pruned", recorded_at=now)
            dataset.receipts.create_deleted(request.key, request.attempt, fact)
        for path in request.paths:
            if parse_image(path) is not None:
                dataset.store.delete(f"{dataset.folder}/{path}")


class _Folder(NamedTuple):
    """The content of the folders of one prefix.

    Attributes:
        images: sizes in bytes by path.
        receipts: names by key.
    """

    images: dict[str, int]
    receipts: dict[str, Names]


class _Search:
    """One scan of a dataset: its files, and whether they are consistent."""

    def __init__(self, dataset: Dataset, *, left: bool) -> None:
        self._dataset, self._left = dataset, left
        self._shown, self._folders, self._takes = _shown_images(dataset)
        self._images = self._named = self._found_shown = 0

    def run(self) -> Iterator[Superfluous]:
        """Yield the requests whose files can be deleted."""
        store, folder = self._dataset.store, self._dataset.folder
        for _, there in side_by_side(store, self._read, prefixes(store.folders(f"{folder}/{IMAGES}"))):
            for (key, request_id), paths in _by_request(there.images).items():
                names = there.receipts.get(key, [])
                is_named = any(parsed.request_id == request_id for _, parsed in names)
                shown = {path for path in paths if self._shown.of(digest_of(path))}
                self._images, self._found_shown = self._images + len(paths), self._found_shown + len(shown)
                self._named += len(paths) * is_named
                sizes = {path: there.images[path] for path in paths}
                found = self._judge(key, request_id, sizes, names if is_named else [], is_shown=bool(shown))
                if found is not None:
                    yield found

    def check(self) -> None:
        """Refuse to decide if the dataset is certainly incomplete. Raises `UsageError`."""
        if self._images and not self._named:
            msg = "none of this dataset's images has a receipt: the receipts are missing"
            raise UsageError(f"{msg}, so it is not known which images are superfluous. Nothing was deleted")
        if self._left and self._images and not self._found_shown:
            msg = "none of this dataset's images is in an image table: run `generate` on its table first"
            raise UsageError(f"{msg}. Nothing was deleted")

    def _read(self, prefix: str) -> _Folder:
        folder = images_folder(prefix)
        sizes = self._dataset.store.sizes(f"{self._dataset.folder}/{folder}")
        images = {path: size or 0 for name, size in sizes.items() if parse_image(path := f"{folder}/{name}")}
        receipts: dict[str, Names] = {}
        for name, parsed in self._dataset.receipts.names(prefix):
            receipts.setdefault(parsed.key, []).append((name, parsed))
        return _Folder(images, receipts)

    def _judge(
        self, key: str, request_id: str, sizes: dict[str, int], names: Names, *, is_shown: bool
    ) -> Superfluous | None:
        """Return the deletable files of a request; None if they are needed, or this is not known.

        Args:
            key: the request's key.
            request_id: the request.
            sizes: of its files.
            names: of the receipts of its key, if one of them names the request.
            is_shown: whether an image table names one of the files.
        """
        if not names:
            return None if is_shown else _files(key, request_id, sizes)
        attempts = self._dataset.receipts.read(names)
        n, outcome = _stored(attempts, request_id)
        if outcome is None or attempts[n].unreadable:
            return None
        recorded = {image.path for image in outcome.images}
        if is_shown or not self._left or key in self._takes:
            beside = {path: size for path, size in sizes.items() if path not in recorded}
            return _files(key, request_id, beside) if beside else None
        intent = attempts[n].intent
        self._check_partition(intent.partition if intent else None)
        row_id = intent.row_id if intent else ""
        return _files(key, request_id, sizes)._replace(attempt=n, row_id=row_id, cost_usd=outcome.cost_usd)

    def _check_partition(self, partition: str | None) -> None:
        if partition_folder(partition) not in self._folders:
            where = "the whole table" if partition is None else f"partition {partition!r}"
            msg = f"{where} has images, but no readable image table: run `generate` on it, or `rebuild`, first"
            raise UsageError(f"{msg}. Nothing was deleted")


def _shown_images(dataset: Dataset) -> tuple[DigestCounts, set[str], set[str]]:
    """Return the paths of all images in image tables, the folders of these tables, and the keys of all their takes."""
    shown, folders, takes = DigestCounts(), manifest_folders(dataset), families(dataset)
    kept = set[str]()
    for folder in folders:
        table = read_manifest_in(dataset, folder)
        for uri in table["uri"].drop_null().to_pylist():
            shown.count(digest_of(image_in(uri) or uri))
        for key in takes.keys() & set(table["request_key"].to_pylist()) if takes else ():
            kept.update(takes[key])
    return shown, set(folders), kept


def _files(key: str, request_id: str, sizes: dict[str, int]) -> Superfluous:
    return Superfluous(key, request_id, tuple(sizes), sum(sizes.values()))


def _by_request(paths: dict[str, int]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(paths):
        if (name := parse_image(path)) is not None:
            found.setdefault((name.key, name.request_id), []).append(path)
    return found


def _stored(attempts: Sequence[Attempt], request_id: str) -> tuple[int, Outcome | None]:
    for n, attempt in enumerate(attempts):
        outcome = attempt.outcomes.get(request_id)
        if outcome is not None and outcome.kind == "stored":
            return n, outcome
    return 0, None
