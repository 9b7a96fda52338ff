"""Files as people have them: each shape is read right or refused with the way out, and never bought in pieces."""

from __future__ import annotations

import bz2
import gzip
import http.server
import io
import json
import lzma
import threading
import zipfile
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from pyarrow import feather

from dagster_gptimg.errors import TableError, UsageError
from dagster_gptimg.prompts import TableFile
from tests.prompts.support import problems, rows, write

if TYPE_CHECKING:
    from pathlib import Path

WANTED = [("a cup, red", "low"), ('a "mug"', None), ("zwei\nZeilen für Ärzte", "high")]
QUOTED = '"a cup, red"{0}low\n"a ""mug"""{0}\n"zwei\nZeilen für Ärzte"{0}high\n'


def told(source: Any, **spec: Any) -> str:
    with pytest.raises(TableError) as caught:
        rows(source, **spec)
    return str(caught.value)


def found(source: Any, **spec: Any) -> list[tuple[str, Any]]:
    return [(row.prompt, row.arguments.get("quality")) for row in rows(source, **spec)]


def compressed(codec: str, data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as out:
        out.write(data)
    return bytes(sink.getvalue())


def zipped(**members: bytes) -> bytes:
    """A zip archive, always the same: it is in a test's id, which must not depend on the time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


# -- CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_of_every_spreadsheet(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    text = f"prompt{delimiter}quality\n" + QUOTED.format(delimiter)
    path = write(tmp_path / "t.csv", text.replace("\n", end).encode(encoding))
    assert found(path) == [(prompt.replace("\n", end), quality) for prompt, quality in WANTED]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_line_that_names_the_separator_goes_before_the_header(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "t.csv", f"{line}\nprompt;a,b\nx;1\n;2\n")
    assert problems(path) == [(4, "prompt", "the cell is empty")]
    path = write(tmp_path / "t.csv", f"{line}\nprompt;a,b\nx;1\n")
    assert rows(path)[0].columns == {"a,b": "1"}
    assert "does not name a separator" in told(write(tmp_path / "u.csv", 'sep="\nprompt\n'))


def test_a_comma_in_the_header_goes_before_other_signs(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "prompt,a;b\nx,1;2\n")
    assert rows(path)[0].columns == {"a;b": "1;2"}
    path = write(tmp_path / "u.csv", 'prompt;"a,b"\nx;1\n')
    assert rows(path)[0].columns == {"a,b": "1"}


def test_a_cell_that_is_cut_in_pieces_is_never_bought(tmp_path: Path) -> None:
    for text in ("prompt\na cup, red\n", "prompt,quality\na cup\nred,low\n", "id;prompt\n1;a cup; red\n"):
        assert "split into several cells" in problems(write(tmp_path / "t.csv", text))[0][2]
    # One sign alone is a cell: nothing says that it separates.
    assert rows(write(tmp_path / "u.csv", "prompt\na cup; red\n"))[0].prompt == "a cup; red"


def test_empty_rows_and_columns_at_the_end_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "prompt,quality,,\nx,low,,\n\n,,,\n  ,,,\ny,,,\n,,,\n\n")
    assert found(path) == [("x", "low"), ("y", None)]
    assert found(write(tmp_path / "u.csv", "prompt,quality\nx,low,,\n")) == [("x", "low")]
    assert "3 cells" in problems(write(tmp_path / "v.csv", "prompt,quality\nx,low,y\n"))[0][2]


def test_a_column_with_cells_and_no_name_is_refused_with_the_way_out(tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["x"]}).to_csv(tmp_path / "t.csv")
    assert "index=False" in told(str(tmp_path / "t.csv"))
    assert "a column has no name" in told(write(tmp_path / "u.csv", "prompt,\nx,\ny,z\n"))
    pd.DataFrame({"prompt": ["x"]}).to_csv(tmp_path / "t.csv", index=False)
    assert found(str(tmp_path / "t.csv")) == [("x", None)]


def test_windows_1252_is_refused_and_never_bought_as_other_letters(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "prompt;note\nein Stuhl für Ärzte;ok\nok;Straße\n".encode("cp1252"))
    assert [(line, column) for line, column, _ in problems(path)] == [(2, "prompt"), (3, "note")]
    assert "byte 0xf6" in told(write(tmp_path / "u.txt", "schön\n".encode("cp1252")))


def test_tsv_has_no_quoting_and_csv_with_tabs_has(tmp_path: Path) -> None:
    assert found(write(tmp_path / "t.tsv", 'prompt\tquality\n"hello" she said\tlow\n')) == [('"hello" she said', "low")]
    assert found(write(tmp_path / "t.csv", 'prompt\tquality\n"a ""mug"""\tlow\n')) == [('a "mug"', "low")]


# -- plain text


def test_text_has_a_prompt_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", "a cup, red\r\n\r\n  a mug; \"blue\"\n'x'\n\n")
    assert [(row.prompt, row.line) for row in rows(path)] == [("a cup, red", 1), ('  a mug; "blue"', 3), ("'x'", 4)]
    assert rows(write(tmp_path / "u.txt", '\ufeff"G I G G L E" painted'.encode()))[0].prompt == '"G I G G L E" painted'


