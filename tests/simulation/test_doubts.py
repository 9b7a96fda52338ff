"""Single histories that the seeds would meet too seldom."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dagster_gptimg.engine.job import Options
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import read_manifest
from tests.simulation.world import LOW, Life, Request, World, picture


def manifest(world: World) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_manifest(Dataset(world.store, "d"), None).to_pylist()
    return rows


def live(world: World, **options: Any) -> Any:
    end = Life(world, options=Options(**{"settle": 60.0, **options})).run()
    assert end is not None
    return end.summary


def lost(world: World, *, arrived: bool) -> None:
    """One life whose only submit gets no answer."""
    world.faults = {"submit_lost" if arrived else "submit_dropped": 1.0, "history": 1.0}
    assert live(world).held == 1
    world.faults = {}


def test_a_lost_reply_is_healed_by_the_history_without_a_second_post() -> None:
    world = World(1, {}, ["thing"])
    lost(world, arrived=True)
    summary = live(world)
    assert (summary.stored, summary.reattached, len(world.requests)) == (1, 1, 1)


def test_what_the_history_does_not_show_stays_held_run_after_run() -> None:
    world = World(2, {}, ["thing"])
    lost(world, arrived=False)
    for _ in range(3):
        world.now += 10_000
        assert live(world).held == 1
    [row] = manifest(world)
    assert "--again held" in row["error"]
    assert len(world.requests) == 0


def test_the_users_word_buys_a_held_row_again_once() -> None:
    world = World(3, {}, ["thing"])
    lost(world, arrived=False)
    assert live(world, again=frozenset({"held"})).bought == 1
    assert live(world, again=frozenset({"held"})).reused == 1
    assert len(world.requests) == 1


def test_a_row_given_up_whose_request_shows_up_later_is_collected_and_told() -> None:
    world = World(4, {}, ["thing"])
    lost(world, arrived=False)
    live(world, again=frozenset({"held"}))
    # the first POST was only late: fal ends it now, and bills it
    now = world.now
    world.requests["R1"] = Request("R1", {**LOW, "prompt": "thing", "num_images": 1}, 10.0, now, "ok")
    world.now += 100
    live(world)
    [row] = manifest(world)
    assert row["cost_usd"] == Decimal("0.02")
    images = [n for p in range(256) for n in world.store.names(f"d/images/{p:02x}")]
    assert len(images) == 2


def test_two_requests_under_one_attempt_are_both_collected_and_reported() -> None:
    world = World(5, {}, ["thing"])
    live(world)
    dataset = Dataset(world.store, "d")
    [(key, _)] = dataset.receipts.by_key()
    world.requests["R1"] = Request("R1", {**LOW, "prompt": "thing", "num_images": 1}, world.now, world.now, "ok")
    dataset.receipts.create_accepted(key, 0, "webhook", world.requests["R1"].accepted)
    dataset.start_run("0-crashed")
    world.now += 100
    assert live(world).stored == 1
    [row] = manifest(world)
    assert (row["request_id"], row["cost_usd"]) == ("R0", Decimal("0.02"))
    images = [n for p in range(256) for n in world.store.names(f"d/images/{p:02x}")]
    assert len(images) == 2


@pytest.mark.parametrize("control", [True, False])
def test_resubmit_acts_only_on_a_history_that_shows_what_we_know(*, control: bool) -> None:
    world = World(6, {}, ["thing", "other"] if control else ["thing"])
    world.faults = {"submit_dropped": 1.0}
    if control:
        world.rows = ["other"]
        world.faults = {}
        live(world)
        world.rows = ["other", "thing"]
        world.faults = {"submit_dropped": 1.0}
    assert live(world).held == 1
    world.faults = {}
    world.now += 200
    summary = live(world, on_ambiguous="resubmit")
    assert summary.held == (0 if control else 1)
    assert len(world.requests) == (2 if control else 0)


def test_resubmit_does_not_act_when_the_history_may_show_it() -> None:
    world = World(7, {}, ["other"])
    live(world)
    world.rows = ["other", "thing"]
    world.faults = {"submit_dropped": 1.0}
    assert live(world).held == 1
    world.faults = {}
    # somebody's request with this prompt and other arguments: not adopted, and not proof of anything
    world.requests["R9"] = Request("R9", {"prompt": "thing", "quality": "high"}, world.now, world.now, "ok")
    world.now += 200
    assert live(world, on_ambiguous="resubmit").held == 1
    assert "R9" in manifest(world)[1]["error"]


def test_expired_results_come_from_the_history() -> None:
    world = World(8, {"expired": 1.0}, ["thing"])
    assert live(world).stored == 1


def test_a_paid_image_that_cannot_be_had_is_lost_for_now_and_found_later() -> None:
    world = World(9, {"image_gone": 1.0}, ["thing"])
    assert live(world).lost == 1
    [row] = manifest(world)
    assert (row["status"], row["request_id"]) == ("lost", "R0")
    world.faults = {}
    assert live(world).stored == 1
    assert len(world.requests) == 1


def test_a_file_that_is_cut_at_fal_itself_is_kept_when_it_comes_so_ten_minutes_apart() -> None:
    world = World(11, {"image_broken": 1.0}, ["thing"])
    assert live(world).stored == 1
    assert world.now >= 600
    [row] = manifest(world)
    assert "it is cut off before its chunk IEND" in row["notes"]
    assert "it came so again" in row["notes"]
    [path] = [path for path in world.store.fs.find(world.store.root) if "/images/" in path]
    assert world.store.fs.cat(path) == picture(world.requests["R0"].urls[0])[:-20]


def test_a_file_that_comes_broken_in_another_way_each_time_is_never_kept_and_looked_for_again() -> None:
    world = World(12, {"image_flipped": 1.0}, ["thing"])
    assert live(world).lost == 1
    assert not [path for path in world.store.fs.find(world.store.root) if "/images/" in path]
    world.faults = {}
    assert live(world).stored == 1
    assert [row["notes"] for row in manifest(world)] == ["it has 8 x 8 pixels instead of 1024 x 1024"]


def test_two_equal_requests_in_doubt_never_share_an_id_of_the_history() -> None:
    world = World(13, {"submit_lost": 1.0, "history": 1.0}, ["twins", "twins"])
    assert live(world).held == 2
    world.faults = {}
    assert live(world).reattached == 2
    every = [name for _, names in Dataset(world.store, "d").receipts.by_key() for _, name in names]
    assert sorted(name.request_id for name in every if name.how) == sorted(world.requests)


def test_free_failures_are_bounded_in_a_run_and_tried_again_by_the_next() -> None:
    world = World(10, {"failed": 1.0}, ["thing"])
    assert live(world).failed == 1
    assert len(world.requests) == 3
    world.faults = {}
    assert live(world).stored == 1
    assert len(world.billed()) == 1


def test_an_unreadable_receipt_holds_its_row_and_names_itself() -> None:
    world = World(11, {"submit_dropped": 1.0, "history": 1.0}, ["thing"])
    live(world)
    [(key, _)] = Dataset(world.store, "d").receipts.by_key()
    name = f"d/receipts/{key[:2]}/{key}.0.intent.json"
    world.store.write(name, b"")
    world.faults = {}
    assert live(world, again=frozenset({"held"})).held == 1
    assert f"{key}.0.intent.json" in manifest(world)[0]["error"]
    assert len(world.requests) == 0


def test_a_store_that_shows_that_its_create_is_not_exclusive_is_used_at_the_users_word_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(13, {}, ["thing"])
    monkeypatch.setattr(world.store, "create", world.store.write)
    with pytest.raises(UsageError, match=r"of 2 that created .*, 2 were told.* Nothing was sent\. .* --alone"):
        live(world)
    assert len(world.requests) == 0
    assert Dataset(world.store, "d").open_runs() == []
    told: list[str] = []
    options = Options(settle=60.0, alone=True)
    Life(world, options=options, on_event=lambda event: told.append(getattr(event, "message", ""))).run()
    assert any("no other run uses this dataset" in message for message in told)
    assert len(world.requests) == 1


def test_a_locked_account_stops_the_run_at_once() -> None:
    world = World(12, {"locked": 1.0}, [f"thing {n}" for n in range(6)])
    summary = live(world, max_in_flight=2)
    assert (summary.stop, summary.exit_status, len(world.requests)) == ("locked", 5, 0)
    world.faults = {}
    assert live(world).stored == 6
