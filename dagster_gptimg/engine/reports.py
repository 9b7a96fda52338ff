"""What a run tells while it goes: its events in their order, and each warning about the whole run once."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import TYPE_CHECKING

from dagster_gptimg.base.plain_text import plain_lines, words_of
from dagster_gptimg.engine.events import Event, Noticed, Warned
from dagster_gptimg.errors import GptImgError

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)


class Reports:
    """The events of one run that nobody has taken yet.

    Attributes:
        queue: these, in their order.
    """

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self._warned: set[str] = set()

    def tell(self, event: Event) -> None:
        """Add an event."""
        self.queue.put_nowait(event)

    def warn_once(self, message: str) -> None:
        """Emit a warning about the whole run, once."""
        if message not in self._warned:
            self._warned.add(message)
            self.tell(Warned(message))

    def warn_of_double(self, row_id: str, paid: Sequence[str]) -> None:
        """Report a second purchase, which is collected and counted."""
        if len(paid) > 1:
            words = f"requests {', '.join(paid)} were all billed for it; the image table has their sum"
            self.tell(Noticed(row_id, paid[-1], "paid_twice", words))


def words_for(error: BaseException) -> str:
    """Return a row's message about an error; an unexpected one is logged with its traceback."""
    if isinstance(error, GptImgError):
        return str(error)
    trace = plain_lines("".join(traceback.format_exception(error)))
    _log.error("a request failed with an unexpected error\n%s", trace)
    return f"{type(error).__name__}: {words_of(error)}"
