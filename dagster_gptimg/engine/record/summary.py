"""The counts of rows, images and dollars, for the command line, the metadata and the exit status."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from dagster_gptimg.base.exit_status import STOPPED, ExitStatus, StopReason
from dagster_gptimg.base.money import rounded
from dagster_gptimg.base.plain_text import counted, dollars
from dagster_gptimg.base.row_status import COMPLETE, TOLD, RowStatus
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.store.settled.rows import Brief, Settled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from dagster_gptimg.engine.record.results import Result


_CENT = Decimal("0.01")
_TEN_CENTS = Decimal("0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run came to. `rows` is the sum of the row counts, `images` that of bought, reused and reattached.

    Attributes:
        rows: rows of the table (or its partition).
        images: images of these rows that are in the store now.
        bought: images that this run paid for.
        reused: images that were in the store before.
        reattached: images that an earlier (or another) run had paid for, and this one collected.
        stored: rows with the status `stored`.
        refused: rows with the status `refused`.
        failed: rows with the status `failed`.
        held: rows with the status `held`.
        lost: rows with the status `lost`.
        not_submitted: rows with the status `not_submitted`.
        in_flight: rows with the status `in_flight`.
        missing: rows whose images were stored, and whose files are gone.
        erased: rows erased by `forget`.
        refetched: of `reused`, images whose files were gone and that fal gave again, for nothing. In a plan: images
            that a run would ask fal for, at most; they are none of `reused` yet.
        cost_low: US dollars that this run's requests have cost at least, those in doubt included.
        cost_high: US dollars that they have cost at most. Infinite where a price is not known.
        cost_billed: US dollars that are known to be billed for what this run collected and bought.
        seconds: wall time.
        stop: why the run ended before its work did, if it did.
        message: the same, in a sentence.
    """

    rows: int = 0
    images: int = 0
    bought: int = 0
    reused: int = 0
    reattached: int = 0
    stored: int = 0
    refused: int = 0
    failed: int = 0
    held: int = 0
    lost: int = 0
    not_submitted: int = 0
    in_flight: int = 0
    missing: int = 0
    erased: int = 0
    refetched: int = 0
    cost_low: Decimal = Decimal(0)
    cost_high: Decimal = Decimal(0)
    cost_billed: Decimal = Decimal(0)
    seconds: float = 0.0
    stop: StopReason | None = None
    message: str = ""

    @property
    def cost(self) -> Price:
        """What this run's requests can have cost, as a price: its upper end may not be known."""
        return Price(self.cost_low, self.cost_high)

    @property
    def exit_status(self) -> int:
        """The command line's exit status: by `stop`, or else by whether every row has its images."""
        if self.stop is not None:
            return STOPPED[self.stop]
        complete: int = sum(getattr(self, status) for status in COMPLETE)
        return ExitStatus.COMPLETE if complete == self.rows else ExitStatus.INCOMPLETE

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints; dollars are numbers, or null if not known."""
        ends = [float(end) if self.cost.is_known else None for end in self.cost]
        cost = {"low": ends[0], "high": ends[1], "billed": float(self.cost_billed)}
        counts = ("rows", "images", "bought", "reused", "reattached", *(status.value for status in TOLD))
        found: dict[str, object] = {name: getattr(self, name) for name in counts}
        found |= {"refetched": self.refetched} if self.refetched else {}
        found |= {"cost_usd": cost, "seconds": round(self.seconds, 3)}
        return found | ({"stop": self.stop, "message": self.message} if self.stop else {})

    def sentence(self) -> str:
        """One line for people: `0 bought, 48 reused, $0.00`; counts that are zero are left out."""
        parts = [f"{self.bought} bought", f"{self.reused} reused"]
        if self.refetched:
            parts.append(f"{counted(self.refetched, 'image')} fetched again")
        if self.reattached:
            parts.append(f"{self.reattached} reattached")
        parts += [f"{count} {status.words}" for status in TOLD if (count := getattr(self, status))]
        return f"{', '.join(parts)}, {self.bill}"

    @property
    def is_billed(self) -> bool:
        """Whether it is known what this run cost: nothing of it is in doubt, in flight, or without a price."""
        return self.cost_high <= self.cost_billed

    @property
    def bill(self) -> str:
        """What this run cost, in words: `$0.04`, or `$0.00 billed, up to $0.04`; the upper end is rounded up."""
        billed = dollars(self.cost_billed)
        if self.is_billed:
            return billed
        if not self.cost.is_known:
            return f"{billed} known to be billed, the rest unknown"
        high = self.cost_high
        at_most = dollars(high if high < _TEN_CENTS else high.quantize(_CENT, ROUND_CEILING))
        return f"{billed} billed, up to {at_most}"


WORST_FIRST = sorted(RowStatus, key=lambda status: status.rank)


def worst(statuses: Collection[str]) -> RowStatus:
    """Return a row's status from those of its requests: `stored` if all are, else the worst."""
    return next(status for status in WORST_FIRST if status in statuses)


