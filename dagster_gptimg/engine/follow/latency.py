"""How long requests take, learned as they end, and at which ages to ask whether one has.

Each look costs a call; between a request's end and the next look its end is not known. Where looks at the
ages x1 < x2 < ... cost `LOOK` each and every second of lag costs 1, the cheapest ages are the optimum inspection policy
of Barlow, Hunter and Proschan (1963), here for the latencies that were seen, by dynamic programming over them.

The arithmetic, for latencies spread evenly over a share r of their mean (r = 0.6 for +-30 %), all in units of the mean:
cutting the spread into k equal looks takes (k + 1) / 2 looks a request and lags r / 2k; a lag of 5 % takes k = 10 r,
that is 3.5 looks for r = 0.6, and with submit, result and download 6.5 calls an image. The optimum does a little
better: its steps shrink by `LOOK` from one to the next, since an early look is mostly in vain. k looks then span
r = LOOK k (k + 1) / 2, so k = sqrt(2 r / LOOK), about 8.8 for r = 0.6 and LOOK = 1 / 65; they take k / 3 + 2 / 3 = 3.6
looks a request and lag LOOK k / 3 = 4.5 %. For r = 0.1 the same LOOK takes 1.9 looks and lags 1.9 %, for r = 2 it
takes 6 and lags 8 %. benchmarks/ measures both, and plots one against the other.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK = 1 / 65
"""Cost of a status read as a share of the mean latency: this much delay is worth one call."""

KEPT = 256
"""Number of latest latencies that count. fal's load changes over a day, and a run may last days."""

REFRESH = 32
"""Number of ends after which the ages are computed again."""

POINTS = 64
"""Maximum number of latencies from which the ages are computed: quantiles of those seen."""

GUESSED = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
"""Assumed spread of +-30 % around the seen latencies until `ENOUGH` requests have ended."""
ENOUGH = 16

FIRST = 0.5
"""Age of a request in seconds at its first status read, while no latency is known."""
GROWTH = 1.2
"""Factor by which the ages (or steps) of further status reads grow."""
BEYOND = 0.1
"""First step beyond the longest latency seen, as a share of the mean latency."""
LONGEST = 60.0

OVERDUE = 2.0
"""Multiple of the longest latency (plus `SPARE`) without a notification, after which the status is read."""
SPARE = 5.0
"""Seconds that are added to `OVERDUE` times the longest latency."""
UNTOLD = 60.0
"""Seconds without a notification after which the status is read while no latency is known."""


class Latency:
    """The latency of one kind of request, in seconds from its start at fal."""

    def __init__(self, look: float = LOOK) -> None:
        """`look`: seconds that one status read takes."""
        self._look = look
        self._seen: deque[float] = deque(maxlen=KEPT)
        self._points: list[float] = []
        self._next: list[float] = []
        self._stale = 0

    @property
    def is_known(self) -> bool:
        """Whether a request of this kind has ended."""
        return bool(self._seen)

    @property
    def mean(self) -> float:
        """The mean of the latest latencies; 0 while none is known."""
        return statistics.fmean(self._seen) if self._seen else 0.0

    def ended(self, seconds: float) -> None:
        """Note that a request has ended after `seconds`."""
        self._seen.append(max(seconds, 0.0))
        self._stale += 1
        if self._stale >= REFRESH or len(self._seen) <= ENOUGH:
            self._stale, self._points = 0, self._quantiles()
            self._next = next_ages(self._points, self._look * self.mean)

    def next_look(self, age: float) -> float:
        """Return the age of the next status read of a request that has run for `age` seconds."""
        place = bisect_right(self._points, age + 1e-6)
        if place < len(self._points):
            return self._next[place]
        beyond = self._points[-1] if self._points else 0.0
        # No latency of this age is known: steps grow with the time since the longest known one.
        return age + min(max((age - beyond) * (GROWTH - 1), self.mean * BEYOND, 0.0 if beyond else FIRST), LONGEST)

    def overdue(self, age: float) -> float:
        """Return the age at which to read the status of a request whose end should have been notified by then."""
        due = max(self._seen) * OVERDUE + SPARE if self._seen else UNTOLD
        return due if age < due else age + min(age / 2, LONGEST)

    def _quantiles(self) -> list[float]:
        """Return the seen latencies, as at most `POINTS` values."""
        if len(self._seen) < ENOUGH:
            return sorted(seconds * share for seconds in self._seen for share in GUESSED)[-POINTS:]
        if len(self._seen) <= POINTS:
            return sorted(self._seen)
        return [min(self._seen), *statistics.quantiles(self._seen, n=POINTS - 1, method="inclusive"), max(self._seen)]


def next_ages(latencies: Sequence[float], look: float) -> list[float]:
    """Return the age of the next status read of a request that has outlived all latencies before each one.

    The ages minimize the total cost of reads and delay.

    Args:
        latencies: seconds, sorted; all are equally likely.
        look: cost of a status read, in seconds of delay.
    """
    count, sums = len(latencies), [0.0, *accumulate(latencies)]
    cost, found = [0.0] * (count + 1), [0.0] * count
    for first in reversed(range(count)):
        # Requests `first` and later still run; the next look comes at the age at which `last` ends.
        asked, best = (count - first) * look, float("inf")
        for last in range(first, count):
            lag = (last - first + 1) * latencies[last] - (sums[last + 1] - sums[first])
            total = asked + lag + cost[last + 1]
            if total < best:
                best, found[first] = total, latencies[last]
        cost[first] = best
    return found
