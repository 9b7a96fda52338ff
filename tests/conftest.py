"""Fixtures that all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.testing import image_store
from tests import prompt_table as prompts
from tests.harness import Fal, emulator, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["fal", "image_store", "prompt_table", "s3", "store"]

OF_A_FILE = frozenset({"bought", "module_emulator", "shared_fal", "start_shared"})
"""Fixtures that start something for all tests of a file."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file that share such a fixture run in one process, so that it is made once."""
    for item in items:
        if not OF_A_FILE.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(item.config.rootpath).as_posix()))


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[Fal]:
    """A quick emulator with an empty bill: 0.2 s a request, 20 at once."""
    with emulator(tmp_path / "fal-emulator", "--latency", "0.2", "--slots", "20") as running:
        yield running


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """The environment of a real S3 server that is there for all tests of a worker."""
    with s3_server() as env:
        yield env


@pytest.fixture(scope="session")
def prompt_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large and wild prompt table (`tests/prompt_table.py`) as a TSV file."""
    return prompts.write(tmp_path_factory.mktemp("prompts") / "prompts.tsv")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty folder for images."""
    return tmp_path / "store"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the simulations have bent of fal's answers."""
    from tests.bender.table import PROPERTY, lines, unpacked

    every = [report for reports in terminalreporter.stats.values() for report in reports]
    told = [text for report in every for name, text in getattr(report, "user_properties", ()) if name == PROPERTY]
    if told:
        terminalreporter.section("what was bent")
        for line in lines(unpacked(told), whole=terminalreporter.verbosity > 0):
            terminalreporter.line(line)
