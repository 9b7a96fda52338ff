"""Priority, start time-outs, and giving the guarantee up: from the command line and from assets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from dagster_gptimg import (
    FalResource,
    ImageStoreResource,
    RequestSettings,
    build_gptimg_asset,
    generate_images_op,
    get_model,
)
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.job import Options
from tests.harness import Fal, Ran, cli, records
from tests.support import MINI_LOW

LOW = MINI_LOW
ARGUMENTS = {"quality": "low", "image_size": "1024x1024"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("prompt\n" + "".join(f"a thing number {n}\n" for n in range(3)), encoding="utf-8")
    return path


def call(fal: Fal | None, table: Path, *more: str, command: str = "generate") -> Ran:
    named = ("--store", str(table.parent / "store"), "--dataset", "d")
    return cli(fal, command, str(table), *named, *LOW, *more, "--json")


def history(fal: Fal) -> list[dict[str, Any]]:
    """What fal's own history shows."""
    params = {"endpoint_id": "fal-ai/gpt-image-1-mini", "expand": "payloads"}
    url = f"{fal.url}/v1/models/requests/by-endpoint"
    return list(httpx.get(url, params=params, headers={"Authorization": "Key test-key"}).json()["items"])


def busy(fal: Fal) -> None:
    """Somebody else has fal's only slot, for an hour; fal's history shows what never began."""
    fal.set(slots=1, latency=3600.0, history_queued=True)
    asked = {"prompt": "somebody else's", **ARGUMENTS}
    headers = {"Authorization": "Key test-key"}
    httpx.post(f"{fal.url}/fal-ai/gpt-image-1-mini", json=asked, headers=headers).raise_for_status()


def own_rows(fal: Fal) -> list[dict[str, Any]]:
    """Our rows of the bill."""
    return [row for row in fal.bill()["rows"] if row["prompt"] != "somebody else's"]


def test_a_request_that_did_not_begin_in_time_costs_nothing_and_is_tried_again(fal: Fal, table: Path) -> None:
    busy(fal)
    ran = call(fal, table, "--start-timeout", "1.1", "--priority", "low", "--tag", "team=ads", "--lifecycle", "86400")
    assert (ran.status, ran.summary["failed"], ran.summary["bought"]) == (3, 3, 0), ran.stderr
    assert ran.summary["cost_usd"]["billed"] == 0
    assert len(own_rows(fal)) == 9  # three attempts a row
    sent = own_rows(fal)[0]
    assert sent["headers"]["x-fal-queue-priority"] == "low"
    assert sent["headers"]["x-fal-request-start-timeout"] == "1.1"
    assert json.loads(sent["headers"]["x-fal-object-lifecycle-preference"]) == {"expiration_duration_seconds": 86400}
    assert {"team": "ads", "dataset": "d"}.items() <= sent["tags"].items()
    assert len(sent["tags"]["key"]) == 64
    assert {(row["outcome"], row["cost_usd"]) for row in own_rows(fal)} == {("start_timeout", "0.00")}
    assert {record["error"] for record in records(table.parent / "store", "d")} == {
        "request_timeout: Request did not start within the requested start timeout"
    }
    fal.set(slots=20, latency=0.1)
    again = call(fal, table)
    assert (again.status, again.summary["bought"]) == (0, 3)
    assert [row["cost_usd"] for row in own_rows(fal) if row["outcome"] == "ok"] == ["0.01"] * 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--set", "sync_mode=true"), "Set without_guarantee to allow it"),
        (("--header", "X-Fal-Store-IO=0"), "Set without_guarantee to allow it"),
        (("--header", "Authorization=Key x"), "the key comes from FAL_KEY"),
        (("--start-timeout", "1"), "it must be more than 1 second"),
        (("--tag", "team"), "--tag must be NAME=VALUE"),
        (("--without-guarantee", "--on-ambiguous", "resubmit"), "resubmit needs fal's history"),
    ],
)
def test_what_is_not_fals_or_voids_the_guarantee_is_refused(
    fal: Fal, table: Path, given: tuple[str, ...], words: str
) -> None:
    ran = call(fal, table, *given)
    assert ran.status == 2
    assert words in ran.stderr
    assert not fal.bill()["rows"]


def test_images_within_the_result_are_stored_like_any_other(fal: Fal, table: Path) -> None:
    sync = ("--set", "sync_mode=true", "--without-guarantee")
    assert call(None, table, *sync, command="plan").status == 0
    ran = call(fal, table, *sync, "--max-in-flight", "100")
    assert (ran.status, ran.summary["bought"]) == (0, 3), ran.stderr
    assert "warning: this run is without the guarantee: fal keeps no data of a request with sync_mode" in ran.stderr
    found = records(table.parent / "store", "d")
    assert {record["status"] for record in found} == {"stored"}
    assert all(Path(record["uri"].removeprefix("file://")).stat().st_size == record["bytes"] for record in found)
    assert all(item["json_output"] is None for item in history(fal))
    again = call(fal, table, *sync)
    assert (again.status, again.summary["bought"], len(fal.bill()["rows"])) == (0, 0, 3)