def test_excels_unicode_text_is_a_table(tmp_path: Path) -> None:
    text = "prompt\tquality\r\n" + QUOTED.format("\t").replace("\n", "\r\n")
    assert [prompt for prompt, _ in found(write(tmp_path / "t.txt", text.encode("utf-16")))][:2] == [
        "a cup, red",
        'a "mug"',
    ]
    alone = 'Prompt\r\n"a cup, red"\r\n"zwei\r\nZeilen"\r\n'.encode("utf-16")
    assert [row.prompt for row in rows(write(tmp_path / "u.txt", alone))] == ["a cup, red", "zwei\r\nZeilen"]


def test_a_line_that_is_a_piece_of_a_cell_is_refused(tmp_path: Path) -> None:
    assert [line for line, _, _ in problems(write(tmp_path / "t.txt", 'ok\n"a cup\non a table"\n'))] == [2]
    assert "doubles its quotation marks" in problems(write(tmp_path / "u.txt", '"a ""red"" cup"\n'))[0][2]


@pytest.mark.parametrize("ending", ["txt", "csv", "json", "jsonl", "tsv"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page"),
        (b"\n  <html>\n", "a web page"),
        (zipped(a=b"b"), "an Excel workbook or a zip archive"),
        (gzip.compress(b"prompt\nx\n", mtime=0), "compressed with gzip"),
        (compressed("zstd", b"prompt\nx\n"), "compressed with zstd"),
        (b"PAR1\0\0", "a Parquet file"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"{\\rtf1\\ansi a cup}", "rich text"),
    ],
)
def test_what_is_no_text_is_never_bought_as_one(tmp_path: Path, ending: str, content: bytes, words: str) -> None:
    assert words in told(write(tmp_path / f"t.{ending}", content))


# -- JSON


