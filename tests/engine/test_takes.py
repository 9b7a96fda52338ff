"""Another take of a row is bought once for a word, by the bill, and the earlier ones stay."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.store import layout
from tests.harness import Fal, Ran, begin, cli, emulator, records, start, table, target
from tests.support import MINI_LOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROWS = 8


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fal]:
    with emulator(tmp_path_factory.mktemp("fal") / "state", "--latency", "0.05", "--slots", "50") as found:
        yield found


class Rows:
    """A dataset of a table, and the bill since it was made."""

    def __init__(self, fal: Fal, store: Path, path: Path, rows: int = ROWS, **columns: str) -> None:
        self.fal, self.store, self.before = fal, store, len(fal.charged())
        self.table = table(path, rows, **columns)

    @property
    def bought(self) -> int:
        return len(self.fal.charged()) - self.before

    def arguments(self, *more: str, command: str = "generate") -> tuple[str, ...]:
        where = (self.table,) if command != "regenerate" else ("--table", self.table)
        return (command, *where, *target(self.store), "--id-column", "id", *MINI_LOW, *more)

    def run(self, *more: str, command: str = "generate", env: dict[str, str] | None = None) -> Ran:
        return cli(self.fal, *self.arguments(*more, command=command), env=env)

    def review(self, verdict: str, *rows: str) -> None:
        ran = cli(None, "review", verdict, *rows, *target(self.store))
        assert ran.status == 0, ran.stderr

    def shown(self) -> dict[str, tuple[Any, ...]]:
        return {r["row_id"]: (r["take"], r["status"], r["verdict"]) for r in records(self.store, "d")}

    def takes(self) -> int:
        return len(list((self.store / "d" / layout.TAKES).rglob("*.json")))


@pytest.fixture
def rows(running: Fal, store: Path, tmp_path: Path) -> Rows:
    found = Rows(running, store, tmp_path / "t.jsonl")
    ran = found.run()
    assert ran.status == 0, ran.stderr
    assert found.bought == ROWS
    return found


def test_rejected_rows_get_another_take_once(rows: Rows) -> None:
    rows.review("reject", "r1", "r2", "r3")
    rows.review("approve", "r4")
    planned = rows.run("--again", "rejected", command="plan")
    assert (planned.summary["bought"], planned.summary["cost_usd"]["high"], rows.takes()) == (3, 0.03, 0), (
        planned.stderr
    )
    assert "3 rows get another take" in planned.stderr
    ran = rows.run("--again", "rejected")
    assert "3 rows get another take" in ran.stderr.splitlines()
    assert (ran.status, ran.summary["bought"], rows.bought) == (0, 3, ROWS + 3), ran.stderr
    assert rows.shown()["r1"] == (1, "stored", None)
    assert rows.shown()["r4"] == (0, "stored", "approved")
    for _ in range(2):
        assert rows.run("--again", "rejected").summary["bought"] == 0
    assert rows.run().summary["bought"] == 0
    assert rows.bought == ROWS + 3
    rows.review("reject", "r2")
    assert rows.run("--again", "rejected").summary["bought"] == 1
    assert (rows.shown()["r2"][0], rows.shown()["r1"][0], rows.takes()) == (2, 1, 4)


def test_two_runs_at_once_buy_one_take(rows: Rows) -> None:
    rows.review("reject", *(f"r{n}" for n in range(ROWS)))
    both = [begin(rows.fal, *rows.arguments("--again", "rejected")) for _ in range(2)]
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (rows.bought, rows.takes()) == (2 * ROWS, ROWS)
    assert rows.run("--again", "rejected").summary["bought"] == 0


@pytest.mark.parametrize(
    "point", ["after take:1", "after take:3", "before intent:2", "after POST:1", "after outcome:2"]
)
def test_a_run_that_is_killed_and_repeated_buys_one_take(rows: Rows, point: str) -> None:
    rows.review("reject", "r1", "r2", "r3")
    killed = start(rows.fal, *rows.arguments("--again", "rejected"), env={"DAGSTER_GPTIMG_KILL_AT": point})
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    for _ in range(2):
        ran = rows.run("--again", "rejected", "--settle", "1")
        assert ran.status == 0, ran.stderr
    assert (rows.bought, rows.takes()) == (ROWS + 3, 3)
    assert {take for take, *_ in rows.shown().values()} == {0, 1}


def test_the_budget_holds_and_what_it_leaves_keeps_its_take(rows: Rows) -> None:
    rows.review("reject", "r1", "r2", "r3")
    ran = rows.run("--again", "rejected", "--max-cost", "0.02")
    assert (ran.status, rows.bought, rows.takes()) == (4, ROWS + 2, 2), ran.stderr
    assert sorted(take for take, *_ in rows.shown().values()) == [0] * (ROWS - 2) + [1] * 2
    assert all(status == "stored" for _, status, _ in rows.shown().values())
    assert rows.run().summary["bought"] == 0, "what was not begun needs the word again"
    assert rows.run("--again", "rejected").summary["bought"] == 1


def test_named_rows_are_regenerated_whatever_their_verdict(rows: Rows) -> None:
    rows.review("approve", "r1")
    ran = rows.run("r1", "r2", command="regenerate")
    assert (ran.status, rows.bought) == (0, ROWS + 2), ran.stderr
    assert rows.shown()["r1"] == (0, "stored", "approved"), "the approved take is the current one"
    assert rows.shown()["r2"] == (1, "stored", None)
    assert rows.run().summary["bought"] == 0
    rows.review("clear", "r1")
    rows.run()
    assert rows.shown()["r1"] == (1, "stored", None)
    unknown = rows.run("nobody", command="regenerate")
    assert (unknown.status, "nobody" in unknown.stderr) == (2, True)
    assert rows.run("--regenerate", "r1", command="plan").summary["bought"] == 1


def test_rows_are_regenerated_from_what_is_on_record_if_their_table_is_gone(
    running: Fal, store: Path, tmp_path: Path
) -> None:
    path, before = tmp_path / "t.csv", len(running.charged())
    path.write_text('sku,thing,num_images,shelf\na,"cup, ""red""",2,007\nb,hat,1,\nc,hat,1,1.50\n')
    given = ("--template", "a {thing}", "--id-column", "sku", *MINI_LOW)
    assert cli(running, "generate", str(path), *target(store), *given).status == 0
    path.unlink()
    refused = cli(running, "regenerate", "a", "b", *target(store))
    assert refused.status == 2
    assert "manifest --store URI --dataset d --format prompts > rows.csv" in refused.stderr
    rows = cli(None, "manifest", "--store", str(store), "--dataset", "d", "--format", "prompts")
    path.write_bytes(rows.output)
    named, by_id = ("--regenerate", "a", "--regenerate", "c"), ("--id-column", "row_id")
    plan = cli(running, "plan", str(path), *target(store), *by_id, *named)
    assert (plan.summary["bought"], plan.summary["reused"]) == (3, 1), plan.stderr
    assert cli(running, "regenerate", "a", "c", "--table", str(path), *target(store), *by_id).status == 0
    shown = [(r["row_id"], r["take"], r["columns"]["shelf"]) for r in records(store, "d")]
    assert shown == [("a", 1, "007"), ("a", 1, "007"), ("b", 0, ""), ("c", 1, "1.50")]
    assert len(running.charged()) - before == 3 + 2


