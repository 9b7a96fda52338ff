"""Which images are missing: by their whole paths, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.images import listing as present
from dagster_gptimg.store.images.listing import WantedImages, image_paths
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from pathlib import Path

names = st.tuples(st.sampled_from(["00", "7f", "ff"]), st.integers(0, 20)).map(
    lambda picked: f"images/{picked[0]}/{picked[0]}{picked[1]}.png"
)


@pytest.mark.parametrize("held", [1, 3, 10_000])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    there=st.dictionaries(names, st.integers(0, 3), max_size=12),
    wanted=st.dictionaries(names, st.one_of(st.none(), st.integers(0, 3)), max_size=20),
)
def test_missing_are_those_that_are_wanted_and_not_there_as_large_as_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
    there: dict[str, int],
    wanted: dict[str, int | None],
) -> None:
    monkeypatch.setattr(present, "HELD", held)
    dataset = Dataset(Store(str(tmp_path_factory.mktemp("store"))), "d")
    for path, size in there.items():
        dataset.store.write(f"d/{path}", bytes(size))
    looked_for, paths = WantedImages(), list(wanted)
    for start in range(0, len(paths), 2):
        some = paths[start : start + 2]
        looked_for.add(some, [wanted[path] for path in some])
    expected = {path for path, size in wanted.items() if path not in there or size not in {None, there[path]}}
    assert looked_for.missing(dataset) == {hash(path) for path in expected}
    assert set(image_paths(dataset)) == set(there)


@pytest.mark.parametrize("kind", ["file", "memory", "s3"])
def test_sizes_come_with_the_listing_and_no_file_is_asked_for(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if kind == "s3":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
    root = {"file": str(tmp_path), "memory": f"memory://{tmp_path.name}", "s3": f"s3://bucket/{tmp_path.name}"}[kind]
    dataset = Dataset(Store(root), "d")
    sizes = {f"images/ab/ab{number}.png": number for number in range(5)}
    for path, size in sizes.items():
        dataset.store.write(f"d/{path}", bytes(size))
    for call in ("info", "_info", "cat_file", "_cat_file", "open", "exists", "_exists"):
        monkeypatch.setattr(dataset.store.fs, call, lambda *_, **__: pytest.fail("a file was asked for"), raising=False)
    looked_for = WantedImages()
    looked_for.add([*sizes, "images/ab/abx.png"], [0, 1, 2, 3, 5, None])
    assert looked_for.missing(dataset) == {hash("images/ab/ab4.png"), hash("images/ab/abx.png")}


def test_nothing_is_listed_when_nothing_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for listing in ("names", "sizes"):
        monkeypatch.setattr(Store, listing, lambda *_: pytest.fail("listed"))
    assert WantedImages().missing(Dataset(Store(str(tmp_path)), "d")) == set()
