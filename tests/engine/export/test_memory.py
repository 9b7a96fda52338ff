"""Exports in flat memory: ten times the images take no more of it. The peak is that of the whole process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.options import LAYOUTS
from tests import galleries
from tests.galleries import Row, picture
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.bounds

FEW, MANY = 2_000, 20_000
MORE = 24
"""MiB that ten times the images may take more; a zip's own list of files is among them."""

RUN = """
import atexit, sys
def peak():
    status = open("/proc/self/status").read()
    print("peak", int(status.partition("VmHWM:")[2].split()[0]) // 1024, file=sys.stderr)
atexit.register(peak)
from dagster_gptimg.cli import main
main()
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets of small images: `few` and `many`."""
    folder = tmp_path_factory.mktemp("stores")
    images = [picture(number, 32) for number in range(7)]
    for name, count in (("few", FEW), ("many", MANY)):
        rows = (
            Row(f"row-{n}", f"a cup, number {n}, " * 20, (images[n % 7],), columns=(("kind", f"k{n % 50}"), ("n", n)))
            for n in range(count)
        )
        galleries.write(galleries.dataset_in(folder / "store", name), rows)
    return folder


def peak(stores: Path, dataset: str, layout: str) -> int:
    """The peak of an export in MiB; a second export of the same is part of it."""
    where = ["--store", str(stores / "store"), "--dataset", dataset, "--to", str(stores / f"{dataset}-{layout}")]
    most = 0
    for _ in range(2):
        command = [sys.executable, "-c", RUN, "export", *where, "--layout", layout]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
        assert ran.returncode == 0, ran.stderr
        most = max(most, int(ran.stderr.split()[-1]))
    return most


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ten_times_the_images_take_no_more_memory(layout: str, stores: Path) -> None:
    few, many = peak(stores, "few", layout), peak(stores, "many", layout)
    assert many < few + MORE, f"{few} MiB for {FEW} images, {many} MiB for {MANY}"
