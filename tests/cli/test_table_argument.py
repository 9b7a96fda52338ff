"""Tables on the command line: standard input, formats and inputs that are said; what is printed of them."""

from __future__ import annotations

import io
import subprocess
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tests.harness import CLI, Ran, cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Fal


def piped(data: bytes, *arguments: str) -> Ran:
    """The command line with data on its standard input."""
    ran = subprocess.run([*CLI, *arguments], input=data, capture_output=True, check=False)
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


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
