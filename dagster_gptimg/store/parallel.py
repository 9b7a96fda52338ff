"""Concurrent calls to a store, a few ahead of the consumer, so that results do not accumulate."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

from dagster_gptimg.base.threads import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from dagster_gptimg.store.root import Store

A = TypeVar("A")
T = TypeVar("T")

AHEAD = 16


def side_by_side(store: Store, function: Callable[[A], T], arguments: Iterable[A]) -> Iterator[tuple[A, T]]:
    """Yield each argument with its result, in order. Errors of a call are raised here."""
    if store.is_near:  # nothing to wait for, and each thread would keep memory of its own
        for argument in arguments:
            yield argument, function(argument)
        return
    pending: deque[tuple[A, Future[T]]] = deque()
    threads = DaemonThreads(AHEAD, "dagster-gptimg-listing")
    try:
        for argument in arguments:
            pending.append((argument, threads.submit(function, argument)))
            if len(pending) >= AHEAD:
                first, future = pending.popleft()
                yield first, future.result()
        for argument, future in pending:
            yield argument, future.result()
    finally:
        for _, future in pending:
            future.cancel()
        threads.close()
