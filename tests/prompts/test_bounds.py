"""Memory is bounded by a row, whatever a table holds: what is longer is told with its line."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_gptimg.prompts.readers import lines
from tests.prompts.support import problems, rows, write

CELL = 96 * 2**20
PEAKS = {"m.csv": 330, "t.json": 380}
"""MiB more than before, where a row is held in pieces."""
PEAK = 160
"""MiB more than before elsewhere: a row, and once more its pieces."""

READ = """
import sys
from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts import PromptSpec, read_rows
from dagster_gptimg.fal.registry.builtin import get_model
def peak():
    status = open("/proc/self/status").read()  # getrusage would tell of the process that started this one, too
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024
before = peak()
try:
    list(read_rows(sys.argv[1], PromptSpec(get_model("gpt-image-1-mini"))))
except TableError as error:
    for problem in error.problems or [error]:
        print(problem)
print(peak() - before)
"""


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with one cell of 96 MB, each of a few hundred KB as a file."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, begin, piece, end in (
        ("t.csv", b"prompt,note\nx,y\nz,", b"n" * 2**20, b"\nlast,one\n"),
        ("q.csv", b'prompt,note\nx,y\nz,"', b"n" * 2**20, b'"\nlast,one\n'),
        ("m.csv", b'prompt,note\nx,y\nz,"', (b"n" * 63 + b"\n") * 2**14, b'"\nlast,one\n'),
        ("h.csv", b"", b"n" * 2**20, b"\nlast,one\n"),
        ("t.tsv", b"prompt\tnote\nx\ty\nz\t", b"n" * 2**20, b"\nlast\tone\n"),
        ("t.txt", b"x\n\n", b"n" * 2**20, b"\nlast\n"),
        ("t.jsonl", b'{"prompt": "x"}\n\n{"prompt": "', b"n" * 2**20, b'"}\n{"prompt": "last"}\n'),
        ("t.json", b'[{"prompt": "x"},\n\n{"prompt": "', b"n" * 2**20, b'"}, "last"]'),
    ):
        with gzip.open(folder / f"{name}.gz", "wb", compresslevel=6) as file:
            file.write(begin)
            for _ in range(CELL // 2**20):
                file.write(piece)
            file.write(end)
        assert (folder / f"{name}.gz").stat().st_size < 2**21
    return folder


@pytest.mark.bounds
@pytest.mark.parametrize("name", ["t.csv", "q.csv", "m.csv", "h.csv", "t.tsv", "t.txt", "t.jsonl", "t.json"])
def test_a_cell_larger_than_any_row_is_told_with_its_line_in_bounded_memory(bombs: Path, name: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", READ, str(bombs / f"{name}.gz")], capture_output=True, text=True, check=True
    )
    *told, peak = ran.stdout.splitlines()
    line = 1 if name.startswith("h") else 3
    assert f"{name}.gz:{line}: " in told[0]
    assert "more than 75,497,472 characters" in told[0]
    assert int(peak) < PEAKS.get(name, PEAK)
    if name not in {"m.csv", "h.csv", "t.json"}:
        assert len(told) == 1  # the rows after it are read


def test_long_rows_of_every_kind_are_told_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_ROW", 50)
    long = "n" * 60
    for name, text, wanted in (
        ("t.csv", f"prompt,note\nx,{long}\ny,\nz,{'n' * 47}\n", [2]),
        ("u.csv", f'prompt,note\nx,"{"n" * 30}\n{"n" * 30}"\n', [2]),
        ("t.txt", f"x\n{long}\ny\n", [2]),
        ("t.jsonl", f'{{"prompt": "x"}}\n{{"prompt": "{long}"}}\n', [2]),
    ):
        found = problems(write(tmp_path / name, text))
        assert [line for line, _, reason in found if "more than 50 characters" in reason] == wanted


def test_json_nested_600_deep_is_its_rows_problem(tmp_path: Path) -> None:
    deep = "[" * 600 + "]" * 600
    path = write(tmp_path / "t.jsonl", f'{{"prompt": "x"}}\n{{"prompt": "y", "note": {deep}}}\n{{"prompt": ""}}\n')
    assert [(line, column) for line, column, _ in problems(path)] == [(2, "note"), (3, "prompt")]
    path = write(tmp_path / "u.jsonl", f'{{"prompt": "x", "image_urls": {deep}}}\n')
    assert problems(path)[0][:2] == (1, "image_urls")
    path = write(tmp_path / "v.jsonl", f'{{"prompt": {deep}}}\n')
    assert problems(path)[0][:2] == (1, "prompt")
    path = write(tmp_path / "w.jsonl", json.dumps({"prompt": "x"}) + "\n" + "[" * 100_000 + "\n")
    assert problems(path)[0][:2] == (2, None)
    fine = "[" * 150 + "]" * 150
    assert rows(write(tmp_path / "x.jsonl", f'{{"prompt": "y", "note": {fine}}}\n'))[0].columns["note"] is not None


def test_a_cell_of_brackets_is_its_rows_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"prompt,image_urls,image_size\nx,{'[' * 1000},\ny,,{'{' * 5000}\n")
    assert [(line, column) for line, column, _ in problems(path)] == [(2, "image_urls"), (3, "image_size")]


def test_the_largest_reference_image_fits_into_a_cell() -> None:
    from dagster_gptimg.prompts.references import MAX_BYTES

    assert MAX_BYTES * 4 // 3 + 100 < lines.LONGEST_ROW
