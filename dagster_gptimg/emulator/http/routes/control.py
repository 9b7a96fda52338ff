"""Routes that only the emulator has: the bill, and the control for tests. For callers on this machine only."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.faults import Rule, split_name
from dagster_gptimg.emulator.http.bill import bill
from dagster_gptimg.emulator.http.callers import peer_is_local
from dagster_gptimg.emulator.http.replies import Handler, answer


class ControlRoutes:
    """The handlers of `/emulator/...`."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        """All control endpoints."""
        return [
            Route("/emulator/bill", _local(self.bill), methods=["GET"]),
            Route("/emulator/calls", _local(self.calls), methods=["GET"]),
            Route("/emulator/faults", _local(self.rules), methods=["GET"]),
            Route("/emulator/faults", _local(self.add_rule), methods=["POST"]),
            Route("/emulator/faults", _local(self.clear_rules), methods=["DELETE"]),
            Route("/emulator/settings", _local(self.settings), methods=["GET"]),
            Route("/emulator/settings", _local(self.change_settings), methods=["POST"]),
        ]

    async def bill(self, request: Request) -> Response:
        """The bill; `?rows=0` leaves the rows out."""
        return answer(bill(self._account, rows=request.query_params.get("rows") != "0"))

    async def calls(self, _: Request) -> Response:
        """Answer the number of calls that this process has answered as fal."""
        return answer({"calls": self._account.calls})

    async def rules(self, _: Request) -> Response:
        """The rules that are in force."""
        return answer({"rules": [dataclasses.asdict(rule) for rule in self._account.dice.rules]})

    async def add_rule(self, request: Request) -> Response:
        """Steer a fault: `{"match": "part of the prompt", "fault": NAME, "times": n or null}`."""
        try:
            self._account.dice.rules.append(_rule(await _object(request)))
        except ValueError as error:
            return answer({"error": str(error)}, 400)
        return await self.rules(request)

    async def clear_rules(self, request: Request) -> Response:
        """Forget all rules."""
        self._account.dice.rules.clear()
        return await self.rules(request)

    async def settings(self, _: Request) -> Response:
        """The settings in force."""
        return answer(dataclasses.asdict(self._account.settings))

    async def change_settings(self, request: Request) -> Response:
        """Change some settings, e.g. `{"latency": 0.1}`. A restart forgets it."""
        try:
            settings = self._account.change(await _object(request))
        except (ValueError, TypeError) as error:
            return answer({"error": str(error)}, 400)
        return answer(dataclasses.asdict(settings))


def _local(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        if not peer_is_local(request.scope):
            return answer({"error": "the emulator is steered from its own machine only"}, 403)
        return await handler(request)

    return guarded


async def _object(request: Request) -> dict[str, Any]:
    try:
        given = json.loads(await request.body())
    except RecursionError as error:
        raise ValueError("the JSON is nested too deep") from error
    if not isinstance(given, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004
    return given


def _rule(given: dict[str, Any]) -> Rule:
    fault, match, times = given.get("fault"), given.get("match", ""), given.get("times")
    unknown = sorted(set(given) - {"fault", "match", "times"})
    if unknown or not isinstance(fault, str) or not isinstance(match, str):
        raise ValueError('expected {"match": "part of the prompt", "fault": NAME, "times": n or null}')
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 0):
        raise ValueError("times: expected a whole number or null")
    split_name(fault)
    return Rule(match, fault, times)
