"""Real processes, SIGKILL and SIGSTOP at random moments; the emulator's bill and pictures are the judges.

KILLS=200 pytest -m kill            more moments (`make test-kill`)
SEED=7 KILLS=1 pytest -m kill       the same moments again
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from PIL import Image

from tests.harness import RUN_DEADLINE, Fal, begin, cli, emulator, records
from tests.support import POINTS

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

pytestmark = pytest.mark.kill
KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("SEED", str(random.randrange(10**6))))
ROWS = 60
A_ROUND = 5


def table(path: Path) -> str:
    lines = (json.dumps({"prompt": f"picture number {n}"}) for n in range(ROWS))
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def call(rows: str, store: Path | str) -> tuple[str, ...]:
    more = ("--set", "quality=low", "--set", "image_size=1024x1024", "--settle", "2", "--max-in-flight", "25")
    return ("generate", rows, "--store", str(store), "--dataset", "d", "--json", *more)


def judge(fal: Fal, store: Path | str, last: dict[str, Any], env: dict[str, str] | None = None) -> int:
    """The bill against the store: nothing twice, nothing lost, nothing under a wrong row. Returns the rows in doubt."""
    charged = fal.charged()
    prompts = [row["prompt"] for row in charged]
    assert len(prompts) == len(set(prompts)), "paid twice"
    table_ = records(store, "d", env)
    stored = {row["prompt"]: row for row in table_ if row["status"] == "stored"}
    assert {p: r["request_id"] for p, r in stored.items()} == {row["prompt"]: row["request_id"] for row in charged}
    for row in stored.values():
        options = {} if env is None else {"endpoint_url": env["AWS_ENDPOINT_URL"], "key": "test", "secret": "test"}
        with fsspec.open(row["uri"], "rb", **options) as file:
            data = file.read()
        assert hashlib.sha256(data).hexdigest() == row["sha256"], "half written"
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    assert len({row["sha256"] for row in stored.values()}) == len(stored), "one picture under two rows"
    held = sum(row["status"] == "held" for row in table_)
    assert (len(stored) + held, last["held"]) == (ROWS, held)
    return int(held)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    print(f"\nSEED={SEED} KILLS={KILLS}")  # noqa: T201
    draw, in_doubt = random.Random(SEED), 0
    rounds = max(KILLS // A_ROUND, 1)
    for number in range(rounds):
        home = tmp_path / str(number)
        home.mkdir()
        with emulator(home / "fal", "--latency", "0.4", "--slots", "10") as fal:
            run = call(table(home / "t.jsonl"), home / "store")
            for _ in range(min(KILLS, A_ROUND)):
                process = begin(fal, *run)
                time.sleep(draw.uniform(0.05, 2.0))  # the moment itself is what is drawn
                process.kill()
                process.join()
            last = cli(fal, *run)
            assert last.status in {0, 3}, last.stderr
            in_doubt += judge(fal, home / "store", last.summary)
            if last.status == 3:  # the user's word settles what nobody can know
                assert cli(fal, *run, "--again", "held").status == 0
                assert len(fal.charged()) == ROWS
    print(f"{rounds * min(KILLS, A_ROUND)} kills left {in_doubt} rows in doubt")  # noqa: T201


def test_killed_at_random_moments_on_s3(tmp_path: Path, s3: dict[str, str]) -> None:
    print(f"\nSEED={SEED} KILLS={KILLS}")  # noqa: T201
    draw = random.Random(SEED)
    for number in range(max(KILLS // A_ROUND, 1)):
        home = tmp_path / str(number)
        home.mkdir()
        place = f"s3://bucket/kill-{SEED}-{number}-{tmp_path.name}"
        with emulator(home / "fal", "--latency", "0.4", "--slots", "10") as fal:
            run = call(table(home / "t.jsonl"), place)
            for _ in range(min(KILLS, A_ROUND)):
                process = begin(fal, *run, env=s3)
                time.sleep(draw.uniform(0.2, 3.0))
                process.kill()
                process.join()
            last = cli(fal, *run, env=s3)
            assert last.status in {0, 3}, last.stderr
            judge(fal, place, last.summary, s3)
            assert cli(fal, *run, "--again", "held", env=s3).status == 0
            assert len(fal.charged()) == ROWS


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_point_on_s3(tmp_path: Path, s3: dict[str, str], point: str) -> None:
    place = f"s3://bucket/point-{tmp_path.name}"
    with emulator(tmp_path / "fal", "--latency", "0.2", "--slots", "10") as fal:
        run = call(table(tmp_path / "t.jsonl"), place)
        assert cli(fal, *run, env={**s3, "DAGSTER_GPTIMG_KILL_AT": f"{point}:9"}).status == -signal.SIGKILL
        last = cli(fal, *run, env=s3)
        held = judge(fal, place, last.summary, s3)
        assert held <= 8
        assert cli(fal, *run, "--again", "held", env=s3).status == 0
        assert len(fal.charged()) == ROWS


@pytest.mark.parametrize("point", ["after take", *POINTS])
def test_another_take_is_bought_once_when_two_runs_have_the_word_and_one_is_killed_at_each_point(
    tmp_path: Path, point: str
) -> None:
    with emulator(tmp_path / "fal", "--latency", "0.2", "--slots", "10") as fal:
        run = call(table(tmp_path / "t.jsonl"), tmp_path / "store")
        assert cli(fal, *run).status == 0
        rows = [row["row_id"] for row in records(tmp_path / "store", "d")][:20]
        where = ("--store", str(tmp_path / "store"), "--dataset", "d")
        assert cli(None, "review", "reject", *rows, *where).status == 0
        env = {"DAGSTER_GPTIMG_KILL_AT": f"{point}:9"}
        killed, other = begin(fal, *run, "--again", "rejected", env=env), begin(fal, *run, "--again", "rejected")
        for process in (killed, other):
            process.join(RUN_DEADLINE)
        assert killed.exitcode in {-signal.SIGKILL, 0}, "the other one may have been faster"
        assert other.exitcode in {0, 3}
        for again in ("rejected", "held", "rejected"):
            last = cli(fal, *run, "--again", again)
        assert (last.status, last.summary["bought"]) == (0, 0), last.stderr
        assert len(fal.charged()) == ROWS + len(rows)
        shown = {row["row_id"]: row["take"] for row in records(tmp_path / "store", "d")}
        assert {row for row, take in shown.items() if take} == set(rows)
        assert set(shown.values()) == {0, 1}


def test_two_runs_frozen_and_thawed_at_random_buy_each_row_once(tmp_path: Path) -> None:
    print(f"\nSEED={SEED}")  # noqa: T201
    draw = random.Random(SEED)
    for number in range(max(KILLS // 4, 1)):  # 50 of 200
        home = tmp_path / str(number)
        home.mkdir()
        with emulator(home / "fal", "--latency", "0.4", "--slots", "10") as fal:
            run = call(table(home / "t.jsonl"), home / "store")
            processes = [begin(fal, *run) for _ in range((2, 5)[number % 2])]
            freeze(draw, processes)
            for process in processes:
                process.join(RUN_DEADLINE)
                assert process.exitcode in {0, 3}
            last = cli(fal, *run)
            judge(fal, home / "store", last.summary)


def freeze(draw: random.Random, processes: list[ForkServerProcess]) -> None:
    """Stop one of them for a while, several times, long enough for the others to look at what it left."""
    for _ in range(6):
        time.sleep(draw.uniform(0.05, 0.5))
        process = draw.choice(processes)
        if process.pid is not None and process.is_alive():
            with suppress(ProcessLookupError):  # it has just come to its end
                os.kill(process.pid, signal.SIGSTOP)
                time.sleep(draw.uniform(0.1, 1.0))
                os.kill(process.pid, signal.SIGCONT)
