"""When to ask for a request's status: when it is likely done, not ten times a second.

The policy. Let L be how long requests have taken lately, queue included. The first look comes at the 20th percentile
of L;
after that each look waits a fixed share (`STEP`) of the time already waited. Between two looks a request that ended
waits
half a step on average, so the mean lag is STEP / 2 of the latency (6 %), and from the 20th percentile to a latency of k
times that it takes log(k) / log(1 + STEP) looks: 3 for a spread of +-30 %. Before anything is known, looks begin at
`FIRST` seconds.
"""

from __future__ import annotations

from bisect import insort

FIRST = 0.4
STEP = 0.12
SHORTEST, LONGEST = 0.2, 20.0
KEPT = 256
ENOUGH = 5


class Latency:
    """What a run has learned about how long requests take, in seconds."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._recent: list[float] = []
        self._sorted: list[float] = []

    def ended(self, seconds: float) -> None:
        """A request has been seen to end after so many seconds. The last `KEPT` count."""
        self._recent.append(seconds)
        insort(self._sorted, seconds)
        if len(self._recent) > KEPT:
            self._sorted.remove(self._recent.pop(0))

    def quantile(self, share: float) -> float | None:
        """The duration that this share of requests stays below; None when too little is known."""
        if len(self._sorted) < ENOUGH:
            return None
        return self._sorted[int(share * (len(self._sorted) - 1))]

    def wait(self, waited: float) -> float:
        """Seconds until the next look at a request that is `waited` seconds old."""
        first = self.quantile(0.2)
        if first is None or waited >= first:
            return min(max(STEP * waited, SHORTEST if waited else FIRST), LONGEST)
        return max(first - waited, SHORTEST)
