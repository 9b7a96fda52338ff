"""Our engine against every reading of fal's documents on which money depends, with the bill as the judge.

What fal leaves open is a switch of the emulator (`emulator/open_questions.py`). In each of its positions nothing is
paid for twice, what is billed is explained to the cent, and a good row has its image in the end.
"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import RUN_DEADLINE, Fal, Ran, begin, cli, records, until

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = {
    "busy": "submit_429",
    "lost": "submit_lost",
    "cut": "submit_cut",
    "broken": "failed",
    "dead": "failed_runner",
    "again": "requeue",
}
GOOD = ["plain one", "plain two", *FAULTS, "auto"]
# Each position of each switch at least once: a CLI run takes seconds, and most switches do not meet.
READINGS: list[dict[str, Any]] = [
    {},
    {
        "submit_code": 202,
        "retry_hint": "X-Fal-Retryable",
        "retry_after": 1,
        "auto_quality": "low",
        "history_time": "sent",
    },
    {"validates_at_submit": True, "full_id_urls": True, "rounding": "never", "history_input": "processed"},
    {"status_tells_model_errors": True, "retries_billed": True, "history_in_progress": True},
    {"error_details": "text", "history_lag": 1.0},
    {
        "refusals_billed": True,
        "auto_quality": "high",
        "auto_size": "1024x1536",
        "history_in_progress": True,
        "history_queued": True,
    },
    {"refusals_billed": True, "units_told": "successes"},
    {"refusals_billed": True, "units_told": "none"},
]
CANCELS: list[dict[str, Any]] = [
    {"cancel_answer": "OK", "cancelled_is_gone": True},
    {"cancel_answer": "CANCELLATION_REQUESTED", "cancelled_is_gone": True},
]
MORE_CANCELS: list[dict[str, Any]] = [
    {"cancel_answer": "OK", "cancelled_is_gone": False},
    {"cancel_answer": "success", "cancelled_is_gone": False},
]
"""Further positions, for the long tests: these requests are not gone."""


def named(reading: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in reading.items()) or "default"


def call(tmp_path: Path, store: Path, *prompts: str) -> tuple[str, ...]:
    path = tmp_path / "t.jsonl"
    rows = [{"prompt": prompt, "quality": "auto" if prompt == "auto" else "low"} for prompt in prompts]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    where = ("--store", str(store), "--dataset", "d", "--json", "--settle", "3")
    return ("generate", str(path), *where, "--set", "image_size=1024x1024")


def judged(fal: Fal, store: Path, *, told: bool = True) -> dict[str, dict[str, Any]]:
    """The records by prompt, once the bill has nothing against them. `told`: fal says what each result costs."""
    table = records(store, "d")
    charged = {row["request_id"]: row for row in fal.charged()}
    twice = [prompt for prompt, count in Counter(row["prompt"] for row in charged.values()).items() if count > 1]
    assert not twice, "paid twice"
    explained = {row["request_id"]: row["cost_usd"] for row in table}
    assert set(charged) <= set(explained), "a charge that no record explains"
    for request_id, row in charged.items():
        cost = explained[request_id]
        assert Decimal(str(cost)) == Decimal(row["cost_usd"]) if cost is not None else not told
    return {row["prompt"]: row for row in table}


def bought(ran: Ran, fal: Fal) -> None:
    """The summary's range holds what is on the bill."""
    cost = {name: Decimal(str(value)) for name, value in ran.summary["cost_usd"].items()}
    assert cost["low"] <= Decimal(fal.bill()["total_usd"]) <= cost["high"], ran.stderr


