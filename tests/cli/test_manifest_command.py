"""`dagster-gptimg manifest`: the image table in each of its formats, for programs and for any terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from dagster_gptimg import FalSettings, generate
from dagster_gptimg.fal.settings import FalUrls
from tests.harness import cli, table, target
from tests.support import MINI_LOW

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Fal


ODD = "\x1b[2J\x07bad \u202eabc\u202c \u2066x é 🪑"

IN_TURN = """
import sys
from dagster_gptimg.cli import main
arguments, forms = sys.argv[1:-1], sys.argv[-1].split(",")
for form in forms:
    sys.argv[1:] = [*arguments, form]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print(end="\\x1e")
"""
"""The command line in one process, as often as there are forms: most of a process's time goes into its imports."""


def printed(*arguments: str, forms: tuple[str, ...], env: dict[str, str]) -> list[str]:
    """What the command line prints in a process that begins with this environment, once for each last argument."""
    ran = subprocess.run(
        [sys.executable, "-c", IN_TURN, *arguments, ",".join(forms)],
        capture_output=True, env={**os.environ, **env}, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.decode().split("\x1e")[:-1]


def test_the_manifest_comes_in_four_formats(fal: Fal, store: Path, tmp_path: Path) -> None:
    cli(fal, "generate", table(tmp_path / "t.jsonl", 2, shop="a,b\n|c"), *target(store), *MINI_LOW)
    place = ("manifest", "--store", str(store), "--dataset", "d", "--format")
    parquet = cli(None, *place, "parquet").output
    assert pq.read_table(io.BytesIO(parquet)).num_rows == 2
    assert len(cli(None, *place, "csv").stdout.splitlines()) == 3
    assert "stored" in cli(None, *place, "table").stdout
    assert json.loads(cli(None, *place, "jsonl").stdout.splitlines()[0])["columns"]["shop"] == "a,b\n|c"


def test_manifests_can_be_printed_by_any_terminal(fal: Fal, store: Path) -> None:
    settings = FalSettings("test-key", FalUrls.at(fal.url))
    low = {"quality": "low", "image_size": "1024x1024"}
    rows = [{"prompt": ODD, "id": "=1+1"}, {"prompt": "-2", "id": "@x"}]
    generate(rows, store=store, dataset="d", arguments=low, id_column="id", settings=settings, progress=False)
    place = ("manifest", "--store", str(store), "--dataset", "d", "--format")
    for encoding in ("ascii", "utf-8"):
        env = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
        as_lines, as_cells, as_table = printed(*place, forms=("jsonl", "csv", "table"), env=env)
        lines = [json.loads(line) for line in as_lines.splitlines()]
        assert [line["prompt"] for line in lines] == [ODD, "-2"]
        cells = list(csv.DictReader(io.StringIO(as_cells)))
        # Data is data: a cell that a spreadsheet would take for a formula comes as it stands (docs/cli.md).
        assert [(cell["row_id"], cell["prompt"]) for cell in cells] == [("=1+1", ODD), ("@x", "-2")]
        assert all(letter.isprintable() or letter == "\n" for letter in as_table)
        assert r"\x1b[2J" in as_table
