"""Fixtures that all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness import Fal, emulator, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[Fal]:
    """A quick emulator of its own, with an empty bill."""
    with emulator(tmp_path / "emulator", "--latency", "0.2", "--slots", "20") as running:
        yield running


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """The environment of a real S3 server that is there for all tests of a worker."""
    with s3_server() as env:
        yield env


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty folder for images."""
    return tmp_path / "store"
