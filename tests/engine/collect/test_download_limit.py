"""Bytes on their way are bounded, whatever their number."""

from __future__ import annotations

import asyncio

import pytest

from dagster_gptimg.engine.collect.download_limit import DownloadLimit


async def holds(room: DownloadLimit, size: int, until: asyncio.Event, log: list[int]) -> None:
    async with room.share() as take:
        await take(size)
        log.append(size)
        await until.wait()


async def test_bytes_wait_until_there_is_room_and_large_ones_until_they_are_alone() -> None:
    room, log = DownloadLimit(most=100), list[int]()
    ends = [asyncio.Event() for _ in range(4)]
    tasks = [
        asyncio.create_task(holds(room, size, end, log)) for size, end in zip((60, 30, 50, 500), ends, strict=True)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == [60, 30]
    ends[0].set()
    await asyncio.sleep(0.01)
    assert log == [60, 30, 50]
    ends[1].set()
    await asyncio.sleep(0.01)
    assert log == [60, 30, 50]
    ends[2].set()
    await asyncio.sleep(0.01)
    assert log[-1] == 500
    ends[3].set()
    await asyncio.gather(*tasks)


async def test_a_second_try_takes_its_place_anew_and_a_failure_gives_it_back() -> None:
    room = DownloadLimit(most=100)
    async with room.share() as take:
        await take(80)
        await take(90)

    async def fails() -> None:
        async with room.share() as take:
            await take(100)
            raise OSError("reset")

    with pytest.raises(OSError, match="reset"):
        await fails()
    async with room.share() as take:
        await asyncio.wait_for(take(100), 1)


async def test_so_many_at_once() -> None:
    room, log, end = DownloadLimit(at_once=2), list[int](), asyncio.Event()
    tasks = [asyncio.create_task(holds(room, 1, end, log)) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert len(log) == 2
    end.set()
    await asyncio.gather(*tasks)
    assert len(log) == 3


async def test_two_second_tries_do_not_wait_for_each_other() -> None:
    room = DownloadLimit(most=100)

    async def twice(first: int, second: int) -> None:
        async with room.share() as take:
            await take(first)
            await asyncio.sleep(0)
            await take(second)

    await asyncio.wait_for(asyncio.gather(twice(50, 60), twice(50, 60)), 5)
