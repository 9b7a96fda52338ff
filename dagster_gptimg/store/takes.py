"""Takes: the facts that a request has another take, each created once and exclusively (docs/receipts.md#takes).

A take is a number in the request key; the first one, 0, is not in it. So each take of a request has a key of its own,
and receipts of its own. `tests/specification/takes.py` is the protocol of these facts.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.layout import TAKES, parse_take, prefix_of, prefixes, take_name, takes_folder
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.receipts.facts import Word

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.layout import TakeName


class Take(BaseModel):
    """The content of the fact that a request has another take.

    Attributes:
        key: the request key of this take.
        word: identity of the `again` or `regenerate` that opened it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    key: str
    word: Word
    recorded_at: datetime


class Takes:
    """The takes of one dataset. All methods block."""

    def __init__(self, dataset: Dataset) -> None:
        """`dataset`: nothing is read yet."""
        self._store, self._folder = dataset.store, dataset.folder

    def read(self) -> dict[str, list[Take | None]]:
        """Return all takes by the request key of the first one, in their order, without the first.

        None for one that exists and cannot be read.

        Raises:
            UnreadableError: a number is missing between others: takes were deleted.
            StoreError: the store cannot be used.
        """
        there = prefixes(self._store.names(f"{self._folder}/{TAKES}"))
        names = [name for _, some in side_by_side(self._store, self._names, there) for name in some]
        found: dict[str, dict[int, Take | None]] = {}
        for name, take in side_by_side(self._store, self._read, names):
            found.setdefault(name.key, {})[name.number] = take
        takes = {key: [some[number] for number in sorted(some)] for key, some in found.items()}
        for key, some in found.items():
            if sorted(some) != list(range(1, len(some) + 1)):
                raise UnreadableError(f"a take of request {key} is missing: restore {self._folder}/{TAKES} from a copy")
        return takes

    def create(self, key: str, number: int, take: Take) -> None:
        """Record that a request has another take; one that is there stays as it is.

        Raises:
            StoreError: it is not known whether it is on record: nothing of this take may be sent.
        """
        with suppress(FileExistsError):
            self._store.create(f"{self._folder}/{take_name(key, number)}", take.model_dump_json().encode())

    def _names(self, prefix: str) -> list[TakeName]:
        names = self._store.names(f"{self._folder}/{takes_folder(prefix_of(prefix))}")
        return [parsed for name in names if (parsed := parse_take(name)) is not None]

    def _read(self, name: TakeName) -> Take | None:
        try:
            return Take.model_validate_json(self._store.read(f"{self._folder}/{take_name(*name)}"))
        except (FileNotFoundError, UnreadableError, ValidationError):
            return None


def families(dataset: Dataset, *, is_whole: bool = True) -> dict[str, tuple[str, ...]]:
    """Return, by each request key that has takes or is one, the keys of all takes of its request, the first one first.

    Args:
        dataset: the dataset.
        is_whole: False to leave out the requests that have a take that cannot be read.

    Raises:
        UnreadableError: a take cannot be read, or is missing: then its key is not known.
        StoreError: the store cannot be used.
    """
    found: dict[str, tuple[str, ...]] = {}
    for first, takes in Takes(dataset).read().items():
        known = [take.key for take in takes if take is not None]
        if len(known) < len(takes) and not is_whole:
            continue
        if len(known) < len(takes):
            raise UnreadableError(f"a take of request {first} exists in {dataset.uri(TAKES)} and cannot be read")
        family = (first, *known)
        found |= dict.fromkeys(family, family)
    return found