def test_payloads_that_fal_does_not_store(fal: Fal, table: Path) -> None:
    ran = call(fal, table, "--header", "X-Fal-Store-IO=0", "--without-guarantee")
    assert (ran.status, ran.summary["bought"]) == (0, 3), ran.stderr
    assert "without the guarantee" in ran.stderr
    shown = history(fal)
    assert len(shown) == 3
    assert all(item["json_input"] is None for item in shown)


def test_a_lost_reply_without_payloads_stays_held(fal: Fal, table: Path) -> None:
    """This is what giving the guarantee up means: nothing can tell which request is whose."""
    fal.fail("number 1", "submit_lost", 1)
    ran = call(fal, table, "--header", "X-Fal-Store-IO=0", "--without-guarantee", "--settle", "2")
    assert (ran.status, ran.summary["held"], ran.summary["bought"]) == (3, 1, 2), ran.stderr
    assert len(fal.bill()["rows"]) == 3


def test_results_that_hold_their_images_are_few_at_a_time() -> None:
    """An image is in memory from its result on, so what is in flight is bound by what may be in memory."""
    forced = RequestSettings(without_guarantee=True)
    for given, found in ((None, 16), (100, 16), (2, 2)):
        options = Options(max_in_flight=given, request=forced)
        assert operations._checked(options, get_model("gpt-image-1-mini")).max_in_flight == found
    assert operations._checked(Options(), get_model("gpt-image-1-mini")).max_in_flight is None


def failure(result: Any) -> str:
    [event] = [e for e in result.all_node_events if e.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)


def made(fal: Fal, tmp_path: Path, *, request: RequestSettings | None = None, **resource: Any) -> Any:
    asset = build_gptimg_asset("cups", prompts=[{"prompt": "a"}, {"prompt": "b"}], arguments=ARGUMENTS, request=request)
    resources = {
        "fal": FalResource(api_key="test-key", base_url=fal.url, **resource),
        "image_store": ImageStoreResource(root=str(tmp_path / "store")),
    }
    return dg.materialize([asset], resources=resources, raise_on_error=False)


def test_assets_and_the_resource_say_how_requests_are_sent(fal: Fal, tmp_path: Path) -> None:
    busy(fal)
    assert "2 of 2 rows have no images" in failure(made(fal, tmp_path, start_timeout=1.1, priority="low"))
    late = made(fal, tmp_path, request=RequestSettings(start_timeout=1.2), start_timeout=3600.0)
    assert "2 of 2 rows have no images" in failure(late)
    assert {row["outcome"] for row in own_rows(fal)} == {"start_timeout"}
    assert {row["headers"]["x-fal-request-start-timeout"] for row in own_rows(fal)} == {"1.1", "1.2"}
    fal.set(slots=20, latency=0.1)
    asset = RequestSettings(tags={"team": "ads"}, headers={"X-Fal-No-Retry": "1"})
    assert made(fal, tmp_path, request=asset, tags={"team": "all", "cost": "7"}, lifecycle=86400).success
    last = own_rows(fal)[-1]
    assert {"team": "ads", "cost": "7", "dataset": "cups"}.items() <= last["tags"].items()
    assert last["headers"]["x-fal-no-retry"] == "1"
    assert "86400" in last["headers"]["x-fal-object-lifecycle-preference"]
    sent = len(own_rows(fal))
    seven = {f"tag{n}": "x" for n in range(7)}
    assert "there are 8 tags" in failure(made(fal, tmp_path / "other", request=asset, tags=seven))
    assert len(own_rows(fal)) == sent
    assert "more than 1 second" in failure(made(fal, tmp_path, start_timeout=0.5))
    assert "could not be found in its history" in failure(made(fal, tmp_path, headers={"X-Fal-Store-IO": "0"}))


def test_an_asset_gives_the_guarantee_up_for_itself_and_says_so(fal: Fal, tmp_path: Path) -> None:
    """A resource cannot: it would speak for assets that never said it."""
    request = RequestSettings(headers={"X-Fal-Store-IO": "0"}, without_guarantee=True)
    result = made(fal, tmp_path, request=request)
    assert result.success
    [event] = result.asset_materializations_for_node("cups")
    assert "without the guarantee" in str(event.metadata["warnings"].value)
    assert all(item["json_input"] is None for item in history(fal))


def test_an_op_takes_them_in_its_config(fal: Fal, tmp_path: Path) -> None:
    @dg.job
    def banners() -> None:
        generate_images_op()

    (tmp_path / "b.jsonl").write_text(json.dumps({"prompt": "a"}), encoding="utf-8")
    config = {"prompts": str(tmp_path / "b.jsonl"), "dataset": "b", "arguments": ARGUMENTS}
    store = ImageStoreResource(root=str(tmp_path / "store"))

    def run(**request: Any) -> Any:
        ops = {"generate_images_op": {"config": {**config, "request": request}}}
        resources = {"fal": fal.resource, "image_store": store}
        return banners.execute_in_process(run_config={"ops": ops}, resources=resources, raise_on_error=False)

    assert not run(start_timeout=0.5).success
    assert not fal.bill()["rows"]
    assert run(start_timeout=30.0, priority="low", tags={"team": "ads"}).success
    [charged] = fal.charged()
    assert (charged["headers"]["x-fal-queue-priority"], charged["tags"]["team"]) == ("low", "ads")
