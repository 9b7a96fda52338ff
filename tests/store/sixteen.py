"""Sixteen threads that create one object at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_gptimg.store.root import Store


def check_one_of_sixteen_wins(store: Store, name: str) -> None:
    """One of them makes the object, with what it has written; all others are told that it is there."""
    gate = threading.Barrier(16)

    def has_won(number: int) -> bool:
        gate.wait()
        try:
            store.create(name, b"%d" % number)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(has_won, range(16)))
    assert won.count(True) == 1
    assert store.read(name) == b"%d" % won.index(True)
