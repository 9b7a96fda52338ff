"""Which images are missing: by their whole paths, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_gptimg.store import present
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.present import WantedImages, image_paths
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from pathlib import Path

names = st.tuples(st.sampled_from(["00", "7f", "ff"]), st.integers(0, 20)).map(
    lambda picked: f"images/{picked[0]}/{picked[0]}{picked[1]}.png"
)


@pytest.mark.parametrize("held", [1, 3, 10_000])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=st.sets(names, max_size=12), wanted=st.lists(names, max_size=20))
def test_missing_are_those_that_are_wanted_and_not_there(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
    there: set[str],
    wanted: list[str],
) -> None:
    monkeypatch.setattr(present, "HELD", held)
    dataset = Dataset(Store(str(tmp_path_factory.mktemp("store"))), "d")
    for path in there:
        dataset.store.write(f"d/{path}", b"")
    looked_for = WantedImages()
    for start in range(0, len(wanted), 2):
        looked_for.add(wanted[start : start + 2])
    assert looked_for.missing(dataset) == {hash(path) for path in set(wanted) - there}
    assert set(image_paths(dataset)) == there


def test_nothing_is_listed_when_nothing_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "names", lambda *_: pytest.fail("listed"))
    assert WantedImages().missing(Dataset(Store(str(tmp_path)), "d")) == set()
