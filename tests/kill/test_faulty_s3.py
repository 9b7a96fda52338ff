"""An S3 that answers 500 and SlowDown, is slow, and loses calls and replies: the bill and the pictures judge.

SEED=7 pytest tests/kill/test_faulty_s3.py        the same faults again, as far as the calls come in the same order
"""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.faulty_s3 import FAULTS, faulty_s3
from tests.harness import Fal, cli, records

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kill
SEED = int(os.environ.get("SEED", str(random.randrange(10**6))))
ROWS = 60
OFTEN = 0.1
"""Share of calls that fail, at which some run ends early whatever the seed is."""

FEWEST_FAULTS = 5
"""Faults that strike at least in four runs, at the lowest share."""

NO_PATIENCE = {"AWS_MAX_ATTEMPTS": "1"}
"""botocore repeats nothing by itself: what fails reaches us."""


def call(tmp_path: Path, place: str) -> tuple[str, ...]:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"picture {n}"}) for n in range(ROWS)), encoding="utf-8")
    settings = ("--set", "quality=low", "--set", "image_size=1024x1024", "--settle", "2")
    return ("generate", str(path), "--store", place, "--dataset", "d", "--json", *settings)


def judge(fal: Fal, place: str, env: dict[str, str]) -> int:
    """Nothing was bought twice, and everything that was bought is stored. Returns the rows that are held."""
    charged = {row["prompt"]: row["request_id"] for row in fal.charged()}
    assert len(charged) == len(fal.charged()), "bought twice"
    table = records(place, "d", env)
    assert {row["prompt"]: row["request_id"] for row in table if row["status"] == "stored"} == charged
    assert {row["status"] for row in table} <= {"stored", "held"}
    return sum(row["status"] == "held" for row in table)


def test_a_store_that_often_fails_is_only_slow(fal: Fal, s3: dict[str, str], tmp_path: Path) -> None:
    place = f"s3://bucket/{tmp_path.name}-often"
    with faulty_s3(s3, SEED, rate=0.15) as (proxy, env):
        ran = cli(fal, *call(tmp_path, place), env=env)
    print(f"\nSEED={SEED}: {dict(proxy.struck)}")  # noqa: T201
    assert (ran.status, ran.summary["images"]) == (0, ROWS), ran.stderr
    assert len(proxy.struck) > len(FAULTS) // 2, "hardly anything was tested"
    assert judge(fal, place, s3) == 0


@pytest.mark.parametrize("rate", [0.02, OFTEN])
def test_a_store_that_fails_ends_the_run_and_the_next_one_goes_on(
    fal: Fal, s3: dict[str, str], tmp_path: Path, rate: float
) -> None:
    place = f"s3://bucket/{tmp_path.name}-{rate}"
    statuses = []
    with faulty_s3(s3, SEED, rate) as (proxy, env):
        for _ in range(4):
            ran = cli(fal, *call(tmp_path, place), env={**env, **NO_PATIENCE})
            statuses.append(ran.status)
            assert ran.status in {0, 2, 3, 5}, ran.stderr  # 2: it failed at the start, and nothing was sent
            assert ran.status != 2 or "cannot" in ran.stderr, ran.stderr
            assert ran.status != 5 or ran.summary["stop"] == "unusable"
    print(f"\nSEED={SEED}: {statuses}, {dict(proxy.struck)}")  # noqa: T201
    assert sum(proxy.struck.values()) >= FEWEST_FAULTS, "the store hardly failed, and nothing was tested"
    # Of few faults, all may be of the kinds that a second try heals: then no run ends early, and the bill is the judge.
    assert rate < OFTEN or {2, 5} & set(statuses), "no run ended early, and what follows one was not tested"
    ran = cli(fal, *call(tmp_path, place), env=s3)
    assert ran.status in {0, 3}, ran.stderr
    assert judge(fal, place, s3) == ran.summary["held"]
    assert cli(fal, *call(tmp_path, place), "--again", "held", env=s3).status == 0
    assert judge(fal, place, s3) == 0
    assert len(fal.charged()) == ROWS
