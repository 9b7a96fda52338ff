"""Images that were stored, and whose files are gone: fetched for nothing, told by every face, bought at a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.maintain.test_prune import forget_at_fal, generate
from tests.harness import Fal, cli, records, table, target
from tests.support import MINI_LOW


def gone(fal: Fal, store: Path, tmp_path: Path) -> tuple[str, Path, bytes]:
    """Three rows, of which the file of one is gone: the table, the file, and what was in it."""
    rows = table(tmp_path / "t.jsonl", 3)
    generate(fal, store, rows)
    file = Path(next(r for r in records(store, "d") if r["row_id"] == "r1")["uri"].removeprefix("file://"))
    kept = file.read_bytes()
    file.unlink()
    return rows, file, kept


def test_a_file_that_is_gone_is_fetched_from_fal_byte_for_byte(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows, file, kept = gone(fal, store, tmp_path)
    plan = cli(None, "plan", rows, *target(store), "--id-column", "id", *MINI_LOW)
    assert "1 row missing, at most 1 image fetched again from fal at no cost; 0 images to buy" in plan.stderr
    assert (plan.summary["images"], plan.summary["refetched"]) == (2, 1)
    again = generate(fal, store, rows)
    assert (again.status, again.summary["images"], again.summary["bought"]) == (0, 3, 0), again.stderr
    assert "0 bought, 3 reused, 1 image fetched again, $0.00" in again.stderr
    assert again.summary["refetched"] == 1
    assert file.read_bytes() == kept
    assert len(fal.charged()) == 3


def test_a_file_that_is_gone_here_and_at_fal_is_trouble_until_somebody_says_what_to_do(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    rows, file, kept = gone(fal, store, tmp_path)
    forget_at_fal(fal)
    plan = cli(None, "plan", rows, *target(store), "--id-column", "id", *MINI_LOW)
    assert (plan.summary["missing"], plan.summary["reused"], plan.summary["bought"]) == (1, 2, 0)
    assert "1 row missing" in plan.stderr
    again = generate(fal, store, rows)
    assert (again.status, again.summary["missing"], again.summary["reused"], again.summary["bought"]) == (3, 1, 2, 0)
    assert "row 'r1': missing" in again.stderr
    told = next(r for r in records(store, "d") if r["row_id"] == "r1")
    assert (told["status"], told["uri"]) == ("missing", None)
    assert "put the file back" in told["error"]
    file.write_bytes(kept)
    assert generate(fal, store, rows).status == 0
    assert len(fal.charged()) == 3


@pytest.mark.parametrize("word", ["missing", "r1"])
def test_the_users_word_buys_what_is_missing_once(fal: Fal, store: Path, tmp_path: Path, word: str) -> None:
    rows, file, kept = gone(fal, store, tmp_path)
    forget_at_fal(fal)
    plan = cli(None, "plan", rows, *target(store), "--id-column", "id", *MINI_LOW, "--again", word)
    assert (plan.summary["bought"], plan.summary["cost_usd"]["high"]) == (1, 0.01)
    bought = generate(fal, store, rows, "--again", word)
    assert (bought.status, bought.summary["bought"]) == (0, 1), bought.stderr
    assert len(fal.charged()) == 4
    assert generate(fal, store, rows, "--again", word).summary["bought"] == 0
    file.write_bytes(kept)  # both are there now: it is one row all the same
    assert generate(fal, store, rows).summary["reused"] == 3
    assert len(fal.charged()) == 4


def test_the_users_word_buys_nothing_that_fal_still_has(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows, file, kept = gone(fal, store, tmp_path)
    again = generate(fal, store, rows, "--again", "missing")
    assert (again.status, again.summary["bought"], file.read_bytes() == kept) == (0, 0, True)
    assert len(fal.charged()) == 3


def test_dagster_counts_what_is_missing_as_trouble(fal: Fal, tmp_path: Path) -> None:
    import dagster as dg

    from dagster_gptimg import ImageStoreResource, build_gptimg_asset

    asset = build_gptimg_asset(
        "cups",
        prompts=[{"id": str(n), "prompt": f"cup {n}"} for n in range(2)],
        id_column="id",
        arguments={"quality": "low"},
    )
    store = tmp_path / "store"
    resources = {"fal": fal.resource, "image_store": ImageStoreResource(root=str(store))}

    def run(**config: Any) -> Any:
        told = {"ops": {"cups": {"config": config}}}
        return dg.materialize([asset], resources=resources, run_config=told, raise_on_error=False)

    assert run().success
    next(iter(sorted(store.glob("cups/images/*/*.png")))).unlink()
    forget_at_fal(fal)
    ran = run()
    [event] = [e for e in ran.all_node_events if e.is_step_failure]
    about = event.step_failure_data.user_failure_data
    assert (about.metadata["reason"].value, about.metadata["missing"].value) == ("failed_rows", 1)
    [check] = ran.get_asset_check_evaluations()
    assert (check.passed, check.metadata["missing"].value) == (False, 1)
    assert run(again=["missing"]).success
    assert len(fal.charged()) == 3
    assert len(list(store.glob("cups/receipts/*/*.deleted.*.json"))) == 1
    assert json.loads(next(store.glob("cups/receipts/*/*.deleted.*.json")).read_text())["reason"] == "gone"
