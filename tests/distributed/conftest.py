"""How much the scenarios make: little in CI, and what ROWS and PARTITIONS say in `make soak`."""

from __future__ import annotations

import os

import pytest

__all__ = ["partitions", "rows"]


@pytest.fixture(scope="session")
def partitions() -> int:
    """Partitions of each backfill."""
    return int(os.environ.get("PARTITIONS", "2"))


@pytest.fixture(scope="session")
def rows() -> int:
    """Rows of each partition."""
    return int(os.environ.get("ROWS", "24"))
