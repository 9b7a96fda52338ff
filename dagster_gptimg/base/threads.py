"""Threads for blocking calls, which do not delay the end of the process.

`concurrent.futures.ThreadPoolExecutor` joins its threads at exit: one that hangs in a store (a network folder whose
server is down) would keep a terminated run alive for ever.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads:
    """A few daemon threads that execute calls in order."""

    def __init__(self, most: int, name: str) -> None:
        """`most`: maximum number of threads, which are started when needed; `name`: prefix of their names."""
        self._most, self._name = most, name
        self._threads = self._idle = 0
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Return a future of the call's result or error."""
        outcome: Future[T] = Future()

        def call() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for it, whatever it is
                outcome.set_exception(error)
            else:
                outcome.set_result(result)

        self._calls.put(call)
        with self._lock:
            if self._idle < self._calls.qsize() and self._threads < self._most:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return outcome

    def close(self) -> None:
        """Let the threads end after the queued calls; does not wait for them."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            call = self._calls.get()
            with self._lock:
                self._idle -= 1
            if call is None:
                return
            call()
            del call  # otherwise its objects would live until the next call
