"""Reads that are repeated with backoff and jitter. What they are called with (headers, URLs) stands in no log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import stamina

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
T = TypeVar("T")


class Repeated:
    """Repeats a read that fails.

    stamina has each repetition logged with the arguments of what is called: an `Authorization` header would stand
    there. So it is handed a function without any.
    """

    def __init__(self, attempts: int, timeout: float) -> None:
        """Try `attempts` times, and for `timeout` seconds, at most."""
        self._caller = stamina.AsyncRetryingCaller(attempts=attempts, timeout=timeout, wait_initial=0.2, wait_max=5.0)

    async def __call__(
        self,
        on: type[Exception] | Callable[[Exception], bool],
        function: Callable[P, Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What the function returns; again while it raises what `on` names, or says yes to."""

        async def read() -> Any:  # noqa: ANN401 - whatever the function returns
            return await function(*args, **kwargs)

        read.__qualname__ = function.__qualname__  # what the log calls it
        found: T = await self._caller(on, read)
        return found
