"""Prune: which image files nothing needs any more, judged by receipts; deleted at the user's word only.

Manifests are derived, and may tell of another place, or of some rows only. So an image is superfluous when no receipt
names it. What receipts name was paid for: it is deleted only when somebody asks for the images of rows that have left
the table, and its deletion is put on record before the file goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.digest_columns import DigestCounts, digest_of
from dagster_gptimg.engine.maintain.dataset_lookup import check_exists
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.layout import image_in, parse_image, partition_folder
from dagster_gptimg.store.manifest import manifest_folders, read_manifest_in
from dagster_gptimg.store.money import exact_sum
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.receipts.facts import Deleted
from dagster_gptimg.store.receipts.receipts import PREFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Attempt, Outcome
    from dagster_gptimg.store.receipts.receipts import Names

OPEN = "a run of this dataset goes on or has left something open: run `generate` to its end first. Nothing was deleted"


class Superfluous(NamedTuple):
    """The image files of one request that may go.

    Attributes:
        paths: relative to the dataset.
        bytes: of all of them.
        attempt: of which its receipts are; None when no receipt names the files.
        row_id: of the row that it was bought for; empty where no receipt tells.
        cost_usd: what the request cost, where that is on record.
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
    """What `prune` would delete.

    Attributes:
        requests: with their image files.
        has_left: whether images of rows that have left the table are among them: these were paid for.
    """

    requests: Sequence[Superfluous]
    has_left: bool

    @property
    def paths(self) -> list[str]:
        """All files, relative to the dataset."""
        return [path for request in self.requests for path in request.paths]

    @property
    def rows(self) -> int:
        """How many rows they were bought for, as far as receipts tell."""
        return len({request.row_id for request in self.requests if request.row_id})

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(request.bytes for request in self.requests)

    @property
    def cost_usd(self) -> Decimal:
        """What they have cost, as far as that is known."""
        return exact_sum(request.cost_usd for request in self.requests)

    @property
    def of_unknown_cost(self) -> int:
        """Requests of which nobody knows what they have cost."""
        return sum(request.attempt is not None and request.cost_usd is None for request in self.requests)


def prunable(dataset: Dataset, *, left: bool) -> Prunable:
    """The image files that may go. Only names with the shape of ours are looked at. Blocks.

    Args:
        dataset: whose.
        left: also those that no image table names any more: their rows have left the table, or asked for others.

    Raises:
        UsageError: a run goes on or has left something open; or what is here does not fit together, as in a part of a
            copy, so that nothing can be told to be superfluous.
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
    """Delete these files; what was paid for is first put on record as deleted. May be repeated. Blocks.

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
    """What is in the folders of one prefix.

    Attributes:
        images: sizes in bytes by path.
        receipts: names by key.
    """

    images: dict[str, int]
    receipts: dict[str, Names]


class _Search:
    """One look through a dataset: what is there, and whether it fits together."""

    def __init__(self, dataset: Dataset, *, left: bool) -> None:
        self._dataset, self._left = dataset, left
        self._shown, self._folders = _shown_images(dataset)
        self._images = self._named = self._found_shown = 0

    def run(self) -> Iterator[Superfluous]:
        """The requests whose files may go."""
        store, folder = self._dataset.store, self._dataset.folder
        prefixes = [name for name in store.folders(f"{folder}/images") if name in PREFIXES]
        for _, there in side_by_side(store, self._read, prefixes):
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
        """Refuse to judge by what is certainly not all that belongs together. Raises `UsageError`."""
        if self._images and not self._named:
            msg = "no receipt of this dataset names any of its images: the receipts are not here"
            raise UsageError(f"{msg}. Nothing can be told to be superfluous, and nothing was deleted")
        if self._left and self._images and not self._found_shown:
            msg = "no image table of this dataset names any of its images: run `generate` on its table first"
            raise UsageError(f"{msg}. Nothing was deleted")

    def _read(self, prefix: str) -> _Folder:
        store, folder = self._dataset.store, self._dataset.folder
        sizes = store.sizes(f"{folder}/images/{prefix}")
        images = {path: size or 0 for name, size in sizes.items() if parse_image(path := f"images/{prefix}/{name}")}
        receipts: dict[str, Names] = {}
        for name, parsed in self._dataset.receipts.names(prefix):
            receipts.setdefault(parsed.key, []).append((name, parsed))
        return _Folder(images, receipts)

    def _judge(
        self, key: str, request_id: str, sizes: dict[str, int], names: Names, *, is_shown: bool
    ) -> Superfluous | None:
        """The files of a request that may go; None when they are needed, or nobody knows.

        `sizes`: of its files. `names`: of the receipts of its key, when one of them names the request. `is_shown`:
        whether an image table names one of the files.
        """
        if not names:
            return None if is_shown else _files(key, request_id, sizes)
        attempts = self._dataset.receipts.read(names)
        n, outcome = _stored(attempts, request_id)
        if outcome is None or attempts[n].unreadable:
            return None
        recorded = {image.path for image in outcome.images}
        if is_shown or not self._left:
            beside = {path: size for path, size in sizes.items() if path not in recorded}
            return _files(key, request_id, beside) if beside else None
        intent = attempts[n].intent
        self._check_partition(intent.partition if intent else None)
        row_id = intent.row_id if intent else ""
        return _files(key, request_id, sizes)._replace(attempt=n, row_id=row_id, cost_usd=outcome.cost_usd)

    def _check_partition(self, partition: str | None) -> None:
        if partition_folder(partition) not in self._folders:
            where = "the whole table" if partition is None else f"partition {partition!r}"
            msg = (
                f"{where} has images, and no image table that could be read: run `generate` on it, or `rebuild`, first"
            )
            raise UsageError(f"{msg}. Nothing was deleted")


def _shown_images(dataset: Dataset) -> tuple[DigestCounts, set[str]]:
    """The paths of all images that image tables name, and the folders of these tables."""
    shown, folders = DigestCounts(), manifest_folders(dataset)
    for folder in folders:
        for uri in read_manifest_in(dataset, folder)["uri"].drop_null().to_pylist():
            shown.count(digest_of(image_in(uri) or uri))
    return shown, set(folders)


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
