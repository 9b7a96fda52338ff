"""Calls that are tried again after an error: reads and uploads, which cost nothing. Never a submit.

How often, and with which pauses, is in `base/retry_policies.py`. Arguments of the calls (headers, URLs) are not logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import stamina

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagster_gptimg.base.retry_policies import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")


class Repeated:
    """Calls a function again when it fails.

    stamina logs each retry with the arguments of the function: the `Authorization` header would be among them. So
    stamina gets a function without arguments.
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
        """Return what the function returns; call it again while it raises an error that `on` names or accepts."""

        async def call() -> Any:  # noqa: ANN401 - whatever the function returns
            return await function(*args, **kwargs)

        call.__qualname__ = function.__qualname__  # what the log calls it
        found: T = await self._caller(on, call)
        return found