@pytest.mark.parametrize(
    "text",
    [
        '[{"prompt": "x", "quality": "low"}, {"prompt": "y"}]',
        '[\n  {"prompt": "x",\n   "quality": "low"},\n\n  "y"\n]\n',
        '{"version": 1, "about": {"by": "us"}, "r": [{"prompt": "x", "quality": "low"}, {"prompt": "y"}], "end": null}',
        '{"prompt": "x", "quality": "low"}\n{"prompt": "y"}\n',
        '{\n"prompt": "x", "quality": "low"\n}\n{"prompt": "y"}',
        '{"prompt": "x", "quality": "low"}\n\n{"prompt": "y"}',
    ],
)
def test_json_of_every_shape(tmp_path: Path, text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert found(write(tmp_path / "t.json", text.encode(encoding))) == [("x", "low"), ("y", None)]


def test_json_that_programs_write(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": ["x", "y"], "tags": [["a"], ["b", "c"]], "n": [1, 2]})
    frame.to_json(tmp_path / "t.json", orient="records")
    assert [row.columns for row in rows(str(tmp_path / "t.json"))] == [
        {"tags": ["a"], "n": 1},
        {"tags": ["b", "c"], "n": 2},
    ]
    frame.to_json(tmp_path / "t.json", orient="table", index=False)
    assert len(rows(str(tmp_path / "t.json"))) == 2
    frame.to_json(tmp_path / "t.json", orient="records", lines=True)
    assert len(rows(str(tmp_path / "t.json"))) == 2
    pl.from_pandas(frame).write_json(tmp_path / "t.json")
    assert len(rows(str(tmp_path / "t.json"))) == 2
    for orient in ("columns", "index", "split", "values"):
        frame.to_json(tmp_path / "t.json", orient=orient)
        assert "orient='records'" in told(str(tmp_path / "t.json"))


def test_lists_of_prompts(tmp_path: Path) -> None:
    for text in ('["x", "y"]', '{"prompts": ["x", "y"], "version": 2}', '{"Prompts":["x","y"]}'):
        assert [row.prompt for row in rows(write(tmp_path / "t.json", text))] == ["x", "y"]
    assert [row.prompt for row in rows(["x", "y"])] == ["x", "y"]


@pytest.mark.parametrize(
    "text",
    [
        '{"prompt": "x", "tags": ["a", "b"]}',
        '{"prompt": "x", "parts": [{"prompt": "a"}]}',
        '{"a": [{"prompt": "x"}], "b": [{"prompt": "y"}]}',
        '{"words": ["a", "b"]}',
        '{"prompt": "x"}',
        '"x"',
        "7",
        "",
        "  \n",
        '[{"prompt": "x"},]',
        '[{"prompt": "x"} {"prompt": "y"}]',
        '[{"prompt": "x"}',
        '[{"prompt": "x"}] [{"prompt": "y"}]',
        '[{"prompt": "x", "prompt": "y"}]',
        '{"rows": [{"prompt": "x"}], "rows": 1}',
        '[{"prompt": "x}]',
        '[{"prompt": tru}]',
        "[" * 5000,
    ],
)
def test_json_that_may_mean_two_things_or_none_is_refused(tmp_path: Path, text: str) -> None:
    assert len(told(write(tmp_path / "t.json", text))) < 600


def test_json_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", '[\n{"prompt": "x"},\n\n{"prompt": ""},\n7]')
    assert [(line, column) for line, column, _ in problems(path)] == [(4, "prompt"), (5, None)]
    assert "u.json:3: invalid JSON" in told(write(tmp_path / "u.json", '[\n{"prompt":\n"x" "y"}]'))


def test_a_large_json_document_is_read_piece_by_piece(tmp_path: Path) -> None:
    many = [{"prompt": f"p{n} é", "text": "x" * (n % 3000)} for n in range(3000)]
    for text in (json.dumps(many), json.dumps({"rows": many}, indent=1), "\n".join(map(json.dumps, many))):
        found = rows(write(tmp_path / "t.json", text))
        assert [(row.prompt, len(str(row.columns["text"]))) for row in found] == [
            (f"p{n} é", n % 3000) for n in range(3000)
        ]


def test_an_object_with_a_name_twice_is_its_rows_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", '{"prompt": "x"}\n{"prompt": "y", "prompt": "z"}\n')
    [(line, _, reason)] = problems(path)
    assert line == 2
    assert "'prompt' occurs twice" in reason
    assert "a list has the ending .json" in problems(write(tmp_path / "u.jsonl", '[\n{"prompt": "x"}\n]\n'))[0][2]


# -- compression


@pytest.mark.parametrize(
    ("ending", "compress"),
    [
        ("gz", gzip.compress),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("zst", lambda data: compressed("zstd", data)),
        ("lz4", lambda data: compressed("lz4", data)),
        ("zip", lambda data: zipped(anything=data)),
        ("zip", lambda data: zipped(**{"__MACOSX/._t.csv": b"x", "in/": b"", ".DS_Store": b"x", "in/t": data})),
    ],
)
@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("csv", "prompt,quality\nx,low\ny,\n"),
        ("tsv", "prompt\tquality\nx\tlow\ny\t\n"),
        ("jsonl", '{"prompt": "x", "quality": "low"}\n{"prompt": "y"}\n'),
        ("json", '[{"prompt": "x", "quality": "low"}, "y"]'),
    ],
)
def test_compressed_text(tmp_path: Path, ending: str, compress: Any, form: str, text: str) -> None:
    whole = compress(text.encode())
    assert found(write(tmp_path / f"t.{form}.{ending}", whole)) == [("x", "low"), ("y", None)]
    assert "cannot be" in told(write(tmp_path / f"u.{form}.{ending}", whole[: len(whole) * 2 // 3]))
    with fsspec.open(f"memory://c/t.{form}.{ending}", "wb") as file:
        file.write(whole)
    assert found(f"memory://c/t.{form}.{ending}") == [("x", "low"), ("y", None)]


def test_an_archive_tells_the_format_of_its_one_file_and_is_refused_with_several(tmp_path: Path) -> None:
    assert found(write(tmp_path / "export.zip", zipped(**{"data.jsonl": b'{"prompt": "x"}\n'}))) == [("x", None)]
    said = told(write(tmp_path / "two.csv.zip", zipped(**{"a.csv": b"prompt\nx\n", "b.csv": b"prompt\ny\n"})))
    assert "'a.csv', 'b.csv'" in said
    assert "zip://" in said
    assert "has no file" in told(write(tmp_path / "none.csv.zip", zipped()))
    assert "is not known" in told(write(tmp_path / "odd.zip", zipped(data=b"prompt\nx\n")))
    assert "only text files can be compressed" in told(write(tmp_path / "t.parquet.gz", gzip.compress(b"x")))


# -- Arrow files


def test_arrow_files_and_streams(tmp_path: Path) -> None:
    table = pa.table({"prompt": [f"p{n}" for n in range(3000)], "n": range(3000)})
    feather.write_feather(table, tmp_path / "t.feather")
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)
    with pa.OSFile(str(tmp_path / "t.arrows"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    for name in ("t.feather", "t.arrow", "t.arrows"):
        assert [(row.prompt, row.line) for row in rows(str(tmp_path / name))][-1] == ("p2999", 3000)
    assert "version 1" in told(write(tmp_path / "u.feather", b"FEA1\0\0\0\0"))
    assert "cannot be read" in told(write(tmp_path / "v.arrow", b"ARROW1\0\0 nothing"))


# -- the format is said


def test_a_format_can_be_said_where_the_name_does_not_tell_it(tmp_path: Path) -> None:
    path = write(tmp_path / "export", "prompt;quality\nx;low\n")
    assert "table_format=" in told(path)
    assert found(TableFile(path, "csv")) == [("x", "low")]
    assert found(TableFile(write(tmp_path / "prompts.dat", "x\ny\n"), "txt")) == [("x", None), ("y", None)]
    assert found(TableFile(write(tmp_path / "t.csv", '["x"]'), "json")) == [("x", None)]
    assert found(TableFile(write(tmp_path / "dump.gz", gzip.compress(b"prompt\nx\n")), "csv")) == [("x", None)]
    with pytest.raises(UsageError, match="not one of csv, tsv"):
        TableFile(path, "xls")
    assert repr(TableFile("https://u:SECRET@h/x?sig=SECRET", "csv")) == "TableFile('https://h/x', 'csv')"


@pytest.mark.parametrize(
    ("name", "way"),
    [("t.xls", ".xlsx"), ("t.ods", ".xlsx"), ("t.docx", ".txt"), ("t.yaml", "JSON lines"), ("t.avro", "Parquet")],
)
def test_other_formats_are_refused_with_the_way_out(tmp_path: Path, name: str, way: str) -> None:
    assert way in told(write(tmp_path / name, b"x"))


def test_text_in_utf16_without_its_mark_is_refused(tmp_path: Path) -> None:
    for name in ("t.txt", "t.csv", "t.tsv", "t.json", "t.jsonl"):
        text = '["a cup"]' if name == "t.json" else "prompt\na cup\n"
        assert "UTF-16" in told(write(tmp_path / name, text.encode("utf-16-le"))) or "invalid JSON" in told(
            write(tmp_path / name, text.encode("utf-16-le"))
        )
    assert "UTF-16" in problems(write(tmp_path / "u.txt", "a cup\na mug\n".encode("utf-16-le")))[0][2]


class Streaming(http.server.BaseHTTPRequestHandler):
    """A server as those of spreadsheets: it tells no length, and knows no ranges."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.files[self.path])

    def do_HEAD(self) -> None:
        self.send_response(405)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_only_streams_is_read_in_every_format(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["x"], "quality": ["low"]})
    pq.write_table(table, tmp_path / "p")
    feather.write_feather(table, tmp_path / "a")
    with xlsxwriter.Workbook(tmp_path / "x") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["prompt", "quality"])
        sheet.write_row(1, 0, ["x", "low"])
    Streaming.files = {
        "/export?csv": b"prompt;quality\nx;low\n",
        "/t.parquet": (tmp_path / "p").read_bytes(),
        "/t.arrow": (tmp_path / "a").read_bytes(),
        "/export?xlsx": (tmp_path / "x").read_bytes(),
        "/t.csv.zip": zipped(**{"t.csv": b"prompt,quality\nx,low\n"}),
    }
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Streaming) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            for path in Streaming.files:
                form = {"/export?csv": "csv", "/export?xlsx": "xlsx"}.get(path)
                assert found(TableFile(f"http://127.0.0.1:{server.server_port}{path}", form)) == [("x", "low")], path
        finally:
            server.shutdown()
