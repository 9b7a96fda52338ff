"""The guard of stores in which two runs at once could buy a row twice: a run needs the option `alone` there.

Of some file systems it is known that an exclusive create is decided in one step, of some that it is not, and of the
others nothing. What was paid for twice all the same is counted from the receipts at the run's end, and told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.money import total
from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.exclusive_create import KNOWN_STORES

if TYPE_CHECKING:
    from decimal import Decimal

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.store.dataset import Dataset

BY_YOUR_WORD = (
    "two runs at once could buy a row twice in this store: see to it that no other run uses this dataset until this "
    "one has ended"
)


class Doubles(NamedTuple):
    """What two runs at once have sent for the same rows, by the receipts.

    Attributes:
        rows: (row id, request ids with images) of each request of which no run has told.
        open: number of requests whose second one has no end yet: another run is at work.
        costs: US dollars of what was billed beyond the first of each; None where that is not known.
    """

    rows: list[tuple[str, list[str]]]
    open: int
    costs: list[Decimal | None]

    def __str__(self) -> str:
        told = list[str]()
        if self.rows:
            cost = total(self.costs)
            price = "a cost that is not known" if cost is None else f"${cost}"
            told.append(f"paid for twice: {counted(len(self.rows), 'request')} of this dataset, for {price} more")
        if self.open:
            told.append(f"sent to fal twice, and not ended yet: {counted(self.open, 'request')}")
        return f"{'; '.join(told)}. Another run used this dataset at the same time, which this store cannot keep apart"


def check_alone(job: Job) -> bool:
    """Return whether the store is known to keep two runs apart. Blocks.

    Raises:
        UsageError: it is not, and the user has not said that no other run uses the dataset; nothing was sent.
    """
    store = job.dataset.store
    known, why = store.exclusivity()
    if known != "exclusive" and not job.options.alone:
        raise UsageError(not_exclusive(job.dataset, f"{why} ({type(store.fs).__name__})"))
    return known == "exclusive"


def not_exclusive(dataset: Dataset, why: str) -> str:
    """Return the message of a run that is refused, with what to do. `why`: what the store does."""
    return (
        f"the store {dataset.store.uri('')} {why}, so two runs at once could buy a row twice. Nothing was sent. Use "
        f"{KNOWN_STORES}; or see to it that only one run at a time uses this dataset, and say so: --alone, alone=True, "
        "or `alone: true` in the run config or the store"
    )
