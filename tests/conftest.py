"""Fixtures that all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.testing import fal, image_store
from tests.harness import s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["fal", "image_store", "s3", "store"]


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """The environment of a real S3 server that is there for all tests of a worker."""
    with s3_server() as env:
        yield env


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty folder for images."""
    return tmp_path / "store"
