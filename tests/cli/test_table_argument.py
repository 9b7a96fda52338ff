"""Tables on the command line: standard input, formats and inputs that are said; what is printed of them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_gptimg import FalSettings, generate
from dagster_gptimg.fal.settings import FalUrls
from tests.harness import CLI, Ran, cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Fal


def piped(data: bytes, *arguments: str) -> Ran:
    """The command line with data on its standard input."""
    ran = subprocess.run([*CLI, *arguments], input=data, capture_output=True, check=False)
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


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


def test_standard_input_is_a_table(tmp_path: Path) -> None:
    place = ("--store", str(tmp_path), "--dataset", "d", "--json")
    book = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["x", "y"]}), book)
    for form, data in (("txt", b"x\ny\n"), ("csv", b"prompt;n\nx;1\ny;2\n"), ("parquet", book.getvalue())):
        ran = cli(None, "plan", "-", "--table-format", form, *place, stdin=data)
        assert (ran.status, ran.summary["rows"]) == (0, 2), ran.stderr
    ran = cli(None, "plan", "-", *place, stdin=b"x\n")
    assert ran.status == 2
    assert "needs its format: csv, tsv" in ran.stderr
    ran = piped(b'prompt\n,\n"\n', "plan", "-", "--table-format", "csv", *place)  # a real pipe
    assert "standard input:" in ran.stderr
    assert "not one of csv" in cli(None, "plan", "-", "--table-format", "xls", *place, stdin=b"").stderr


def test_a_plan_names_the_columns_and_inputs_can_be_said(fal: Fal, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("product,background,Quality,qualty\na mug,a sunny beach,low,x\n", encoding="utf-8")
    place = (
        str(table),
        "--template",
        "{product} on {background}",
        "--store",
        str(tmp_path),
        "--dataset",
        "d",
        "--json",
    )
    ran = cli(None, "plan", *place)
    assert ran.status == 2
    assert "--inputs none" in ran.stderr
    for given in (["--inputs", "Quality"], ["--inputs", " Quality , image_size"], ["--inputs", "none"]):
        ran = cli(None, "plan", *place, *given)
        if "image_size" in given[1]:
            assert "no column 'image_size' (the input's column)" in ran.stderr
            continue
        is_none = given[1] == "none"
        inputs = {} if is_none else {"Quality": "quality"}
        carried = ["Quality"] * is_none + ["background", "product", "qualty"]
        assert ran.summary["columns"] == {"inputs": inputs, "carried": carried}
        told = "none" if is_none else "'Quality' (as quality)"
        assert f"columns: inputs {told}; carried along {', '.join(map(repr, carried))}" in ran.stderr
        assert "'qualty' is not used as the input quality" in ran.stderr
    ran = cli(fal, "generate", *place, "--inputs", "Quality", "--set", "image_size=1024x1024")
    assert ran.status == 0, ran.stderr
    assert "columns: inputs 'Quality' (as quality)" in ran.stderr
    assert [row["prompt"] for row in fal.charged()] == ["a mug on a sunny beach"]


ODD = "\x1b[2J\x07bad \u202eabc\u202c \u2066x é 🪑"


def test_manifests_can_be_printed_by_any_terminal(fal: Fal, store: Path) -> None:
    settings = FalSettings("test-key", FalUrls.at(fal.url))
    low = {"quality": "low", "image_size": "1024x1024"}
    table = [{"prompt": ODD, "id": "=1+1"}, {"prompt": "-2", "id": "@x"}]
    generate(table, store=store, dataset="d", arguments=low, id_column="id", settings=settings, progress=False)
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