@pytest.mark.parametrize("reading", READINGS, ids=named)
def test_lost_refused_and_failed(reading: dict[str, Any], fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(**reading)
    good = list(GOOD)
    if "error_details" in reading:
        good.remove("broken")  # An untyped 500 is never taken for free: that row is looked for by every run.
    for prompt, fault in FAULTS.items():
        fal.fail(prompt, fault, times=1)
    generate = call(tmp_path, store, *good, "gore")
    first = cli(fal, *generate)
    assert first.status == 3, first.stderr
    bought(first, fal)
    paid = fal.bill()["total_usd"]
    second = cli(fal, *generate)
    assert (second.summary["bought"], fal.bill()["total_usd"]) == (0, paid)
    found = judged(fal, store, told="units_told" not in reading)
    assert {prompt: row["status"] for prompt, row in found.items()} == {
        **dict.fromkeys(good, "stored"),
        "gore": "refused",
    }
    assert found["gore"]["error"]


@pytest.mark.parametrize(
    "reading", [*CANCELS, *(pytest.param(reading, marks=pytest.mark.long) for reading in MORE_CANCELS)], ids=named
)
def test_cancelled_in_the_queue(reading: dict[str, Any], fal: Fal, store: Path, tmp_path: Path) -> None:
    """What left the queue by fal's own word is bought by the next run; anything else is never bought blindly."""
    fal.set(**reading, latency=4.0, slots=2, history_queued=not reading["cancelled_is_gone"])
    prompts = [f"row {number}" for number in range(6)]
    generate = (*call(tmp_path, store, *prompts), "--patience", "8")
    running = begin(fal, *generate)
    until("6 requests at fal", lambda: len(fal.bill()["rows"]) == len(prompts))
    running.terminate()
    running.join(RUN_DEADLINE)
    assert running.exitcode == 130
    cancelled = {row["prompt"] for row in fal.bill()["rows"] if row["outcome"] == "cancelled"}
    assert cancelled
    fal.set(latency=0.2, slots=20)
    cli(fal, *generate)
    found = judged(fal, store)
    known = reading["cancel_answer"] == "OK"
    end = "stored" if known or not reading["cancelled_is_gone"] else "lost"  # its result says that it was not billed
    assert {found[prompt]["status"] for prompt in cancelled} == {end}
    if end == "lost":
        assert all("billed up to $0.0" in found[prompt]["error"] for prompt in cancelled)
    assert {found[prompt]["status"] for prompt in set(prompts) - cancelled} == {"stored"}


@pytest.mark.parametrize(
    "expired",
    ["not_found", pytest.param("gone", marks=pytest.mark.long), "completed"],  # 410 is read as 404 is
)
def test_a_result_that_expired_before_it_was_fetched(expired: str, fal: Fal, store: Path, tmp_path: Path) -> None:
    """The seed's model has one price for what was asked; what another costs is told by the result alone."""
    fal.set(expired=expired, latency=1.0)
    generate = (*call(tmp_path, store, "a lamp", "a chair"), "--model", "gpt-image-1-mini")
    running = begin(fal, *generate)
    until("2 requests at fal", lambda: len(fal.bill()["rows"]) == 2)
    until("both recorded", lambda: len(list(store.rglob("*.reply.json"))) == 2)
    running.kill()
    running.join()
    until("both have ended", lambda: fal.bill()["in_flight"] == 0)
    fal.set(stored_seconds=0.0)
    ran = cli(fal, *generate)
    assert (ran.status, ran.summary["reattached"]) == (0, 2), ran.stderr
    assert {row["status"] for row in judged(fal, store).values()} == {"stored"}


@pytest.mark.parametrize(
    ("code", "told", "status"), [(500, "all", "stored"), (400, "all", "stored"), (400, "none", "lost")]
)
def test_an_error_of_the_partner(code: int, told: str, status: str, fal: Fal, store: Path, tmp_path: Path) -> None:
    """With 500, or when fal says that it billed nothing, it is bought again; another 400 is the user's to decide."""
    fal.set(downstream_error_code=code, units_told=told)
    fal.fail("lamp", "failed_downstream", times=1)
    generate = call(tmp_path, store, "a lamp")
    cli(fal, *generate)
    assert judged(fal, store, told=told == "all")["a lamp"]["status"] == status
    assert cli(fal, *generate, "--again", "lost").status == 0
    assert judged(fal, store, told=told == "all")["a lamp"]["status"] == "stored"


@pytest.mark.parametrize("rounding", ["printed", "always", "never"])
def test_a_model_whose_page_prints_no_rounding(rounding: str, fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(rounding=rounding)
    ran = cli(fal, *call(tmp_path, store, "a lamp"), "--model", "gpt-image-1.5")
    assert ran.status == 0, ran.stderr
    bought(ran, fal)
    judged(fal, store)


@pytest.mark.parametrize("unauthorized", ["reason", "word"])
def test_a_key_that_fal_does_not_know(unauthorized: str, fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(unauthorized=unauthorized)
    ran = cli(fal, *call(tmp_path, store, "a lamp"), env={"FAL_KEY": "bad"})
    assert (ran.status, "does not know this key" in ran.stderr) == (2, True)
    assert fal.bill()["rows"] == []
