"""Verify: compares the store with the receipts, image by image; missing images are fetched from fal at no cost.

Sizes are from the listing. Hashes need every file to be read, so they are optional. Nothing is ever deleted,
overwritten, bought or recorded.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from dagster_gptimg.engine.collect.missing_images import stored_requests
from dagster_gptimg.engine.collect.refetch import Refetch
from dagster_gptimg.engine.plan.plan import Request
from dagster_gptimg.engine.record.receipts_by_key import every_key
from dagster_gptimg.engine.submit.submit import as_submitted
from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.layout import IMAGES, images_folder, parse_image, prefixes, take_name, verdict_name
from dagster_gptimg.store.receipts.recorded_files import not_as_recorded
from dagster_gptimg.store.takes import Takes
from dagster_gptimg.store.verdicts.verdicts import ImageId, Verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.engine.job import Fal, Runtime
    from dagster_gptimg.engine.record.receipts_by_key import Facts
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Outcome, StoredImage

What: TypeAlias = Literal["missing", "changed", "pruned"]
WHATS: tuple[What, ...] = get_args(What)


class Wrong(NamedTuple):
    """A stored request whose images differ from the record.

    Attributes:
        row_id: of the row that it was bought for; empty if no receipt has it.
        path: of the first image that differs, relative to the dataset.
        what: `missing`: no file, or a part of it; `changed`: another size or hash; `pruned`: deleted by `prune`.
        why: why it could not be fetched from fal; empty if fal was not asked.
    """

    row_id: str
    request_id: str
    path: str
    what: What
    why: str = ""


@dataclass
class Verified:
    """The result of a verification.

    Attributes:
        requests: number with recorded images, without erased ones.
        images: number of their images.
        bytes: of all images that agree with the record.
        fetched: number of requests whose images were fetched from fal again.
        wrong: requests whose images differ from the record.
        unnamed: number of image files without a receipt (`prune` deletes them).
        unreadable: receipts and verdicts that cannot be read.
        verdicts: number of verdicts on images.
    """

    requests: int = 0
    images: int = 0
    bytes: int = 0
    fetched: int = 0
    wrong: list[Wrong] = field(default_factory=list)
    unnamed: int = 0
    unreadable: list[str] = field(default_factory=list)
    verdicts: int = 0

    def count(self, what: What) -> int:
        """Return the number of requests that are wrong in one way."""
        return sum(found.what == what for found in self.wrong)

    @property
    def is_well(self) -> bool:
        """Whether everything that was paid for is there, apart from pruned images."""
        return not self.unreadable and all(found.what == "pruned" for found in self.wrong)


async def verify(dataset: Dataset, fal: Fal | None, runtime: Runtime, *, hashes: bool = False) -> Verified:
    """Compare the store with the receipts.

    Args:
        dataset: the dataset.
        fal: client to fetch missing images; None: nothing is fetched.
        runtime: the environment.
        hashes: read every file, and compare its hash.

    Raises:
        StoreError: the store cannot be used.
    """
    look = _Look(dataset, hashes=hashes)
    await runtime.io(look.run)
    refetch = Refetch(dataset, fal, runtime) if fal is not None else None
    for facts, n, outcome, wrong in look.gone:
        found = wrong
        if refetch is not None and fal is not None and wrong.what == "missing" and (request := _request(facts, n)):
            why = await refetch.fetch(as_submitted(fal, request, facts.attempts[n], outcome.request_id), outcome)
            if not why:
                look.verified.fetched += 1
                look.verified.bytes += sum(image.bytes for image in outcome.images)
                continue
            found = wrong._replace(why=why)
        look.verified.wrong.append(found)
    return look.verified


def _request(facts: Facts, n: int) -> Request | None:
    intent = facts.attempts[n].intent
    return Request(facts.key, intent.row_id, intent.endpoint, intent.arguments) if intent is not None else None


class _Look:
    """One scan of a dataset. Blocks.

    Attributes:
        gone: stored requests that differ from the record: (facts, attempt, outcome, difference).
    """

    def __init__(self, dataset: Dataset, *, hashes: bool) -> None:
        self._dataset, self._hashes = dataset, hashes
        self._store, self._folder = dataset.store, dataset.folder
        self.verified = Verified()
        self.gone: list[tuple[Facts, int, Outcome, Wrong]] = []

    def run(self) -> None:
        """Read all receipts and verdicts, and list all files. Raises `StoreError`."""
        named = Counter[str]()
        for facts in every_key(self._dataset):
            for attempt in facts.attempts:
                self.verified.unreadable += attempt.unreadable
                for request_id in {*attempt.accepted, *attempt.outcomes}:
                    named[f"{facts.key}-{request_id}"] += 1
            self._look_at(facts)
        self.verified.unnamed = sum(stem not in named for stem in self._stems())
        self._read_verdicts()
        self._read_takes()

    def _read_takes(self) -> None:
        for key, takes in Takes(self._dataset).read().items():
            for number, take in enumerate(takes, 1):
                if take is None:
                    uri = self._store.uri(f"{self._folder}/{take_name(key, number)}")
                    self.verified.unreadable.append(f"{uri} is a take that cannot be read: its row gets no other")

    def _read_verdicts(self) -> None:
        verdicts = Verdicts(self._dataset)
        every = ((ImageId(*name[:3]), name.number) for name in verdicts.every_name())
        for (image, number), found in verdicts.read_all(every):
            self.verified.verdicts += 1
            if found is None:
                path = f"{self._folder}/{verdict_name(*image, number)}"
                self.verified.unreadable.append(
                    f"{self._store.uri(path)} is a verdict that cannot be read: it counts as none"
                )

    def _stems(self) -> Iterator[str]:
        for folder in map(images_folder, prefixes(self._store.folders(f"{self._folder}/{IMAGES}"))):
            for name in self._store.sizes(f"{self._folder}/{folder}"):
                if (told := parse_image(f"{folder}/{name}")) is not None:
                    yield f"{told.key}-{told.request_id}"

    def _look_at(self, facts: Facts) -> None:
        stored = stored_requests(facts.attempts, facts.owns)
        wrongs = [(n, outcome, self._wrong(facts, n, outcome)) for n, _, outcome in stored]
        is_here = any(wrong is None for *_, wrong in wrongs)
        for n, outcome, wrong in wrongs:
            self.verified.requests += 1
            self.verified.images += len(outcome.images)
            if wrong is None:
                self.verified.bytes += sum(image.bytes for image in outcome.images)
            elif not (is_here and outcome.request_id in facts.attempts[n].deleted):  # given up, and bought again
                self.gone.append((facts, n, outcome, wrong))

    def _wrong(self, facts: Facts, n: int, outcome: Outcome) -> Wrong | None:
        intent, deleted = facts.attempts[n].intent, facts.attempts[n].deleted.get(outcome.request_id)
        absent = not_as_recorded(self._store, self._folder, outcome.images)
        image = absent[0] if absent else next(filter(self._is_changed, outcome.images), None) if self._hashes else None
        if image is None:
            return None
        what: What = "missing" if absent and not self._is_changed(image) else "changed"
        if deleted is not None and deleted.reason == "pruned":
            what = "pruned"
        return Wrong(intent.row_id if intent else "", outcome.request_id, image.path, what)

    def _is_changed(self, image: StoredImage) -> bool:
        """Return whether there is a file with other bytes.

        A part of the right ones counts as missing, and is fetched.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with self._store.open(f"{self._folder}/{image.path}") as file:
                while some := file.read(2**20):
                    digest.update(some)
                    size += len(some)
        except FileNotFoundError:
            return False
        except UnreadableError:
            return True
        return size >= image.bytes and digest.hexdigest() != image.sha256
