"""Folders and globs: one table in several files, in one order, with the columns that their paths tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from dagster_gptimg.definitions.automation.table_cursor import version_of
from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts import PromptSpec, read_rows
from dagster_gptimg.prompts.partition_keys import ByValue, OnePartition
from tests.prompts.support import MODEL, problems, rows, write

if TYPE_CHECKING:
    from pathlib import Path


def parquet(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def told(source: Any, **spec: Any) -> str:
    with pytest.raises(TableError) as caught:
        rows(source, **spec)
    return str(caught.value)


def test_a_folder_of_parquet_is_one_table_in_the_order_of_its_paths(tmp_path: Path) -> None:
    for name in ("b", "a", "c/d"):
        parquet(tmp_path / f"t/{name}.parquet", prompt=[f"{name}1", f"{name}2"], n=[1, 2])
    (tmp_path / "t/_SUCCESS").touch()
    (tmp_path / "t/.part.parquet.crc").write_bytes(b"x")
    wanted = ["a1", "a2", "b1", "b2", "c/d1", "c/d2"]
    assert [row.prompt for row in rows(str(tmp_path / "t"))] == wanted
    assert [row.prompt for row in rows(tmp_path / "t")] == wanted
    assert [row.prompt for row in rows(f"{tmp_path}/t/*.parquet")] == wanted[:4]
    assert [row.prompt for row in rows(f"file://{tmp_path}/t/**/*.parquet")][-2:] == wanted[4:]
    assert [row.line for row in rows(str(tmp_path / "t"))] == [1, 2, 1, 2, 1, 2]


def test_folders_called_by_a_value_are_columns(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["x", "y", "z"], "category": ["bags", "mugs & cups", None], "year": ["01", "02", "02"]})
    schema = pa.schema([("category", pa.string()), ("year", pa.string())])
    ds.write_dataset(table, tmp_path / "t", format="parquet", partitioning=ds.partitioning(schema, flavor="hive"))
    found = {row.prompt: (row.columns["category"], row.columns["year"]) for row in rows(str(tmp_path / "t"))}
    assert found == {"x": ("bags", "01"), "y": ("mugs & cups", "02"), "z": (None, "02")}
    assert [row.prompt for row in rows(str(tmp_path / "t"), where=("category", "bags"))] == ["x"]
    assert [row.prompt for row in rows(str(tmp_path / "t"), template="{category} {year}", where=("year", "01"))] == [
        "bags 01"
    ]
    spec = PromptSpec(MODEL, where=OnePartition(ByValue("category"), "none"))
    assert list(read_rows(str(tmp_path / "t"), spec)) == []


def test_a_column_of_the_file_goes_before_that_of_its_path(tmp_path: Path) -> None:
    parquet(tmp_path / "t/quality=high/a.parquet", prompt=["x"])
    parquet(tmp_path / "t/quality=low/a.parquet", prompt=["y"], quality=["medium"])
    assert [row.arguments["quality"] for row in rows(str(tmp_path / "t"))] == ["high", "medium"]


def test_text_files_in_folders_and_globs(tmp_path: Path) -> None:
    (tmp_path / "kind=a").mkdir()
    write(tmp_path / "kind=a/2.csv", "prompt,quality\nx,low\n")
    write(tmp_path / "kind=a/1.csv", "prompt;n\ny;7\n")
    write(tmp_path / "other.txt", "z\n")
    found = rows(f"{tmp_path}/*/*.csv")
    assert [(row.prompt, row.arguments, row.columns) for row in found] == [
        ("y", {}, {"n": "7", "kind": "a"}),
        ("x", {"quality": "low"}, {"kind": "a"}),
    ]
    assert "several formats, csv, txt" in told(str(tmp_path))
    assert "no table files" in told(f"{tmp_path}/*.parquet")
    (tmp_path / "p").mkdir()
    write(tmp_path / "p/a.json", '["x"]')
    write(tmp_path / "p/b.json", '[{"prompt": "y", "n": 1}]')
    assert [row.prompt for row in rows(str(tmp_path / "p"))] == ["x", "y"]


def test_a_problem_names_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,prompt\n1,x\n2,y\n")
    write(tmp_path / "b.csv", "id,prompt\n3,z\n2,\n")
    with pytest.raises(TableError) as caught:
        rows(f"{tmp_path}/*.csv", id_column="id")
    assert [(p.source, p.line, p.column) for p in caught.value.problems] == [
        (f"{tmp_path}/b.csv", 3, "prompt"),
        (f"{tmp_path}/b.csv", 3, "id"),
    ]
    assert f"'2' is already used on line 3 of {tmp_path}/a.csv" in caught.value.problems[1].reason
    write(tmp_path / "b.csv", "id,Text\n3,z\n")
    assert f"{tmp_path}/b.csv has no column 'prompt'" in told(f"{tmp_path}/*.csv")


def test_ids_on_the_same_line_of_two_files_are_told_apart(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.csv", "id,prompt\n1,x\n")
    assert problems(f"{tmp_path}/*.csv", id_column="id")[0][:2] == (2, "id")


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "t[1]?.csv", "prompt\nx\n"))[0].prompt == "x"


@pytest.mark.parametrize(
    ("mark", "way"),
    [
        ("_delta_log/0.json", "DeltaTable"),
        (".hoodie/hoodie.properties", "Hudi"),
        ("_versions/1.manifest", "lance"),
        ("metadata/v1.metadata.json", "pyiceberg"),
    ],
)
def test_what_another_library_keeps_in_files_is_refused_with_the_way_out(tmp_path: Path, mark: str, way: str) -> None:
    parquet(tmp_path / "t/data/a.parquet", prompt=["x"])
    (tmp_path / "t" / mark).parent.mkdir()
    (tmp_path / "t" / mark).write_text("{}")
    assert way in told(str(tmp_path / "t"))


def test_folders_of_other_file_systems(tmp_path: Path) -> None:
    for name in ("2", "1"):
        with fsspec.open(f"memory://folder/kind=a/{name}.parquet", "wb") as file:
            pl.DataFrame({"prompt": [name]}).write_parquet(file)
    assert [row.prompt for row in rows("memory://folder")] == ["1", "2"]
    assert [row.prompt for row in rows("memory://folder/*/2.parquet")] == ["2"]
    assert rows("memory://folder/")[0].columns == {"kind": "a"}


def test_plain_rows_of_several_files_are_checked_in_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_gptimg.prompts.plain_rows import PlainRows

    parquet(tmp_path / "t/a.parquet", prompt=[f"a{n}" for n in range(1500)])
    parquet(tmp_path / "t/b.parquet", prompt=[f"b{n}" for n in range(1500)], n=list(range(1500)))
    seen, plain = list[bool](), PlainRows.batch

    def counted(*given: Any) -> Any:
        batch = plain(*given)
        seen.append(batch is not None)
        return batch

    monkeypatch.setattr(PlainRows, "batch", counted)
    assert len(rows(str(tmp_path / "t"))) == 3000
    assert seen == [True, True], "the first ones of each file have shown its columns"


def test_the_same_values_in_other_columns_of_another_file_are_other_inputs(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "prompt,quality\nx,auto\n")
    write(tmp_path / "b.csv", "prompt,background\ny,auto\n")
    assert [dict(row.arguments) for row in rows(f"{tmp_path}/*.csv")] == [{"quality": "auto"}, {"background": "auto"}]


def test_a_sensor_sees_that_a_folder_has_changed(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "prompt\nx\n")
    seen = [version_of(f"{tmp_path}/*.csv"), version_of(str(tmp_path))]
    write(tmp_path / "b.csv", "prompt\ny\n")
    seen += [version_of(f"{tmp_path}/*.csv"), version_of(str(tmp_path))]
    write(tmp_path / "b.csv", "prompt\nz, longer\n")
    seen += [version_of(f"{tmp_path}/*.csv"), version_of(str(tmp_path))]
    assert None not in seen
    assert len(set(seen[::2])) == len(set(seen[1::2])) == 3
