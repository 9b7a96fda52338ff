"""What even a perfect client needs: the greedy schedule of the latencies that were drawn, and Little's law."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def greedy(latencies: Sequence[float], slots: int) -> float:
    """Seconds until the last one ends, when each starts in turn as soon as a slot is free, and nothing else costs time.

    Above Little's bound at the end: slots run empty while the last ones end.
    """
    free = [0.0] * min(slots, len(latencies))
    heapq.heapify(free)
    for latency in latencies:
        heapq.heappush(free, heapq.heappop(free) + latency)
    return max(free, default=0.0)


def little(latencies: Sequence[float], slots: int) -> float:
    """N times the mean latency over slots: no schedule is shorter."""
    return sum(latencies) / slots
