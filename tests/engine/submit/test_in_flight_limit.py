"""How many requests are kept in flight."""

from __future__ import annotations

import asyncio

from dagster_gptimg.engine.submit.in_flight_limit import SPARE, START, Place, Window


def test_it_starts_wide_and_never_passes_the_users_ceiling() -> None:
    assert Window().limit == START
    window = Window(7)
    window.grow(7)
    window.learned(500, 100.0)
    assert window.limit == 7


def test_the_queue_holds_ten_minutes_at_most_and_no_slot_idles() -> None:
    window = Window()
    window.learned(2, 2 / 15)  # 2 slots, 15 s: 80 wait for ten minutes
    assert window.limit == 82
    window.learned(2, 2 / 600)
    assert window.limit == 2 + SPARE
    window.learned(40, 4.0)
    assert window.limit == START
    window.learned(400, 40.0)
    assert window.limit == 500


def test_it_doubles_while_even_the_newest_runs() -> None:
    window = Window()
    window.grow(START)
    window.grow(2 * START)
    assert window.limit == 4 * START


def test_what_was_not_seen_running_widens_nothing() -> None:
    window = Window()
    window.grow(START // 2)
    assert window.limit == START


async def test_a_place_is_waited_for_and_given_back() -> None:
    window = Window(1)
    first, second = Place(window), Place(window)
    await first.enter()
    await first.enter()
    assert (window.taken, window.is_full) == (1, True)
    entering = asyncio.create_task(second.enter())
    await asyncio.sleep(0)
    assert not entering.done()
    first.leave()
    first.leave()
    await entering
    assert window.taken == 1


async def test_turned_away_it_shrinks_and_recovers_with_what_ends() -> None:
    window = Window()
    places = [Place(window) for _ in range(START)]
    for place in places:
        await place.enter()
    window.turned_away()
    assert window.limit == 75
    window.learned(40, 4.0)
    assert window.limit == 75
    for place in places[:10]:
        place.leave()
    assert window.limit == 85
    for place in places[10:30]:
        place.leave()
    assert window.limit == START


async def test_those_who_wait_are_told_that_it_has_grown() -> None:
    window = Window()
    for _ in range(START):
        await window.acquire()
    waiting = [asyncio.create_task(window.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    window.grow(START)
    await asyncio.gather(*waiting)
    assert window.taken == START + 3