def test_a_fixed_seed_is_refused(running: Fal, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"id": f"r{n}", "prompt": f"seeded {n}", "seed": 7}) for n in range(2)))
    before = len(running.charged())
    arguments = (str(path), *target(store), "--id-column", "id", "--model", "flux-2")
    assert cli(running, "generate", *arguments).status == 0
    bought = len(running.charged()) - before
    cli(None, "review", "reject", "r0", *target(store))
    for more in (("--again", "rejected"), ("--regenerate", "r0")):
        ran = cli(running, "generate", *arguments, *more)
        assert (ran.status, "fixed seed" in ran.stderr) == (2, True), ran.stderr
    assert len(running.charged()) - before == bought


def test_rows_of_two_partitions_that_share_a_request_share_its_takes(running: Fal, store: Path, tmp_path: Path) -> None:
    path, before = tmp_path / "t.jsonl", len(running.charged())
    path.write_text("\n".join(json.dumps({"id": i, "prompt": "the shared one", "part": p}) for i, p in ("ax", "by")))
    arguments = ("generate", str(path), *target(store), "--id-column", "id", *MINI_LOW)
    for part in "xy":
        assert cli(running, *arguments, "--partition", f"part={part}").status == 0
    cli(None, "review", "reject", "a", *target(store))
    ran = cli(running, *arguments, "--partition", "part=y", "--again", "rejected")
    assert ran.summary["bought"] == 1, ran.stderr
    assert "1 of them ('b') share it with rows of another partition" in ran.stderr
    for more in ((), ("--again", "rejected")):
        ran = cli(running, *arguments, "--partition", "part=x", *more)
        assert (ran.status, ran.summary["bought"], ran.summary["reused"]) == (0, 0, 1), ran.stderr
    assert {r["row_id"]: r["take"] for r in records(store, "d")} == {"a": 1, "b": 1}
    assert len(running.charged()) - before == 2


def test_a_take_that_cannot_be_read_counts_and_is_followed_by_no_other(rows: Rows) -> None:
    rows.review("reject", "r1")
    rows.run("--again", "rejected")
    rows.review("reject", "r1")
    [fact] = (rows.store / "d" / layout.TAKES).rglob("*.json")
    fact.write_bytes(b"{")
    ran = rows.run("--again", "rejected")
    assert (ran.summary["bought"], rows.shown()["r1"]) == (0, (1, "stored", "rejected")), ran.stderr
    assert "cannot be read" in ran.stderr
    verified = cli(None, "verify", *target(rows.store))
    assert (verified.status, verified.summary["unreadable"]) == (3, 1), verified.stderr


