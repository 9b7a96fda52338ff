"""All facts of a dataset, key by key: for commands that decide by receipts alone, and may be slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.digest_columns import DigestCounts, digest_of
from dagster_gptimg.engine.purchase_rules import Found, accepted_at, owners
from dagster_gptimg.store.parallel import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagster_gptimg.engine.purchase_rules import Owns
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Attempt
    from dagster_gptimg.store.receipts.receipts import Names


class Facts(NamedTuple):
    """The facts of one key.

    Attributes:
        owns: returns whether an attempt owns a request id that occurs under several keys or attempts.
    """

    key: str
    attempts: list[Attempt]
    owns: Owns


def every_key(dataset: Dataset) -> Iterator[Facts]:
    """Yield the facts of each key, in the order of the keys. Blocks. Raises `StoreError`."""
    owner, receipts = _owners_of_shared(dataset), dataset.receipts

    def read(found: tuple[str, Names]) -> list[Attempt]:
        return receipts.read(found[1])

    for (key, _), attempts in side_by_side(dataset.store, read, receipts.by_key()):
        yield Facts(key, attempts, _owns(owner, key))


def _owns(owner: Mapping[str, tuple[str, int]], key: str) -> Owns:
    return lambda attempt, request_id: owner.get(request_id, (key, attempt)) == (key, attempt)


def _owners_of_shared(dataset: Dataset) -> dict[str, tuple[str, int]]:
    """Return the owners of ids that are recorded under two keys, or two attempts of one: each id is one request."""
    seen, twice = DigestCounts(), set[str]()
    for _, names in dataset.receipts.by_key():
        mine = {(name.attempt, name.request_id) for _, name in names if name.request_id}
        twice.update(request_id for _, request_id in sorted(mine) if seen.count(digest_of(request_id)))
    if not twice:
        return {}
    return owners(_found(dataset, twice))


def _found(dataset: Dataset, request_ids: set[str]) -> Iterator[Found]:
    """Yield the facts in which some request ids occur."""
    for _, names in dataset.receipts.by_key():
        shared = [name for _, name in names if name.request_id in request_ids]
        attempts = dataset.receipts.read(names) if shared else []
        for n in shared:
            at = accepted_at(attempts[n.attempt], n.request_id)
            yield Found(n.key, n.attempt, n.request_id, n.how or "history", at)
