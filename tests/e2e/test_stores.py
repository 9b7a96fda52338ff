"""Each object store that is known to keep two runs apart, by real servers over HTTP: the bill judges.

Nothing is bought twice, and everything that was bought is in the image table: whoever runs at once, is killed, or has a
store that loses calls and replies.
"""

from __future__ import annotations

import uuid
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.store.root import Store
from tests import store_servers
from tests.faulty_s3 import CONFLICT, faulty_store
from tests.harness import Fal, begin, cli, kill, records, start, table, until
from tests.store_servers import StoreServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aiohttp import web

ROWS = 12
LOW = ("--set", "quality=low", "--set", "image_size=1024x1024", "--settle", "2")
QUICK = ["localbucket", "google"]
SLOW = [pytest.param(name, marks=pytest.mark.long) for name in ("moto", "azure")]
EVERY = [pytest.param(name, marks=pytest.mark.long) for name in ("moto", "localbucket", "google", "azure")]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, StoreServer]]:
    """The servers that were asked for, until all tests of this module are over."""
    with ExitStack() as stack:

        class Started(dict[str, StoreServer]):
            def __missing__(self, name: str) -> StoreServer:
                self[name] = stack.enter_context(getattr(store_servers, name)())
                return self[name]

        yield Started()


@pytest.fixture
def server(servers: dict[str, StoreServer], request: pytest.FixtureRequest) -> StoreServer:
    return servers[request.param]


class Place:
    """A folder of its own in a server's bucket, and the command that fills it."""

    def __init__(self, fal: Fal, server: StoreServer, tmp_path: Path, rows: int = ROWS) -> None:
        self.fal, self.server, self.env = fal, server, dict(server.env)
        self.uri = f"{server.root}/{uuid.uuid4().hex}"
        self.rows = rows
        self.command = ("generate", table(tmp_path / "t.jsonl", rows), "--store", self.uri, "--dataset", "d", "--json")

    def run(self, *more: str, env: dict[str, str] | None = None) -> Any:
        return cli(self.fal, *self.command, *LOW, *more, env=env or self.env)

    def judge(self) -> int:
        """Nothing was bought twice, and all that was bought is on record. Returns how many images there are."""
        prompts = Counter(row["prompt"] for row in self.fal.charged())
        assert not [prompt for prompt, count in prompts.items() if count > 1], "bought twice"
        stored = {row["prompt"] for row in records(self.uri, "d", self.env) if row["status"] == "stored"}
        assert stored == set(prompts)
        return len(stored)

    def finish(self) -> None:
        """Run to the end. What is between intent and POST at a kill is held until the user's word: nobody knows it."""
        ran = self.run()
        assert ran.status in {0, 3}, ran.stderr
        if ran.summary["held"]:
            ran = self.run("--again", "held")
        assert ran.status == 0, ran.stderr
        assert self.judge() == self.rows


@pytest.fixture
def place(fal: Fal, server: StoreServer, tmp_path: Path) -> Place:
    return Place(fal, server, tmp_path)


@pytest.mark.parametrize("server", [*QUICK, *SLOW], indirect=True)
def test_two_runs_at_once_buy_each_row_once_and_a_later_one_buys_nothing(place: Place) -> None:
    both = [begin(place.fal, *place.command, *LOW, env=place.env) for _ in range(2)]
    for process in both:
        process.join()
    again = place.run()
    assert (again.status, again.summary["bought"], again.summary["reused"]) == (0, 0, ROWS), again.stderr
    assert place.judge() == ROWS


@pytest.mark.parametrize("server", EVERY, indirect=True)
def test_a_run_that_is_killed_is_gone_on_with(place: Place) -> None:
    for seen in (3, 8):
        process = start(place.fal, *place.command, *LOW, "--max-in-flight", "3", env=place.env)
        until("some were bought", lambda seen=seen: len(place.fal.charged()) >= seen)
        kill(process)
    place.finish()


@pytest.mark.parametrize("server", EVERY, indirect=True)
def test_lost_replies_and_bursts_of_503_cost_time_only(place: Place) -> None:
    burst = iter(range(10**6))

    def rule(_: web.Request) -> Any:
        number = next(burst)
        return "503" if number % 60 > 55 else "reset_late" if number % 25 == 7 else None

    with faulty_store(place.server.url, place.env) as (proxy, env):
        proxy.rule = rule
        place.run(env=env)
        place.run(env=env)
    assert min(proxy.struck["503"], proxy.struck["reset_late"]) > 2, "hardly anything was tested"
    place.finish()


@pytest.mark.parametrize("server", EVERY, indirect=True)
def test_a_store_whose_listings_lag_is_refused_before_anything_is_sent(place: Place) -> None:
    with faulty_store(place.server.url, place.env) as (proxy, env):
        proxy.is_lagging = True
        ran = place.run(env=env)
    assert ran.status == 2
    assert "does not list an object that was just created" in ran.stderr
    assert not place.fal.charged()


@pytest.mark.long
@pytest.mark.parametrize(
    "kind", [("moto", {"is_versioned": True}), ("google", {"is_versioned": True}), ("azure", {"keeps_deleted": True})]
)
def test_a_bucket_that_keeps_what_is_deleted_is_one_like_others(
    fal: Fal, tmp_path: Path, kind: tuple[str, dict[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, options = kind
    with getattr(store_servers, name)(**options) as server:
        place = Place(fal, server, tmp_path, rows=4)
        assert place.run().summary["bought"] == 4
        assert place.run().summary["reused"] == 4
        assert place.judge() == 4
        for variable, text in server.env.items():
            monkeypatch.setenv(variable, text)
        store = Store(place.uri, {"skip_instance_cache": True})
        for body in (b"one", b"two"):
            store.create("again.json", body)
            assert store.read("again.json") == body
            store.delete("again.json")
            assert "again.json" not in store.names("")


def test_a_conflict_at_some_intents_is_tried_again(fal: Fal, s3: dict[str, str], tmp_path: Path) -> None:
    place = Place(fal, StoreServer("s3://bucket", s3["AWS_ENDPOINT_URL"], s3), tmp_path, rows=4)
    seen = set[str]()

    def rule(request: web.Request) -> Any:
        if request.method != "PUT" or "intent" not in request.path or request.path in seen:
            return None
        seen.add(request.path)
        return CONFLICT

    with faulty_store(place.server.url, place.env) as (proxy, env):
        proxy.rule = rule
        ran = place.run(env=env)
    assert (ran.status, ran.summary["bought"]) == (0, 4), ran.stderr
    assert proxy.struck[CONFLICT] == 4
    assert place.judge() == 4


@pytest.mark.long
def test_a_run_uses_what_fsspecs_environment_says(fal: Fal, s3: dict[str, str], tmp_path: Path) -> None:
    said = {"FSSPEC_S3_ENDPOINT_URL": s3["AWS_ENDPOINT_URL"], "FSSPEC_S3_KEY": "test", "FSSPEC_S3_SECRET": "test"}
    place = Place(fal, StoreServer("s3://bucket", s3["AWS_ENDPOINT_URL"], said), tmp_path, rows=1)
    ran = start(fal, *place.command, *LOW, env=said)  # not forked: fsspec reads it when it is imported
    ran.communicate()
    assert ran.returncode == 0
    place.env = s3
    assert place.judge() == 1
