"""The tests of a group run in one process: what each process would make anew is made once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TESTS = 6
IS_SPLIT = "PYTEST_XDIST_WORKER" in os.environ


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of all processes of a run in which each test of the group leaves its process."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if IS_SPLIT else base) / "processes-of-a-group"


@pytest.mark.xdist_group("processes of a group")
@pytest.mark.parametrize("_number", range(TESTS))
def test_all_tests_of_a_group_run_in_one_process(processes: Path, _number: int) -> None:
    with processes.open("a") as file:
        file.write(f"{os.getpid()}\n")
    assert set(processes.read_text().split()) == {str(os.getpid())}
