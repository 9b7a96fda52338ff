"""Fixtures of the engine's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.scripted import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make_scene() -> Iterator[Callable[..., Scene]]:
    """Makes jobs, with arguments of `Scene`, each over an empty dataset in memory and against a scripted fal."""
    made: list[Scene] = []

    def make(**about: Any) -> Scene:
        made.append(Scene(**about))
        return made[-1]

    yield make
    for scene in made:
        scene.forget()


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    """One such job with a run's usual options."""
    return make_scene()
