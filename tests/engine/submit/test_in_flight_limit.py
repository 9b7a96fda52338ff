"""How many requests are kept in flight."""

from __future__ import annotations

import asyncio

from dagster_gptimg.engine.submit.in_flight_limit import SPARE, START, InFlightLimit, Place


def test_it_starts_wide_and_never_passes_the_users_ceiling() -> None:
    assert InFlightLimit().limit == START
    in_flight_limit = InFlightLimit(7)
    in_flight_limit.grow(7)
    in_flight_limit.learned(500, 100.0)
    assert in_flight_limit.limit == 7


def test_the_queue_holds_ten_minutes_at_most_and_no_slot_idles() -> None:
    in_flight_limit = InFlightLimit()
    in_flight_limit.learned(2, 2 / 15)  # 2 slots, 15 s: 80 wait for ten minutes
    assert in_flight_limit.limit == 82
    in_flight_limit.learned(2, 2 / 600)
    assert in_flight_limit.limit == 2 + SPARE
    in_flight_limit.learned(40, 4.0)
    assert in_flight_limit.limit == START
    in_flight_limit.learned(400, 40.0)
    assert in_flight_limit.limit == 500


def test_it_doubles_while_even_the_newest_runs() -> None:
    in_flight_limit = InFlightLimit()
    in_flight_limit.grow(START)
    in_flight_limit.grow(2 * START)
    assert in_flight_limit.limit == 4 * START


def test_what_was_not_seen_running_widens_nothing() -> None:
    in_flight_limit = InFlightLimit()
    in_flight_limit.grow(START // 2)
    assert in_flight_limit.limit == START


async def test_a_place_is_waited_for_and_given_back() -> None:
    in_flight_limit = InFlightLimit(1)
    first, second = Place(in_flight_limit), Place(in_flight_limit)
    await first.enter()
    await first.enter()
    assert (in_flight_limit.taken, in_flight_limit.is_full) == (1, True)
    entering = asyncio.create_task(second.enter())
    await asyncio.sleep(0)
    assert not entering.done()
    first.leave()
    first.leave()
    await entering
    assert in_flight_limit.taken == 1


async def test_turned_away_it_shrinks_and_recovers_with_what_ends() -> None:
    in_flight_limit = InFlightLimit()
    places = [Place(in_flight_limit) for _ in range(START)]
    for place in places:
        await place.enter()
    in_flight_limit.turned_away()
    assert in_flight_limit.limit == 75
    in_flight_limit.learned(40, 4.0)
    assert in_flight_limit.limit == 75
    for place in places[:10]:
        place.leave()
    assert in_flight_limit.limit == 85
    for place in places[10:30]:
        place.leave()
    assert in_flight_limit.limit == START


async def test_those_who_wait_are_told_that_it_has_grown() -> None:
    in_flight_limit = InFlightLimit()
    for _ in range(START):
        await in_flight_limit.acquire()
    waiting = [asyncio.create_task(in_flight_limit.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    in_flight_limit.grow(START)
    await asyncio.gather(*waiting)
    assert in_flight_limit.taken == START + 3
