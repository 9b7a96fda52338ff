"""The handles for tests are for callers on this machine only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.database import Database
from dagster_gptimg.emulator.http.app import App
from dagster_gptimg.emulator.settings import Settings
from tests.emulator.harness import ENDPOINT


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    ledger = Database(tmp_path / "emulator.sqlite3")
    yield App(Account(ledger, Settings()), tmp_path)
    ledger.close()


@pytest.mark.parametrize(("peer", "code"), [("127.0.0.1", 200), ("::1", 200), ("10.0.0.5", 403), ("192.168.1.7", 403)])
@pytest.mark.parametrize("path", ["/emulator/bill", "/emulator/faults", "/emulator/settings"])
def test_only_from_this_machine(path: str, peer: str, code: int, app: App) -> None:
    async def codes() -> tuple[int, int]:
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as caller:
            fal = await caller.post(f"/{ENDPOINT}", json={}, headers={"Authorization": "Key k"})
            return (await caller.get(path)).status_code, fal.status_code

    assert asyncio.run(codes()) == (code, 200)
