"""The status of a request as a stream of server-sent events (docs/fal-wire.md#status-stream)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.records import Record, State
from dagster_gptimg.emulator.account.timers import Timers
from dagster_gptimg.emulator.faults import Phase
from dagster_gptimg.emulator.http.api_keys import with_key
from dagster_gptimg.emulator.http.broken_replies import BrokenOff
from dagster_gptimg.emulator.http.replies import REQUEST_ID, base_url
from dagster_gptimg.emulator.http.status import Line, lines, missing, status_body, wants_logs
from dagster_gptimg.emulator.models.model import app_of

COMMENT = ": keep-alive\n\n"


class StreamRoutes:
    """The handler of status streams. A stream sleeps until its request changes; it polls nothing."""

    def __init__(self, account: Account, timers: Timers) -> None:
        self._account = account
        self._timers = timers

    def routes(self) -> list[Route]:
        """With `owner/app` and with the full id."""
        path = "/{app:path}/requests/{request_id}/status/stream"
        return [Route(path, with_key(self._account, self.stream), methods=["GET"])]

    async def stream(self, request: Request) -> Response:
        """Send an event immediately, one for each change, and end the stream after COMPLETED."""
        record = self._found(request)
        if record is None:
            return missing(self._account, request)
        fault = self._account.dice.strike(Phase.STREAM, record.draw_key, record.prompt)
        kind = BrokenOff if fault else StreamingResponse
        headers = {REQUEST_ID: record.request_id, "Cache-Control": "no-cache"}
        return kind(self._events(request, record), headers=headers, media_type="text/event-stream")

    def _found(self, request: Request) -> Record | None:
        expired = self._account.settings.expired == "completed"
        return self._account.find(
            app_of(request.path_params["app"]), request.path_params["request_id"], expired=expired
        )

    async def _events(self, request: Request, first: Record) -> AsyncGenerator[str]:
        teller = _Teller(self._account, base_url(request), with_logs=wants_logs(request))
        if not self._account.settings.stream_tells_at_once and first.state is not State.COMPLETED:
            teller.news(first)
        spoke = self._account.moment()
        with self._timers.listening() as changed:
            while True:
                # In this order: what changes after it was read sets the event again.
                changed.clear()
                record = self._found(request)
                if record is None:
                    return
                now, news = self._account.moment(), teller.news(record)
                silent_until = spoke + self._account.settings.keep_alive_seconds
                if news is not None or now >= silent_until:
                    yield news or COMMENT
                    spoke = now
                elif record.state is State.COMPLETED:
                    return
                else:
                    await _wait(changed, min([silent_until, *teller.next_line(record, now)]) - now)


class _Teller:
    """Finds what has changed about a request since the last event."""

    def __init__(self, account: Account, base: str, *, with_logs: bool) -> None:
        self._account, self._base, self._with_logs = account, base, with_logs
        self._told: dict[str, object] = {}
        self._lines: set[Line] = set()

    def news(self, record: Record) -> str | None:
        """One event with the status and the new lines of the log; None when nothing has changed."""
        body = status_body(self._account, record, self._base, None)
        now = self._account.moment()
        log = [line for line in lines(record) if line.at <= now and line not in self._lines] if self._with_logs else []
        if body == self._told and not log:
            return None
        self._told = body
        self._lines.update(log)
        shown = status_body(self._account, record, self._base, log if self._with_logs else None)
        return f"data: {json.dumps(shown, separators=(',', ':'))}\n\n"

    def next_line(self, record: Record, now: float) -> list[float]:
        """Return when the log grows next; empty if it does not, or logs are not requested."""
        return [line.at for line in lines(record) if line.at > now][:1] if self._with_logs else []


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
