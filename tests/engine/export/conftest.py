"""Datasets to export, without a purchase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import galleries

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """An empty dataset."""
    return galleries.dataset_in(tmp_path / "store")


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """The folder of an export, which is not there yet."""
    return tmp_path / "out"
