"""Thousands of short histories of several processes, one fal and one store, each drawn from a seed.

SEEDS=5000 pytest -m simulation             more of them (`make test-sim`)
SEED=1234 SEEDS=1 pytest -m simulation      one of them, again
"""

from __future__ import annotations

import hashlib
import os
import random
from decimal import Decimal
from math import inf

import pytest

from dagster_gptimg.engine.job import Options
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import read_manifest
from tests.simulation.world import PATIENCE, PRICE, Life, World, picture

pytestmark = pytest.mark.simulation
SEEDS = int(os.environ.get("SEEDS", "400"))
FIRST = int(os.environ.get("SEED", "0"))
CHUNKS = 4
FAULTS = (
    "not_sent", "rejected_429", "rejected_429_bare", "rejected_400", "locked", "submit_dropped", "submit_late",
    "submit_lost", "refused", "failed", "requeue", "stuck", "fewer", "expired", "history", "image_broken", "image_html",
    "image_empty", "image_flipped", "image_gone", "read", "cancel_loses", "cancel_lost", "store", "store_reply",
)  # fmt: skip


def history(seed: int) -> World:
    """Some lives with faults and deaths, then two quiet ones."""
    draw = random.Random(seed)
    rate = draw.choice([0.0, 0.05, 0.2])
    faults = {fault: rate * draw.random() for fault in FAULTS}
    for fault in ("store", "store_reply", "locked"):  # each ends a run: seldom, or no run would come far
        faults[fault] *= 0.1
    rows = [f"thing {n}" if draw.random() < 0.8 else "twins" for n in range(draw.randint(1, 6))]
    world = World(seed, faults, rows, each=draw.choice([1, 1, 2]))
    for _ in range(draw.randint(1, 4)):
        skew, jump = draw.choice([0.0, draw.uniform(-120, 120)]), draw.choice([None, None, draw.uniform(-120, 120)])
        killed = draw.choice([None, draw.randint(0, 150)])
        Life(world, killed, draw.choice([None, None, draw.uniform(0.1, 12.0)]), skew=skew, jump=jump).run()
        world.now += draw.choice([0.0, 5.0, 200.0])
    world.faults = {}
    for _ in range(2):
        world.now = world.when_all_has_ended() + 100.0
        end = Life(world, options=Options(settle=60.0, patience=PATIENCE)).run()
        assert end is not None
        assert end.summary.stop is None
    return world


def check(world: World) -> None:
    """What the bill says, and what the manifest says, and that they agree."""
    table = read_manifest(Dataset(world.store, "d"), None).to_pylist()
    billed = world.billed()
    stored = [row for row in table if row["status"] == "stored"]
    for prompt in set(world.rows):
        paid = sum(r.prompt == prompt for r in billed)
        assert paid <= world.rows.count(prompt), f"{prompt!r} is paid for {paid} times"
    assert {row["request_id"] for row in stored} == {r.id for r in billed}, "paid, and not collected (or the other way)"
    assert len(stored) == sum(r.images for r in billed), "one image serves two rows, or one is missing"
    assert len({row["row_id"] for row in stored}) == len(billed), "one request serves two rows"
    for row in stored:
        request, image = world.requests[row["request_id"]], picture(f"cdn/{row['request_id']}/{row['image_index']}")
        assert request.prompt == row["prompt"], "an image under the wrong row"
        assert row["images_wanted"] == world.each
        assert row["sha256"] == hashlib.sha256(image).hexdigest()
        assert world.store.fs.cat_file(row["uri"]) == image, "not what lies in the store"
    never = {r.id for r in world.requests.values() if r.ends_at == inf}
    assert {row["request_id"] for row in table if row["status"] == "in_flight"} <= never
    # Of a refusal whose words are gone, only the history knows: that it ended without images.
    ended = {r.id for r in world.requests.values() if r.end in {"cancelled", "refused"}}
    assert {row["request_id"] for row in table if row["status"] == "lost"} <= ended, "lost, and fal has it"
    assert {row["status"] for row in table} <= {"stored", "refused", "failed", "held", "in_flight", "lost"}
    assert sum(row["cost_usd"] or Decimal(0) for row in table) == PRICE * sum(r.billed for r in billed)
    assert {row["row_id"] for row in table} == {f"r{n}" for n in range(len(world.rows))}


# A killed process closes nothing; here it shares its memory with the test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_seed_pays_twice_loses_or_mixes_up(chunk: int) -> None:
    for seed in range(FIRST + chunk, FIRST + SEEDS, CHUNKS):
        try:
            world = history(seed)
            check(world)
            world.forget()
        except BaseException:
            print(f"\nreplay: SEED={seed} SEEDS=1 python -m pytest -m simulation")  # noqa: T201
            raise
