"""Reads that are repeated with backoff and jitter. What they are called with (headers, URLs) stands in no log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import stamina

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagster_gptimg.base.retry_policies import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")


class Repeated:
    """Repeats a read that fails.

    stamina has each repetition logged with the arguments of what is called: an `Authorization` header would stand
    there. So it is handed a function without any.
    """

    def __init__(self, policy: RetryPolicy, tries: int | None = None) -> None:
        """Repeat as a policy says; `tries`: another number of them."""
        self._caller = stamina.AsyncRetryingCaller(
            attempts=tries or policy.tries or None,
            timeout=policy.seconds,
            wait_initial=policy.first_pause,
            wait_max=policy.longest_pause,
            wait_exp_base=policy.growth,
            wait_jitter=policy.jitter,
        )

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
