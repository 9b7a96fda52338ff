"""What datasets have cost in all: from all of their receipts, and from nothing that is derived.

An image table tells what its own images cost. Rows that were edited or removed, requests that were refused or bought
twice, images that were pruned or forgotten: their receipts stay, and with them what they cost.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from dagster_gptimg.base.digest_columns import DigestCounts, digest_of
from dagster_gptimg.engine.record.receipts_by_key import every_key
from dagster_gptimg.engine.record.state_table import searching
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry.builtin import all_models
from dagster_gptimg.store.money import exact_sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from dagster_gptimg.engine.record.state_table import Owns
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Attempt, Outcome

By: TypeAlias = Literal["dataset", "partition", "day", "month", "model"]
BYS: tuple[By, ...] = get_args(By)

_NOTHING = Decimal(0)


class Charge(NamedTuple):
    """What one request has cost, or may have.

    Attributes:
        request_id: None for a submit of which nobody knows whether it reached fal.
        partition: of the row that it was sent for.
        endpoint: fal's full id; empty where no receipt tells.
        completed_at: when its end was seen; None while it has none.
        images: how many it has brought.
        billed_usd: US dollars, exact; None where that is not known (yet).
        worst_usd: US dollars that it may have cost at most, where `billed_usd` is not known; None: not known either.
    """

    request_id: str | None
    partition: str | None
    endpoint: str
    completed_at: datetime | None
    images: int
    billed_usd: Decimal | None
    worst_usd: Decimal | None


@dataclass(slots=True)
class Amounts:
    """Sums over some requests. US dollars are exact.

    Attributes:
        requests: at fal, or perhaps there. images: that they have brought.
        billed_usd: what fal has billed.
        estimated_usd: the worst case of what is in flight, held, given up, or of unknown cost.
        unknown: requests of which nobody knows what they may have cost: they are in neither of the two.
    """

    requests: int = 0
    images: int = 0
    billed_usd: Decimal = _NOTHING
    estimated_usd: Decimal = _NOTHING
    unknown: int = 0

    def add(self, charge: Charge) -> None:
        """One more request."""
        self.requests += 1
        self.images += charge.images
        self.billed_usd = exact_sum((self.billed_usd, charge.billed_usd))
        if charge.billed_usd is None:
            self.estimated_usd = exact_sum((self.estimated_usd, charge.worst_usd))
            self.unknown += charge.worst_usd is None

    def as_json(self) -> dict[str, object]:
        """The same for JSON: dollars are texts, so that no digit is lost."""
        return {
            "requests": self.requests,
            "images": self.images,
            "billed_usd": dollars(self.billed_usd),
            "estimated_usd": dollars(self.estimated_usd),
            "unknown": self.unknown,
        }


class Group(NamedTuple):
    """By what amounts are put together.

    Attributes:
        dataset: its name; None where amounts of all datasets are put together.
        value: the partition's key (None: no partition), the day, the month (both UTC; None: not ended), the model.
    """

    dataset: str | None
    value: str | None


@dataclass(frozen=True)
class Costs:
    """What datasets have cost.

    Attributes:
        by: by what the groups are made.
        groups: amounts by group, in order.
        total: of all of them.
    """

    by: By
    groups: Mapping[Group, Amounts]
    total: Amounts = field(default_factory=Amounts)

    def as_json(self) -> dict[str, object]:
        """The same as one object for JSON."""
        groups = [self._named(group) | amounts.as_json() for group, amounts in self.groups.items()]
        return {"by": self.by, "groups": groups, "total": self.total.as_json()}

    def _named(self, group: Group) -> dict[str, object]:
        if self.by == "dataset":
            return {"dataset": group.dataset}
        return {"dataset": group.dataset, self.by: group.value} if self.by == "partition" else {self.by: group.value}


def costs_of(datasets: Iterable[Dataset], by: By = "dataset") -> Costs:
    """What these datasets of one store have cost in all. Blocks.

    A request counts once, in the first of them that has it: a dataset may have been copied.

    Raises:
        UsageError: there is nothing of the name `by`.
        StoreError: the store cannot be used.
    """
    if by not in BYS:
        raise UsageError(f"costs are told by {', '.join(BYS)}, and not by {by!r}")
    groups: defaultdict[Group, Amounts] = defaultdict(Amounts)
    total, seen = Amounts(), DigestCounts()
    names = {endpoint: model.name for model in all_models() for endpoint in model.endpoints}
    for dataset in datasets:
        for charge in charges_of(dataset):
            if charge.request_id is not None and seen.count(digest_of(charge.request_id)):
                continue
            groups[_group(by, dataset, charge, names)].add(charge)
            total.add(charge)
    ordered = sorted(groups.items(), key=lambda pair: (pair[0].dataset or "", pair[0].value is None, pair[0].value))
    return Costs(by, dict(ordered), total)


def _group(by: By, dataset: Dataset, charge: Charge, names: Mapping[str, str]) -> Group:
    at = charge.completed_at and charge.completed_at.astimezone(UTC)
    if by == "partition":
        return Group(dataset.name, charge.partition)
    if by == "model":
        return Group(None, names.get(charge.endpoint, charge.endpoint or None))
    if by == "dataset":
        return Group(dataset.name, None)
    return Group(None, None if at is None else f"{at:%Y-%m}" if by == "month" else f"{at:%Y-%m-%d}")


def charges_of(dataset: Dataset) -> Iterator[Charge]:
    """What each request of a dataset has cost, or may have. Raises `StoreError`."""
    for facts in every_key(dataset):
        yield from charges(facts.attempts, facts.owns)


def charges(attempts: Sequence[Attempt], owns: Owns) -> Iterator[Charge]:
    """What each request of a key has cost, or may have: also those of attempts that were overtaken or given up."""
    looked_for = set(searching(attempts, owns))
    for n, attempt in enumerate(attempts):
        found = [_of_request(attempt, r) for r in sorted(attempt.accepted) if owns(n, r)]
        yield from found
        is_in_doubt = n in looked_for or (attempt.unreadable and not attempt.accepted and attempt.void is None)
        if is_in_doubt and all(charge.billed_usd == 0 for charge in found):
            yield _charge(attempt, None, None)


def _of_request(attempt: Attempt, request_id: str) -> Charge:
    outcome = attempt.outcomes.get(request_id)
    return _charge(attempt, request_id, outcome if outcome is not None and outcome.is_end else None)


def _charge(attempt: Attempt, request_id: str | None, outcome: Outcome | None) -> Charge:
    intent = attempt.intent
    billed = None
    if outcome is not None:
        billed = _NOTHING if outcome.meaning == "free" else outcome.cost_usd
    return Charge(
        request_id,
        intent.partition if intent else None,
        intent.endpoint if intent else "",
        outcome.completed_at if outcome else None,
        len(outcome.images) if outcome else 0,
        billed,
        intent.cost_high_usd if intent else None,
    )


def dollars(amount: Decimal) -> str:
    """An amount of US dollars, exact, with two decimals at least."""
    whole, _, rest = f"{amount:f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}"
