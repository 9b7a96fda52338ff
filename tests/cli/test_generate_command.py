"""A prompt table becomes images from the command line, and the emulator's bill is the judge."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from tests.harness import CLI, Fal, cli, emulator, kill, records, start, table, target, until
from tests.prompt_table import rows as prompt_rows
from tests.support import MINI_LOW, POINTS

LOW, MINI = MINI_LOW, ("--model", "gpt-image-1-mini")


def test_one_row_end_to_end_and_once(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "one.jsonl", 1)
    ran = cli(fal, "generate", rows, *target(store), "--id-column", "id", *LOW)
    assert ran.status == 0, ran.stderr
    assert ran.summary | {"seconds": 0} == {
        "rows": 1,
        "images": 1,
        "bought": 1,
        "reused": 0,
        "reattached": 0,
        "refused": 0,
        "failed": 0,
        "held": 0,
        "lost": 0,
        "not_submitted": 0,
        "in_flight": 0,
        "missing": 0,
        "erased": 0,
        "cost_usd": {"low": 0.01, "high": 0.01, "billed": 0.01},
        "seconds": 0,
    }
    [record] = records(store, "d")
    path = record["uri"].removeprefix("file://")
    with Image.open(path) as image:
        image.load()
        assert image.size == (record["width"], record["height"]) == (1024, 1024)
    assert Path(path).stat().st_size == record["bytes"]
    [charged] = fal.charged()
    assert (charged["request_id"], charged["prompt"]) == (record["request_id"], record["prompt"])

    again = cli(fal, "generate", rows, *target(store), "--id-column", "id", *LOW)
    assert (again.status, again.summary["bought"], again.summary["reused"]) == (0, 0, 1)
    assert "0 bought, 1 reused, $0.00" in again.stderr
    assert len(fal.bill()["rows"]) == 1


def test_a_killed_run_costs_nothing_twice(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "many.jsonl", 24)
    call = ("generate", rows, *target(store), *LOW, "--settle", "5")
    fal.set(latency=2.0)
    running = start(fal, *call)
    until("12 requests at fal", lambda: len(fal.bill()["rows"]) >= 12)
    kill(running)
    fal.set(latency=0.2)
    ran = cli(fal, *call)
    assert ran.summary["reattached"] > 0
    # A POST that the kill caught on its way is in doubt (8 at most go at once): shown, and bought at the user's word.
    assert ran.summary["held"] <= 8
    assert ran.summary["images"] == len(fal.charged()) == 24 - ran.summary["held"]
    ran = cli(fal, *call, "--again", "held")
    assert (ran.status, ran.summary["images"]) == (0, 24), ran.stderr
    prompts = [row["prompt"] for row in fal.charged()]
    assert len(prompts) == len(set(prompts)) == 24


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_point_nothing_is_paid_twice_or_lost(fal: Fal, store: Path, tmp_path: Path, point: str) -> None:
    rows = table(tmp_path / "few.jsonl", 6)
    call = ("generate", rows, *target(store), *LOW, "--settle", "2")
    killed = cli(fal, *call, env={"DAGSTER_GPTIMG_KILL_AT": f"{point}:3"})
    assert killed.status == -signal.SIGKILL
    ran = cli(fal, *call)
    charged = fal.charged()
    assert len({row["prompt"] for row in charged}) == len(charged)
    if (
        point == "before POST"
    ):  # the one moment that leaves a row in doubt: it is shown, and bought at the user's word only
        assert (ran.status, ran.summary["held"], len(charged)) == (3, 1, 5)
        ran = cli(fal, *call, "--again", "held")
        charged = fal.charged()
    assert (ran.status, ran.summary["images"], len(charged)) == (0, 6, 6), ran.stderr
    by_prompt = {row["prompt"]: row["request_id"] for row in charged}
    found = records(store, "d")
    assert {r["prompt"]: r["request_id"] for r in found} == by_prompt
    for record in found:
        assert hashlib.sha256(Path(record["uri"].removeprefix("file://")).read_bytes()).hexdigest() == record["sha256"]


def test_two_runs_at_once_buy_each_row_once(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "many.jsonl", 20)
    call = ("generate", rows, *target(store), *LOW)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: cli(fal, *call), range(2)))
    assert [run.status for run in both] == [0, 0]
    assert [run.summary["images"] for run in both] == [20, 20]
    assert sum(run.summary["bought"] for run in both) == 20
    assert len(fal.charged()) == 20


def test_the_budget_stops_before_the_post_that_could_pass_it(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "many.jsonl", 16)
    ran = cli(fal, "generate", rows, *target(store), *LOW, "--max-cost", "0.12")
    assert (ran.status, ran.summary["bought"], ran.summary["not_submitted"]) == (4, 12, 4)
    assert fal.bill()["total_usd"] == "0.12"
    assert "0.12" in ran.stderr
    rest = cli(fal, "generate", rows, *target(store), *LOW)
    assert (rest.status, rest.summary["bought"], rest.summary["reused"]) == (0, 4, 12)


def test_a_budget_at_worst_case_is_refunded_by_what_was_billed(fal: Fal, store: Path, tmp_path: Path) -> None:
    # auto costs 0.06 at worst, and is billed as medium, 0.02: with 0.20, three are reserved first, and more follow
    ran = cli(fal, "generate", table(tmp_path / "many.jsonl", 12), *target(store), *MINI, "--max-cost", "0.20")
    assert ran.status == 4
    assert ran.summary["bought"] == 8
    assert fal.bill()["total_usd"] == "0.16"


def test_refused_rows_are_final_and_failed_rows_are_tried_again(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "many.jsonl", 5)
    fal.fail("number 1", "refused")
    fal.fail("number 3", "failed")
    call = ("generate", rows, *target(store), *LOW)
    ran = cli(fal, *call)
    assert (ran.status, ran.summary["images"], ran.summary["refused"], ran.summary["failed"]) == (3, 3, 1, 1)
    by_prompt = {r["prompt"][-1]: r for r in records(store, "d")}
    assert by_prompt["1"]["status"] == "refused"
    assert by_prompt["1"]["error_type"] == "content_policy_violation"
    assert by_prompt["3"]["status"] == "failed"
    assert by_prompt["3"]["uri"] is None
    fal.mend()
    sent = len(fal.bill()["rows"])
    ran = cli(fal, *call)
    assert (ran.status, ran.summary["bought"], ran.summary["refused"]) == (3, 1, 1)
    assert len(fal.bill()["rows"]) == sent + 1
    ran = cli(fal, *call, "--again", "refused")
    assert (ran.status, ran.summary["bought"]) == (0, 1)


def test_rows_are_cut_into_requests_and_the_manifest_adds_up_to_the_bill(fal: Fal, store: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "sku,prompt,num_images,background,quality,shop\n"
        "a,red shoe,10,,low,north\n"
        "b,red shoe,4,transparent,low,south\n"
        "c,red shoe,4,,low,south\n"
        "d,blue shoe,,,medium,\n",
        encoding="utf-8",
    )
    call = (
        "generate",
        str(tmp_path / "t.csv"),
        *target(store),
        *MINI,
        "--id-column",
        "sku",
        "--set",
        "image_size=1024x1024",
    )
    ran = cli(fal, *call)
    assert (ran.status, ran.summary["images"], ran.summary["rows"]) == (0, 19, 4), ran.stderr
    found = records(store, "d")
    assert [r["image_index"] for r in found if r["row_id"] == "a"] == list(range(10))
    assert {r["images_wanted"] for r in found if r["row_id"] == "a"} == {10}
    assert next(r["columns"] for r in found if r["row_id"] == "b") == {"shop": "south"}
    total = sum(Decimal(str(r["cost_usd"])) for r in found)
    assert f"{total:.2f}" == fal.bill()["total_usd"] == f"{ran.summary['cost_usd']['billed']:.2f}"
    assert len({r["sha256"] for r in found}) == 19
    transparent = next(r for r in found if r["row_id"] == "b")
    with Image.open(transparent["uri"].removeprefix("file://")) as image:
        assert image.mode == "RGBA"
    assert len(fal.charged()) == 6  # 4 + 4 + 2, 4, 4, 1


def test_a_row_keeps_its_images_under_another_id_and_after_a_sort(fal: Fal, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sku,prompt\n1,cat\n2,dog\n3,cat\n", encoding="utf-8")
    call = ("generate", str(path), *target(store), "--id-column", "sku", *LOW)
    assert cli(fal, *call).summary["bought"] == 3
    path.write_text("sku,prompt\nx,dog\ny,cat\nz,cat\n", encoding="utf-8")
    assert cli(fal, *call).summary["bought"] == 0
    assert [r["row_id"] for r in records(store, "d")] == ["x", "y", "z"]


def test_partitions_share_equal_rows_and_only_the_buyer_shows_the_cost(fal: Fal, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("prompt,category\nlamp,../north\nlamp,south\n", encoding="utf-8")
    call = ("generate", str(path), *target(store), *LOW)
    assert cli(fal, *call, "--partition", "category=../north").summary["bought"] == 1
    assert cli(fal, *call, "--partition", "category=south").summary["reused"] == 1
    ran = cli(None, "manifest", "--store", str(store), "--dataset", "d", "--partition", "south")
    shared = json.loads(ran.stdout)
    assert (shared["cost_usd"], shared["shared_with"]) == (0, "../north")
    assert sum(r["cost_usd"] for r in records(store, "d")) == 0.01
    assert not (store.parent / "north").exists()


@pytest.mark.parametrize("stop", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_cancels_what_is_queued_and_records_the_rest(
    fal: Fal, store: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    rows = table(tmp_path / "many.jsonl", 15)
    call = ("generate", rows, *target(store), *LOW)
    fal.set(latency=12.0, slots=5)  # none ends before the signal, however slow the machine is
    running = start(fal, *call)
    until("15 requests at fal", lambda: len(fal.bill()["rows"]) == 15)
    running.send_signal(stop)
    began = time.monotonic()
    out, _ = running.communicate(timeout=20)
    assert time.monotonic() - began < 10
    summary = json.loads(out.splitlines()[-1])
    assert (running.returncode, summary["stop"], summary["in_flight"]) == (130, "interrupted", 5)
    assert summary["not_submitted"] == 10
    fal.set(latency=0.2, slots=20)
    ran = cli(fal, *call)
    assert (ran.status, ran.summary["images"], ran.summary["reattached"]) == (0, 15, 5), ran.stderr
    assert len(fal.charged()) == 15


def test_fewer_images_than_asked_for_are_kept_and_shown(fal: Fal, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"prompt": "four of these", "num_images": 4}), encoding="utf-8")
    fal.fail("four", "fewer_images")
    ran = cli(fal, "generate", str(path), *target(store), *LOW)
    found = records(store, "d")
    assert 0 < ran.summary["images"] == len(found) < 4
    assert {row["images_wanted"] for row in found} == {4}
    assert f"{sum(Decimal(str(row['cost_usd'])) for row in found):.2f}" == fal.bill()["total_usd"]


def test_a_locked_account_stops_at_once_and_says_why(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(faults={"locked": 1.0})
    ran = cli(fal, "generate", table(tmp_path / "many.jsonl", 30), *target(store), *LOW)
    assert (ran.status, ran.summary["stop"], ran.summary["not_submitted"]) == (5, "locked", 30)
    assert "Top up your balance" in ran.stderr
    assert fal.bill()["rows"] == []


def test_a_full_disk_stops_the_run_and_nothing_paid_is_lost(fal: Fal, store: Path, tmp_path: Path) -> None:
    # No file may grow beyond 12 KB: receipts fit, pictures do not, and it fails as a full disk does.
    call = ("generate", table(tmp_path / "many.jsonl", 12), *target(store), *LOW)
    script = 'ulimit -f 12; exec "$0" "$@"'
    done = subprocess.run(["bash", "-c", script, *CLI, *call], env=fal.env, capture_output=True, text=True, check=False)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, summary["stop"], summary["images"]) == (5, "unusable", 0), done.stderr
    assert "in the store" in done.stderr
    assert not list(store.rglob("*.png"))
    paid = len(fal.bill()["rows"])
    ran = cli(fal, *call, "--settle", "5")
    assert (ran.status, ran.summary["images"], len(fal.charged())) == (0, 12, 12), ran.stderr
    assert ran.summary["reattached"] == paid


class TestBadInput:
    """One clear line that says what to do, exit status 2, nothing sent."""

    def check(
        self, fal: Fal | None, store: Path, *arguments: str, says: str, env: dict[str, str] | None = None
    ) -> None:
        ran = cli(fal, "generate", *arguments, *target(store), env=env)
        assert ran.status == 2, ran
        assert says in ran.stderr
        assert "Traceback" not in ran.stderr
        assert not ran.stdout
        if fal is not None:
            assert fal.bill()["rows"] == []

    def test_missing_key(self, fal: Fal, store: Path, tmp_path: Path) -> None:
        self.check(fal, store, table(tmp_path / "t.jsonl", 1), says="set FAL_KEY", env={"FAL_KEY": ""})

    def test_rejected_key(self, fal: Fal, store: Path, tmp_path: Path) -> None:
        self.check(
            fal, store, table(tmp_path / "t.jsonl", 1), says="does not know this key", env={"FAL_KEY": "bad-key"}
        )

    def test_unreachable_host(self, store: Path, tmp_path: Path) -> None:
        env = {"FAL_KEY": "k", "FAL_BASE_URL": "http://127.0.0.1:9"}
        self.check(None, store, table(tmp_path / "t.jsonl", 1), says="cannot reach http://127.0.0.1:9", env=env)

    def test_bad_table(self, fal: Fal, store: Path, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("prompt,quality\nok,low\n,low\nok,hihg\n", encoding="utf-8")
        self.check(fal, store, str(tmp_path / "t.csv"), says="t.csv:3: 'prompt': the cell is empty")
        self.check(fal, store, str(tmp_path / "t.csv"), says="t.csv:4: 'quality': 'hihg' is not one of auto, low")

    def test_no_table(self, fal: Fal, store: Path, tmp_path: Path) -> None:
        self.check(fal, store, str(tmp_path / "none.csv"), says="there is no table at")

    def test_wrong_enum(self, fal: Fal, store: Path, tmp_path: Path) -> None:
        rows = table(tmp_path / "t.jsonl", 1)
        self.check(fal, store, rows, "--set", "quality=hihg", says="did you mean high?")

    def test_store_without_write_access(self, fal: Fal, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a folder", encoding="utf-8")
        self.check(fal, tmp_path / "file" / "store", table(tmp_path / "t.jsonl", 1), says="Not a directory")
        self.check(fal, Path("/proc/none"), table(tmp_path / "t.jsonl", 1), says="cannot create")

    def test_an_emulated_dataset_with_another_emulator(self, fal: Fal, store: Path, tmp_path: Path) -> None:
        rows = table(tmp_path / "t.jsonl", 1)
        with emulator(tmp_path / "other", "--latency", "0.1") as other:
            cli(other, "generate", rows, *target(store))
        self.check(fal, store, rows, says="was made with an emulator")

    def test_an_unknown_row_in_again(self, fal: Fal, store: Path, tmp_path: Path) -> None:
        self.check(fal, store, table(tmp_path / "t.jsonl", 1), "--again", "hold", says="no row has the id 'hold'")


def test_prompts_of_every_kind_have_their_images_under_themselves(fal: Fal, store: Path, prompt_table: Path) -> None:
    ran = cli(fal, "generate", str(prompt_table), "--prompt-column", "Prompt", *target(store), "--limit", "50", *LOW)
    assert (ran.status, ran.summary["images"]) == (0, 50), ran.stderr
    by_id = {row["request_id"]: row["prompt"] for row in fal.charged()}
    assert {r["request_id"]: r["prompt"] for r in records(store, "d")} == by_id
    assert sorted(by_id.values()) == sorted(row.Prompt for row in prompt_rows()[:50])
