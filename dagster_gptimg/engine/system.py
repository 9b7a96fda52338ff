"""The system's clock and threads for the engine, and a function to run the engine from ordinary code."""

from __future__ import annotations

import asyncio
import queue
import secrets
import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from dagster_gptimg.base.threads import DaemonThreads
from dagster_gptimg.engine.job import Runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

STORE_THREADS = 16
WIND_DOWN = 9.0
"""Seconds that an interrupt waits for the engine to end orderly; Kubernetes allows 30, Dagster's users expect 10."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never decreases."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep for a number of seconds."""
        await asyncio.sleep(seconds)


class Threads:
    """Runs blocking calls of the store in a few threads."""

    def __init__(self, threads: int = STORE_THREADS) -> None:
        """`threads`: maximum number of threads, which are started when needed."""
        self._threads = DaemonThreads(threads, "dagster-gptimg-store")

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the function's result, or raise its error."""
        return await asyncio.wrap_future(self._threads.submit(function, *args, **kwargs))


def system_runtime(reached: Callable[[str], None] | None = None) -> Runtime:
    """Return the runtime of a normal run; `reached` is the kill suite's hook."""
    clock, io = SystemClock(), Threads()
    if reached is None:
        return Runtime(clock, io, _token)
    return Runtime(clock, io, _token, reached)


def iterate(make: Callable[[asyncio.Event], AsyncIterator[T]], on_event: Callable[[T], None]) -> None:
    """Run an async iterator to its end from ordinary code, also inside a running event loop; events reach this thread.

    The loop has its own thread, so an interrupt (KeyboardInterrupt, Dagster's termination) affects only the waiting
    caller, never a submit in progress. Then the engine is told to end orderly within `WIND_DOWN` seconds, its last
    events are delivered, and the interrupt is raised again.
    """
    events: queue.Queue[T | None] = queue.Queue()
    interrupt: Future[Callable[[], object]] = Future()

    async def consume() -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        interrupt.set_result(lambda: loop.call_soon_threadsafe(event.set))
        try:
            async for item in make(event):
                events.put(item)
        finally:
            events.put(None)

    outcome, thread = _in_thread(consume())
    try:
        _drain(events, on_event, None)
    except BaseException:
        interrupt.result()()
        _drain(events, on_event, time.monotonic() + WIND_DOWN)
        raise
    thread.join()
    outcome.result()


def _in_thread(work: Coroutine[None, None, None]) -> tuple[Future[None], threading.Thread]:
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    thread = threading.Thread(target=run, name="dagster-gptimg", daemon=True)
    thread.start()
    return outcome, thread


def _drain(events: queue.Queue[T | None], on_event: Callable[[T], None], until: float | None) -> None:
    while True:
        try:
            item = events.get(timeout=None if until is None else max(until - time.monotonic(), 0.0))
        except queue.Empty:
            return
        if item is None:
            return
        on_event(item)


def _token() -> str:
    return secrets.token_hex(16)
