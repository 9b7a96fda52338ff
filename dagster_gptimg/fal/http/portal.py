"""The client for ordinary (not async) code.

One function, which also works inside a running event loop, as in a notebook.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from anyio.from_thread import start_blocking_portal

from dagster_gptimg.fal.http.client import FalClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from dagster_gptimg.fal.settings import FalSettings

P = ParamSpec("P")
T = TypeVar("T")


class Call(Protocol):
    """Calls one of the client's methods and waits for it: `call(FalClient.status, request)`."""

    def __call__(
        self, method: Callable[Concatenate[FalClient, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what the method returns, or raise what it raises."""


@contextmanager
def fal_portal(settings: FalSettings) -> Iterator[Call]:
    """A client in an event loop of its own, in a thread of its own.

        with fal_portal(FalSettings.from_env()) as call:
            request = call(FalClient.submit, "fal-ai/...", {"prompt": "a red cup"})

    Inside the block, `call(FalClient.NAME, ...)` runs a method of the client to its end. Ctrl-C interrupts the waiting
    only, never a submit halfway.

    Args:
        settings: key, hosts and time-outs.
    """
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(FalClient(settings)) as client:

        def call(method: Callable[Concatenate[FalClient, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
            return portal.call(partial(method, client, *args, **kwargs))

        yield call
