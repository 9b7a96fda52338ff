"""A blip of 3 seconds in the middle of 30 requests, over real HTTP and in a real process: by the emulator's bill.

All runs of this file go at once, each before a proxy of its own and one emulator behind them all: most of what they do
is to wait. Two of 3 minutes are under the marker `soak`.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.bender.blips import KINDS, OF_SUBMITS, PLACES, READS, ROWS
from tests.bender.blowing import Blown, blow, once_more, running
from tests.bender.test_blips import MOST_HELD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bender.cells import Cell

GROUP = pytest.mark.xdist_group("blips over HTTP")
"""One worker has the emulator, and all runs."""

AT_ONCE = 10
MOMENT, MINUTES = 3.0, 180.0


def _runs() -> dict[str, tuple[list[Cell], tuple[str, ...]]]:
    """All runs, by name: what is bent, and how the run is called."""
    found: dict[str, tuple[list[Cell], tuple[str, ...]]] = {}
    for name, kind in KINDS.items():
        found[f"reads, {name}"] = [kind.at(endpoint) for endpoint in READS], ()
        found[f"streams, {name}"] = (
            [kind.at(endpoint) for endpoint in PLACES["streams"].endpoints],
            ("--watch", "stream"),
        )
    for name, kind in OF_SUBMITS.items():
        found[f"submits, {name}"] = [kind.at("submit")], ()
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Blown]]]:
    """Every run, as it comes to its end."""
    folder = tmp_path_factory.mktemp("blips")
    with running(folder) as fal, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(blow, fal, folder, name, cells, MOMENT, *more) for name, (cells, more) in _runs().items()
        }


def check_all_are_there(blown: Blown) -> None:
    """30 paid, 30 stored, in one run."""
    assert blown.struck, "nothing was bent, and nothing was tested"
    assert blown.ran.status == 0, blown.ran.stderr
    assert blown.ran.summary["images"] == ROWS
    assert len(blown.paid) == len(set(blown.paid)) == ROWS


@GROUP
@pytest.mark.simulation
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["reads", "streams"])
def test_whatever_reads_say_for_a_moment_all_images_are_there_in_one_run(
    where: str, kind: str, runs: dict[str, Future[Blown]]
) -> None:
    check_all_are_there(runs[f"{where}, {kind}"].result())


@GROUP
@pytest.mark.simulation
@pytest.mark.parametrize("kind", OF_SUBMITS)
def test_whatever_submits_are_told_for_a_moment_the_rest_is_bought_in_the_same_run(
    kind: str, runs: dict[str, Future[Blown]]
) -> None:
    blown = runs[f"submits, {kind}"].result()
    assert blown.struck, "nothing was bent, and nothing was tested"
    _check_submits(blown)


def _check_submits(blown: Blown) -> None:
    """No row is bought twice; each row is stored or held; few are held; those paid for are found later."""
    summary = blown.ran.summary
    assert summary["images"] + summary["held"] == ROWS, blown.ran.stderr
    assert summary["held"] <= MOST_HELD
    assert blown.ran.status == (3 if summary["held"] else 0), blown.ran.stderr
    later = once_more(blown).summary if summary["held"] else summary
    paid = blown.paid
    assert len(paid) == len(set(paid)) == later["images"], blown.ran.stderr


@pytest.fixture(scope="module")
def soaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Blown]]]:
    """Both long runs, side by side."""
    folder, wanted = tmp_path_factory.mktemp("soak"), ("reads, 404 in fal's own shape", "submits, 504 page")
    with running(folder) as fal, ThreadPoolExecutor(len(wanted)) as pool:
        yield {name: pool.submit(blow, fal, folder, name, _runs()[name][0], MINUTES) for name in wanted}


@GROUP
@pytest.mark.soak
def test_reads_that_say_404_for_minutes_cost_nothing(soaks: dict[str, Future[Blown]]) -> None:
    blown = soaks["reads, 404 in fal's own shape"].result()
    if blown.ran.summary["images"] < ROWS:
        blown.ran = once_more(blown)
    check_all_are_there(blown)


@GROUP
@pytest.mark.soak
def test_submits_that_say_504_for_minutes_buy_nothing_twice_and_hold_few(soaks: dict[str, Future[Blown]]) -> None:
    _check_submits(soaks["submits, 504 page"].result())