class Spent:
    """US dollars of the requests that one run has sent, and of earlier requests that it has collected.

    Attributes:
        low: minimum; unknown costs count as nothing.
        high: maximum; unknown costs count as the worst case.
        billed: known to be billed.
    """

    def __init__(self) -> None:
        self.low = self.high = self.billed = Decimal(0)

    def add(self, cost: Decimal | None, price: Price) -> None:
        """Add one outcome. `cost`: billed by fal, None if not known; `price`: the possible cost."""
        known = rounded(cost)
        self.billed += known or Decimal(0)
        self.low += known or Decimal(0)
        self.high += price.high if known is None else known

    def doubt(self, price: Price) -> None:
        """Add one submit with unknown result, which may have been billed."""
        self.high += price.high


class Tally:
    """Counts rows, images and dollars for one run.

    Attributes:
        open_requests: number of requests that a plan found not settled.
    """

    def __init__(self, run: str, spent: Spent | None = None) -> None:
        """`run`: the run's id, by which its own images are distinguished from existing ones. `spent`: its cost."""
        self._run, self._spent = run, spent or Spent()
        self._rows: Counter[RowStatus] = Counter()
        self._images: Counter[str] = Counter()
        self._low = self._high = Decimal(0)
        self.open_requests = 0

    def row(self, status: RowStatus) -> None:
        """Count one row with its status."""
        self._rows[status] += 1

    def ended(self, rows: Iterable[Sequence[Brief]]) -> None:
        """Count rows without anything to do: all their requests had ended before."""
        alike = Counter(tuple([(b.kind, b.images, b.is_missing) for b in row]) for row in rows)
        for row, count in alike.items():  # few different ones: by status and number of images
            briefs = [Brief(*counted, version=0) for counted in row]
            self._rows[worst({brief.status for brief in briefs})] += count
            self._images["reused"] += count * sum(brief.images for brief in briefs if brief.status is RowStatus.STORED)

    def new(self, prices: Sequence[Price], images: int) -> None:
        """Count one row that is to be bought completely, by its requests' prices."""
        self._rows[RowStatus.NOT_SUBMITTED] += 1
        self._images["bought"] += images
        self.open_requests += len(prices)
        for price in prices:
            self._low += price.low
            self._high += price.high

    def brief(self, brief: Brief) -> None:
        """Count one request of the index as an earlier one; `take_as_own` corrects this for some."""
        self._images["reused"] += brief.images if brief.status is RowStatus.STORED else 0

    def take_as_own(self, other: Tally) -> None:
        """Count the images of `other` as this run's, which `brief` has counted as earlier ones."""
        for name, count in other._images.items():
            self._images[name] += count
            self._images["reused"] -= count

    def request(self, result: Result, price: Price) -> None:
        """Count one request with its result; `price` is its possible cost."""
        if isinstance(result, Settled):
            self._settled(result)
        elif result.bought_by == self._run:  # fal has it, or may have it
            self._high += price.high

    def expect(
        self,
        result: Result,
        price: Price,
        images: int,
        *,
        buys: bool,
        may_buy: bool = False,
        is_missing: bool = False,
    ) -> None:
        """Count one request of a plan: one that is not settled is expected to end well.

        `may_buy`: it is followed first, and bought if it has failed. `is_missing`: it has images whose files are
        missing.
        """
        if is_missing:  # it is first fetched from fal
            self._images["refetched"] += images
        if isinstance(result, Settled):
            self.open_requests += result.kind == "missing"
            self.request(result, price)
            return
        self.open_requests += 1
        self._images["bought" if buys else "reattached"] += images * (buys or result.status is RowStatus.IN_FLIGHT)
        if buys:
            self._low += price.low
        if buys or may_buy:
            self._high += price.high

    def lines(self, statuses: Iterable[RowStatus], lines: Iterable[tuple[str, str, int]]) -> None:
        """Count rows with one settled request each.

        Args:
            statuses: of the rows.
            lines: for each request the runs that recorded its outcome and that sent it, and how many images it has.
        """
        self._rows.update(statuses)
        for (settled_by, bought_by, images), count in Counter(lines).items():
            self._images[self._whose(settled_by, bought_by)] += images * count

    def _settled(self, result: Settled) -> None:
        self._images[self._whose(result.settled_by, result.bought_by)] += len(result.images)

    def _whose(self, settled_by: str, bought_by: str) -> str:
        """Return what images count as."""
        return "reused" if settled_by != self._run else "bought" if bought_by == self._run else "reattached"

    def summary(self, seconds: float, stop: StopReason | None = None, message: str = "") -> Summary:
        """Return the counts."""
        counts: dict[str, int] = {**self._images, **{status.value: count for status, count in self._rows.items()}}
        return Summary(
            rows=self._rows.total(),
            images=self._images.total() - self._images["refetched"],
            **counts,
            cost_low=self._low + self._spent.low,
            cost_high=self._high + self._spent.high,
            cost_billed=self._spent.billed,
            seconds=seconds,
            stop=stop,
            message=message,
        )