def verdicts_file(path: Path, shown: list[dict[str, Any]], note: str) -> str:
    """A file as the gallery's page downloads it, that rejects the images of records."""
    lines = [
        f"{r['row_id']},{r['image_index']},{r['sha256']},rejected,{note},{r['verdict_number'] or 0}" for r in shown
    ]
    path.write_text("\n".join(["row_id,image_index,sha256,verdict,note,seen", *lines]))
    return str(path)


def reject_and_buy(many: Rows, folder: Path, take: int, count: int, points: Sequence[str] = ()) -> None:
    """Reject images of a take, and have two runs at once buy others; before, at each of the points, two are killed."""
    again = "--again", "rejected", *(("--settle", "1") if points else ())
    seen = [r for r in records(many.store, "d") if r["take"] == take][:count]
    file = verdicts_file(folder / f"{take}.csv", seen, "no")
    for recorded in (count, 0):
        assert cli(None, "review", "import", file, *target(many.store)).summary["recorded"] == recorded
    before = many.bought
    for env in [{"DAGSTER_GPTIMG_KILL_AT": f"{point}:5"} for point in points] or [{}]:
        both = [begin(many.fal, *many.arguments(*again), env=env) for _ in range(2)]
        for process in both:
            process.join(600)
        assert {process.exitcode for process in both} <= ({0} if not points else {0, 3, -signal.SIGKILL})
    if points:
        assert many.run("--again", "held", "--settle", "1").status == 0
    for bought in (None, 0) if points else (0,):
        ran = many.run(*again)
        assert ran.summary["bought"] == bought or bought is None
    assert many.bought - before == count


@pytest.mark.long
def test_a_hundred_rejected_of_sixteen_hundred_are_bought_once(running: Fal, store: Path, tmp_path: Path) -> None:
    many = Rows(running, store, tmp_path / "many.jsonl", 1600)
    assert many.run().summary["bought"] == 1600
    reject_and_buy(many, tmp_path, 0, 100)
    reject_and_buy(many, tmp_path, 1, 10)
    assert sorted(take for take, *_ in many.shown().values()) == [0] * 1500 + [1] * 90 + [2] * 10


@pytest.mark.long
def test_reviewers_and_runs_at_once_on_s3(running: Fal, s3: dict[str, str], tmp_path: Path) -> None:
    place = f"s3://bucket/takes-{tmp_path.name}"
    where, path = target(place), table(tmp_path / "t.jsonl", 6)
    arguments = ("generate", path, *where, "--id-column", "id", *MINI_LOW)
    before = len(running.charged())
    assert cli(running, *arguments, env=s3).status == 0
    seen = records(place, "d", s3)[:4]
    files = [verdicts_file(tmp_path / f"{by}.csv", seen, f"says {by}") for by in ("ann", "bob", "cem")]
    reviewers = [begin(running, "review", "import", file, *where, env=s3) for file in files]
    for process in reviewers:
        process.join(60)
    told = {r["row_id"]: (r["verdict"], r["verdict_number"]) for r in records(place, "d", s3)}
    assert told == {f"r{n}": ("rejected", 1) if n < 4 else (None, None) for n in range(6)}, "one of the three each"
    both = [
        begin(running, *arguments, "--again", "rejected", env=s3 | more)
        for more in ({"DAGSTER_GPTIMG_KILL_AT": "after take:2"}, {})
    ]
    for process in both:
        process.join(60)
    for _ in range(2):
        ran = cli(running, *arguments, "--again", "rejected", "--settle", "1", env=s3)
        assert ran.status == 0, ran.stderr
    assert ran.summary["bought"] == 0
    assert {r["row_id"]: r["take"] for r in records(place, "d", s3)} == {f"r{n}": int(n < 4) for n in range(6)}
    assert len(running.charged()) - before == 6 + 4


def test_forget_and_prune_know_all_takes_of_a_row(rows: Rows) -> None:
    rows.review("reject", "r1", "r2")
    rows.run("--again", "rejected")
    found = cli(None, "prune", *target(rows.store), "--left", "--delete", "--yes")
    assert (found.status, found.summary["images"]) == (0, 0), found.stderr
    images = len(list((rows.store / "d" / layout.IMAGES).rglob("*.png")))
    assert images == ROWS + 2
    assert cli(None, "forget", "r1", "--yes", "--store", str(rows.store), "--dataset", "d").status == 0
    assert len(list((rows.store / "d" / layout.IMAGES).rglob("*.png"))) == images - 2
    for more in (("--again", "rejected"), ("--regenerate", "r1")):
        assert rows.run(*more).summary["bought"] == 0
    assert rows.shown()["r1"][1] == "erased"
    (rows.store / "d" / layout.manifest_name(None)).unlink()
    assert cli(None, "rebuild", "--store", str(rows.store), "--dataset", "d").status == 0
    assert rows.shown()["r2"] == (1, "stored", None)
