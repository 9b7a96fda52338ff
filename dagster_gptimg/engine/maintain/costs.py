"""The total cost of datasets, from all of their receipts and nothing derived.

An image table has the cost of its own images only. Receipts also have that of edited or removed rows, refused requests,
double purchases, and pruned or forgotten images.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from dagster_gptimg.base.digest_columns import DigestCounts, digest_of
from dagster_gptimg.base.money import exact_sum
from dagster_gptimg.engine.purchase_rules import searching
from dagster_gptimg.engine.record.receipts_by_key import every_key
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry.builtin import all_models

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from dagster_gptimg.engine.purchase_rules import Owns
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Attempt, Outcome

By: TypeAlias = Literal["dataset", "partition", "day", "month", "model"]
BYS: tuple[By, ...] = get_args(By)

_NOTHING = Decimal(0)


class Charge(NamedTuple):
    """The cost of one request, or its bounds.

    Attributes:
        request_id: None for a submit that may or may not have reached fal.
        partition: of the row that it was sent for.
        endpoint: fal's full id; empty if no receipt has it.
        completed_at: when its end was noticed; None before that.
        images: number of its images.
        billed_usd: exact US dollars; None if not known (yet).
        worst_usd: maximum US dollars if `billed_usd` is not known; None: not known either.
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
    """Sums over several requests. US dollars are exact.

    Attributes:
        requests: number of requests at fal, or perhaps there.
        images: number of their images.
        billed_usd: billed by fal.
        estimated_usd: worst case of requests in flight, held, given up, or of unknown cost.
        unknown: number of requests without a known bound, which are in neither sum.
    """

    requests: int = 0
    images: int = 0
    billed_usd: Decimal = _NOTHING
    estimated_usd: Decimal = _NOTHING
    unknown: int = 0

    def add(self, charge: Charge) -> None:
        """Add one request."""
        self.requests += 1
        self.images += charge.images
        self.billed_usd = exact_sum((self.billed_usd, charge.billed_usd))
        if charge.billed_usd is None:
            self.estimated_usd = exact_sum((self.estimated_usd, charge.worst_usd))
            self.unknown += charge.worst_usd is None

    def as_json(self) -> dict[str, object]:
        """Return the amounts for JSON; dollars are texts, so that no digit is lost."""
        return {
            "requests": self.requests,
            "images": self.images,
            "billed_usd": dollars(self.billed_usd),
            "estimated_usd": dollars(self.estimated_usd),
            "unknown": self.unknown,
        }


class Group(NamedTuple):
    """The key of a group of amounts.

    Attributes:
        dataset: its name; None if a group covers all datasets.
        value: the partition's key (None: no partition), the day, the month (both UTC; None: not ended), the model.
    """

    dataset: str | None
    value: str | None


@dataclass(frozen=True)
class Costs:
    """The cost of datasets.

    Attributes:
        by: the grouping.
        groups: amounts by group, in order.
        total: sum of all groups.
    """

    by: By
    groups: Mapping[Group, Amounts]
    total: Amounts = field(default_factory=Amounts)

    def as_json(self) -> dict[str, object]:
        """Return the costs as one object for JSON."""
        groups = [self._named(group) | amounts.as_json() for group, amounts in self.groups.items()]
        return {"by": self.by, "groups": groups, "total": self.total.as_json()}

    def _named(self, group: Group) -> dict[str, object]:
        if self.by == "dataset":
            return {"dataset": group.dataset}
        return {"dataset": group.dataset, self.by: group.value} if self.by == "partition" else {self.by: group.value}


def costs_of(datasets: Iterable[Dataset], by: By = "dataset") -> Costs:
    """Return the total cost of these datasets of one store. Blocks.

    A request counts once, in the first dataset that has it: a dataset may have been copied.

    Raises:
        UsageError: `by` is not a grouping.
        StoreError: the store cannot be used.
    """
    if by not in BYS:
        raise UsageError(f"costs can be grouped by {', '.join(BYS)}, not by {by!r}")
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
    """Yield the cost of each request of a dataset. Raises `StoreError`."""
    for facts in every_key(dataset):
        yield from charges(facts.attempts, facts.owns)


def charges(attempts: Sequence[Attempt], owns: Owns) -> Iterator[Charge]:
    """Yield the cost of each request of a key, attempts that were superseded or given up included."""
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
    """Format exact US dollars, with at least two decimals."""
    whole, _, rest = f"{amount:f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}"
