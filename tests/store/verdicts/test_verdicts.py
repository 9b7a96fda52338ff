"""A verdict is created once, under the next number of its image, and never changed; the last one is in the table."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_gptimg.errors import StoreError
from dagster_gptimg.store import layout
from dagster_gptimg.store.arrow_columns import batch_of
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import (
    SCHEMA,
    About,
    about_of,
    read_all_manifests,
    read_manifest,
    read_manifest_in,
    scan_manifest,
    write_manifest,
)
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.verdicts.verdict_columns import REPLACED, LastVerdicts
from dagster_gptimg.store.verdicts.verdicts import (
    NOTE_LETTERS,
    ImageId,
    Verdict,
    Verdicts,
    image_of,
    new_verdict,
    note_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.store.verdicts.verdicts import Kind

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
KEY, OTHER_KEY = "ab" + "0" * 62, "cd" + "0" * 62
SHA, OTHER_SHA = "1" * 64, "2" * 64
IMAGE = ImageId(KEY, 0, SHA)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(Store(str(tmp_path / "store")), "d")


def verdict(kind: Kind = "rejected", note: str | None = None, by: str | None = "ann") -> Verdict:
    return new_verdict(kind, note, by, NOW)


def record(dataset: Dataset, image: ImageId = IMAGE, **about: Any) -> dict[str, Any]:
    uri = dataset.uri(layout.image_name(layout.image_stem(image.key, "R1", image.place), "png"))
    told = {"row_id": "r", "prompt": "p", "status": "stored", "image_index": 0, "arguments": "{}", "columns": "{}"}
    return {**told, "request_key": image.key, "uri": uri, "sha256": image.sha256, **about}


def shown(dataset: Dataset, partition: str | None = None) -> list[tuple[Any, ...]]:
    names = ("verdict", "verdict_note", "verdict_by", "verdict_number")
    return [tuple(row[name] for name in names) for row in read_manifest(dataset, partition).to_pylist()]


# -- facts


def test_a_number_is_taken_once_and_what_stands_there_never_changes(dataset: Dataset) -> None:
    verdicts, first = Verdicts(dataset), verdict("rejected", "blurred")
    assert verdicts.create(IMAGE, 1, first)
    assert not verdicts.create(IMAGE, 1, verdict("approved"))
    assert verdicts.read(IMAGE, 1) == first
    assert verdicts.create(IMAGE, 1, first), "a repeated put of our own makes us the winner"


def test_of_many_at_once_one_has_the_number(dataset: Dataset) -> None:
    verdicts, barrier, won = Verdicts(dataset), threading.Barrier(8), list[bool]()

    def give() -> None:
        mine = verdict()
        barrier.wait(10)
        won.append(verdicts.create(IMAGE, 1, mine))

    threads = [threading.Thread(target=give) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(won) == [False] * 7 + [True]


def test_a_create_whose_reply_is_lost_is_looked_up(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts, create = Verdicts(dataset), dataset.store.create

    def loses_the_reply(name: str, data: bytes) -> None:
        create(name, data)
        raise StoreError("reset")

    def is_down(name: str, data: bytes) -> None:
        raise StoreError("down")

    monkeypatch.setattr(dataset.store, "create", loses_the_reply)
    assert verdicts.create(IMAGE, 1, verdict())
    monkeypatch.setattr(dataset.store, "create", is_down)
    with pytest.raises(StoreError, match="down"):
        verdicts.create(IMAGE, 2, verdict())


def test_texts_become_one_line_of_bounded_length() -> None:
    found = verdict(note="a\x1b[2J\n\u202eb\ud800", by="x" * 999)
    assert found.note is not None
    assert found.note.isprintable()
    assert len(found.by or "") == 200
    assert len(note_of("y" * 9999) or "") == NOTE_LETTERS
    assert (note_of(""), note_of(" \n"), verdict(by="").by) == (None, None, None)


@pytest.mark.parametrize("sha256", ["../../x", "A" * 64, "1" * 63, ""])
def test_what_is_no_sha256_names_no_verdict(dataset: Dataset, sha256: str) -> None:
    assert image_of(record(dataset, sha256=sha256)) is None


def test_an_image_is_named_by_its_own_key_only(dataset: Dataset) -> None:
    assert image_of(record(dataset)) == IMAGE
    assert image_of(record(dataset, request_key=OTHER_KEY)) is None
    assert image_of(record(dataset, uri="s3://elsewhere/x.png")) is None
    assert image_of(record(dataset, uri=None)) is None


# -- in the image table


def test_the_last_verdict_is_laid_over_a_table_that_was_written_before_it(dataset: Dataset) -> None:
    write_manifest(dataset, None, [record(dataset), record(dataset, ImageId(KEY, 1, OTHER_SHA))], lambda: About("r"))
    assert shown(dataset) == [(None,) * 4] * 2
    Verdicts(dataset).create(IMAGE, 1, verdict("approved"))
    Verdicts(dataset).create(IMAGE, 2, verdict("rejected", "blurred", "bob"))
    assert shown(dataset) == [("rejected", "blurred", "bob", 2), (None,) * 4]
    table = read_manifest(dataset, None)
    assert (about_of(table).recipe, table["verdict_at"].to_pylist()) == ("r", [NOW, None])
    Verdicts(dataset).create(IMAGE, 3, verdict("cleared", "no, it is fine"))
    assert shown(dataset) == [(None, None, None, 3), (None,) * 4]
    assert read_all_manifests(dataset).equals(read_manifest(dataset, None))


def test_a_table_that_is_written_has_them_and_needs_no_verdict_opened(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = Verdicts(dataset)
    for place in range(3):
        verdicts.create(ImageId(KEY, place, SHA), 1, verdict("rejected", str(place)))
    rows = [record(dataset, ImageId(KEY, place, SHA)) for place in range(3)]
    opened = list[str]()
    read = dataset.store.read

    def counted(name: str) -> bytes:
        opened.append(name)
        return read(name)

    monkeypatch.setattr(dataset.store, "read", counted)
    write_manifest(dataset, None, [dict(row) for row in rows])
    assert len([name for name in opened if "/verdicts/" in name]) == 3
    assert [row["verdict_note"] for batch in scan_manifest(dataset, None) for row in batch.to_pylist()] == [*"012"]
    opened.clear()
    write_manifest(dataset, None, [dict(row) for row in rows])  # a later run's records know nothing of verdicts
    assert shown(dataset)[2] == ("rejected", "2", "ann", 1)
    assert not [name for name in opened if "/verdicts/" in name]
    verdicts.create(ImageId(KEY, 1, SHA), 2, verdict("approved"))
    assert [row[0] for row in shown(dataset)] == ["rejected", "approved", "rejected"]
    assert len([name for name in opened if "/verdicts/" in name]) == 1
    write_manifest(dataset, None, [dict(row) for row in rows])
    assert [row["verdict"] for batch in scan_manifest(dataset, None) for row in batch.to_pylist()] == [
        "rejected",
        "approved",
        "rejected",
    ], "what the earlier table says of verdict 1 is not taken for verdict 2"


def test_records_that_are_written_in_batches_get_the_last_verdicts_as_single_ones_do(dataset: Dataset) -> None:
    verdicts, new = Verdicts(dataset), ImageId(KEY, 2, OTHER_SHA)
    verdicts.create(ImageId(KEY, 0, SHA), 1, verdict("rejected", "blurred"))
    verdicts.create(ImageId(KEY, 1, SHA), 1, verdict("cleared"))
    verdicts.create(ImageId(KEY, 2, SHA), 1, verdict("approved"))
    images = (ImageId(KEY, 0, SHA), ImageId(KEY, 1, SHA), new, ImageId(KEY, 3, SHA))
    rows = [record(dataset, image, verdict="approved", verdict_number=9) for image in images]
    tables = []
    for records in (rows, [batch_of(rows[:3], SCHEMA), rows[3]], [batch_of(rows, SCHEMA)]):
        write_manifest(dataset, None, records)
        tables.append(pa.Table.from_batches(scan_manifest(dataset, None)).combine_chunks())
    assert tables[0]["verdict"].to_pylist() == ["rejected", None, None, None]
    assert tables[0]["verdict_number"].to_pylist() == [1, 1, None, None]
    assert tables[0]["notes"].to_pylist() == [None] * 4, "notes on verdicts are made when it is read"
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_what_a_record_says_of_a_verdict_that_is_not_on_record_does_not_count(dataset: Dataset) -> None:
    write_manifest(dataset, None, [record(dataset, verdict="approved", verdict_number=1)])
    assert shown(dataset) == [(None,) * 4]
    Verdicts(dataset).create(IMAGE, 1, verdict())
    write_manifest(dataset, None, [record(dataset)])
    path = f"d/{layout.verdict_name(*IMAGE, 1)}"
    assert shown(dataset)[0][0] == "rejected"
    dataset.store.delete(path)
    assert shown(dataset) == [(None,) * 4]


def test_a_verdict_on_an_image_that_was_replaced_does_not_count_and_it_says_so(dataset: Dataset) -> None:
    Verdicts(dataset).create(IMAGE, 1, verdict())
    new = ImageId(KEY, 0, OTHER_SHA)
    write_manifest(dataset, None, [record(dataset, new, notes="odd")])
    assert shown(dataset) == [(None,) * 4]
    assert read_manifest(dataset, None)["notes"].to_pylist() == [f"odd; {REPLACED}"]
    assert read_manifest_in(dataset, layout.WHOLE)["notes"].to_pylist() == ["odd"], "said when it is read"
    Verdicts(dataset).create(new, 1, verdict("approved"))
    assert read_manifest(dataset, None)["notes"].to_pylist() == ["odd"]


def test_a_verdict_that_cannot_be_read_counts_as_none_and_it_says_so(dataset: Dataset) -> None:
    write_manifest(dataset, None, [record(dataset)])
    Verdicts(dataset).create(IMAGE, 1, verdict("approved"))
    torn = f"d/{layout.verdict_name(*IMAGE, 2)}"
    dataset.store.create(torn, b'{"version": 7}')
    for _ in range(2):
        assert shown(dataset) == [(None, None, None, 2)]
        assert "number 2, cannot be read" in read_manifest(dataset, None)["notes"].to_pylist()[0]
        write_manifest(dataset, None, [record(dataset)])
    dataset.store.write(torn, verdict("rejected").model_dump_json().encode())
    assert shown(dataset) == [("rejected", None, "ann", 2)]


def test_a_table_of_an_earlier_release_is_read_with_verdicts(dataset: Dataset) -> None:
    Verdicts(dataset).create(IMAGE, 1, verdict())
    earlier = pa.Table.from_pylist([record(dataset)])
    with pa.BufferOutputStream() as out:
        pq.write_table(earlier, out)
        dataset.store.write(f"d/{layout.manifest_name(None)}", out.getvalue().to_pybytes())
    assert shown(dataset) == [("rejected", None, "ann", 1)]
    write_manifest(dataset, None, [record(dataset)])
    assert shown(dataset) == [("rejected", None, "ann", 1)]


def test_other_files_in_the_folder_are_no_verdicts(dataset: Dataset) -> None:
    write_manifest(dataset, None, [record(dataset)])
    folder = f"d/{layout.verdicts_folder('ab')}"
    for name in (".DS_Store", f"{KEY}-0.{SHA}.0.json", f"{KEY}-00.{SHA}.1.json", f"{KEY}-0.{SHA}.1.json.bak"):
        dataset.store.create(f"{folder}/{name}", b"{}")
    assert shown(dataset) == [(None,) * 4]
    assert not LastVerdicts(dataset).digest


def test_the_digest_changes_with_each_verdict_and_not_with_their_order(tmp_path: Path) -> None:
    digests = list[list[str]]()
    given = [(IMAGE, 1), (IMAGE, 2), (ImageId(OTHER_KEY, 0, SHA), 1)]
    for number, order in enumerate((given, given[::-1])):
        dataset, found = Dataset(Store(str(tmp_path / str(number))), "d"), list[str]()
        for image, place in order:
            Verdicts(dataset).create(image, place, verdict())
            found.append(LastVerdicts(dataset).digest)
        digests.append(found)
    assert len({*digests[0]}) == 3
    assert digests[0][-1] == digests[1][-1]


def test_erasure_takes_the_notes_of_a_request_and_leaves_the_verdicts(dataset: Dataset) -> None:
    verdicts, other = Verdicts(dataset), ImageId("ab" + "1" * 62, 0, SHA)
    for image, number in ((IMAGE, 1), (IMAGE, 2), (ImageId(KEY, 1, OTHER_SHA), 1), (other, 1)):
        verdicts.create(image, number, verdict("rejected", "for nobody else"))
    torn = f"d/{layout.verdict_name(*IMAGE, 3)}"
    dataset.store.create(torn, b'{"note": "for nobody else')
    for _ in range(2):
        verdicts.erase(KEY)
        assert [verdicts.read(IMAGE, n).note for n in (1, 2)] == [None, None]
        assert (verdicts.read(IMAGE, 2).verdict, verdicts.read(IMAGE, 2).by) == ("rejected", "ann")
        assert b"for nobody else" not in dataset.store.read(torn)
        assert verdicts.read(other, 1).note == "for nobody else"
