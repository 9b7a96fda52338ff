"""Fixtures of the Dagster tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_gptimg import FalResource, ImageStoreResource
from tests.harness import Fal, emulator


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[Fal]:
    """A quicker emulator: nobody here waits for pictures."""
    with emulator(tmp_path / "emulator", "--latency", "0.1", "--slots", "20") as running:
        yield running


@pytest.fixture(scope="module")
def shared_fal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fal]:
    """Such an emulator for all tests of a file."""
    with emulator(tmp_path_factory.mktemp("emulator"), "--latency", "0.1", "--slots", "20") as running:
        yield running


@pytest.fixture
def resources(fal: Fal, tmp_path: Path) -> dict[str, Any]:
    """The two resources that an image asset needs."""
    return {
        "fal": FalResource(api_key="secret-key", base_url=fal.url),
        "image_store": ImageStoreResource(root=str(tmp_path / "store")),
    }
