"""What the simulated histories of one row share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def world() -> Iterator[World]:
    """A world with one row."""
    world = World(1, {}, ["thing"])
    yield world
    world.forget()
