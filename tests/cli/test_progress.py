"""What a run looks like on a terminal."""

import io
from decimal import Decimal

import pytest
from rich.console import Console

from dagster_gptimg.cli.progress import RunView
from dagster_gptimg.engine.events import Finished, Planned, Progress
from dagster_gptimg.engine.record.summary import Summary
from dagster_gptimg.engine.wording import forecast


@pytest.mark.parametrize(("total", "is_drawn"), [(0, False), (3, True)])
def test_a_run_that_has_nothing_to_do_draws_no_bar(total: int, is_drawn: bool) -> None:  # noqa: FBT001
    out = io.StringIO()
    with RunView(Console(file=out, force_terminal=True, highlight=False, width=80)) as view:
        view(Planned(Summary(rows=3, reused=3)))
        view(Progress(done=total, total=total, in_flight=0, failed=0, spent=Decimal(0)))
        view(Finished(Summary(rows=3, reused=3), "file:///s/d/manifests/_whole/manifest.parquet"))
    assert ("in flight" in out.getvalue()) is is_drawn
    assert "images: file:///s/d/images" in out.getvalue()


def test_a_plan_adds_up_to_its_rows_and_counts_one_as_one() -> None:
    summary = Summary(rows=500, stored=463, reused=463, refused=3, missing=30, erased=1, held=1, lost=2)
    assert forecast(summary) == (
        "500 rows, 463 images reused, 3 rows refused, 1 row held, 2 rows lost, 30 rows missing, 1 row erased; "
        "0 images to buy for $0.00"
    )
    assert forecast(Summary(rows=1, bought=1)).startswith("1 row, 0 images reused; 1 image to buy")
