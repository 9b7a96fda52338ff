"""A manifest is written whole or not at all, and read back as it was written; a torn one is never an empty one."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dagster_gptimg.errors import StoreError, UnreadableError
from dagster_gptimg.store.arrow_columns import BATCH
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.layout import manifest_name
from dagster_gptimg.store.manifest import (
    SCHEMA,
    About,
    Part,
    about_manifest,
    about_of,
    has_manifest,
    manifest_folders,
    read_all_manifests,
    read_manifest,
    scan_manifest,
    write_manifest,
)
from dagster_gptimg.store.manifest_columns import COLUMNS, DETAILS, VERDICT_COLUMNS
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 24, 12, 30, 0, 123456, tzinfo=UTC)
KEY = "ab" + "0" * 62
ABOUT = About("recipe", "content", (Part("t.csv", 1, "recipe"), Part("u.csv", 1)))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(Store(str(tmp_path / "store")), "d")


def image(dataset: Dataset, number: int = 0) -> str:
    """The URI of an image, in the store as it is now."""
    return dataset.uri(f"images/ab/{KEY}-R1-{number}.png")


def record(dataset: Dataset, **about: Any) -> dict[str, Any]:
    """A record with a value in each column."""
    told: dict[str, Any] = {
        "row_id": "r0", "prompt": 'é \u202e 🪑 "x"\n', "status": "stored", "image_index": 1, "images_wanted": 2,
        "uri": image(dataset), "sha256": "0" * 64, "bytes": 2**40, "width": 1024, "height": 768,
        "content_type": "image/png", "request_key": KEY, "request_id": "R1", "endpoint": "fal-ai/m",
        "arguments": '{"prompt": "x"}', "cost_usd": Decimal("0.012345"), "shared_with": "north",
        "billable_units": Decimal(2), "error_type": None, "error": "none", "submitted_at": NOW, "completed_at": NOW,
        "stored_at": NOW, "inference_s": 2.5, "columns": '{"sku": "1"}', "notes": "odd",
        "seed": 2**53 + 1, "description": "a cup", "revised_prompt": "one cup", "timings": '{"inference": 1.5}',
        "nsfw": False, "black": True, "c2pa": True, "c2pa_claim_generator": "a model 1.2", "c2pa_issuer": "a maker",
        "frames": 3,
        "take": 1,
        **dict.fromkeys(VERDICT_COLUMNS),  # they are those on record: tests/store/verdicts/test_verdicts.py
    }  # fmt: skip
    assert set(told) == {column.name for column in COLUMNS}
    return told | about


def lies(dataset: Dataset, partition: str | None = None) -> bytes:
    """The bytes of a manifest that is there."""
    return dataset.store.read(f"d/{manifest_name(partition)}")


# -- read back


def test_records_are_read_back_as_they_were_written(dataset: Dataset) -> None:
    empty = record(dataset) | dict.fromkeys(set(SCHEMA.names) - {"row_id", "prompt", "status"}, None)
    written = [record(dataset), empty]
    uri = write_manifest(dataset, None, [dict(one) for one in written])
    table = read_manifest(dataset, None)
    assert table.to_pylist() == written
    assert table.schema.names == SCHEMA.names
    assert table.schema.types == SCHEMA.types
    assert uri == dataset.uri(manifest_name(None))
    assert [row for batch in scan_manifest(dataset, None) for row in batch.to_pylist()] == written


def test_more_records_than_are_in_memory_at_once_keep_their_order(dataset: Dataset) -> None:
    count = 2 * BATCH + 1
    write_manifest(dataset, None, (record(dataset, row_id=f"r{n}", image_index=n) for n in range(count)))
    assert read_manifest(dataset, None)["image_index"].to_pylist() == list(range(count))


def test_details_that_are_empty_or_alike_add_less_than_a_five_hundredth(dataset: Dataset) -> None:
    sizes = list[int]()
    for details in (dict.fromkeys(DETAILS), {**dict.fromkeys(DETAILS), "nsfw": False, "black": False, "c2pa": False}):
        hashes = (hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(10_000))
        write_manifest(dataset, None, (record(dataset, request_key=h, sha256=h[::-1], **details) for h in hashes))
        sizes.append(len(lies(dataset)))
    assert sizes[1] - sizes[0] < 0.002 * sizes[0]


def test_a_manifest_without_records_is_there_and_empty(dataset: Dataset) -> None:
    write_manifest(dataset, None, [])
    assert read_manifest(dataset, None).num_rows == 0
    assert has_manifest(dataset, None)


@pytest.mark.parametrize(
    ("amount", "read"),
    [("0.0000001", "0.000001"), ("1.23", "1.230000"), ("NaN", None), ("1e30", None)],
)
def test_an_amount_is_rounded_up_and_one_that_cannot_be_is_not_known(
    dataset: Dataset, amount: str, read: str | None
) -> None:
    write_manifest(dataset, None, [record(dataset, cost_usd=Decimal(amount))])
    assert read_manifest(dataset, None)["cost_usd"].to_pylist() == [read and Decimal(read)]


def test_what_it_says_of_itself_is_read_with_it_and_without(dataset: Dataset) -> None:
    asked: list[int] = []
    read = iter(range(2))
    records = (record(dataset, image_index=n) for n in read)

    def about() -> About:
        asked.append(len(list(read)))  # when all records have been read
        return ABOUT

    write_manifest(dataset, None, records, about)
    assert about_manifest(dataset, None) == ABOUT
    assert about_of(read_manifest(dataset, None)) == ABOUT
    assert asked == [0]


def test_parts_that_make_no_sense_are_not_said(dataset: Dataset) -> None:
    for parts in (b"{", json.dumps([["t", "many", ""]]).encode(), json.dumps([1]).encode()):
        table = pa.table({}, schema=pa.schema([], metadata={"dagster_gptimg.parts": parts}))
        assert about_of(table).parts == ()


def test_partitions_have_a_manifest_each(dataset: Dataset) -> None:
    for partition in (None, "north", "../a b"):
        write_manifest(dataset, partition, [record(dataset, row_id=str(partition))])
    assert read_manifest(dataset, "../a b")["row_id"].to_pylist() == ["../a b"]
    assert len(manifest_folders(dataset)) == 3
    assert sorted(read_all_manifests(dataset)["row_id"].to_pylist()) == ["../a b", "None", "north"]


# -- whole, or not at all


def breaks_off(dataset: Dataset, after: int) -> Iterator[dict[str, Any]]:
    """Records that end with an error."""
    for n in range(after):
        yield record(dataset, row_id=f"new {n}")
    raise StoreError("503 slow down")


@pytest.mark.parametrize("after", [0, 1, BATCH + 1])
def test_records_that_break_off_leave_the_earlier_manifest_as_it_was(dataset: Dataset, after: int) -> None:
    write_manifest(dataset, None, [record(dataset)])
    before = lies(dataset)
    with pytest.raises(StoreError):
        write_manifest(dataset, None, breaks_off(dataset, after))
    assert lies(dataset) == before


def test_records_that_break_off_make_no_manifest(dataset: Dataset) -> None:
    with pytest.raises(StoreError):
        write_manifest(dataset, None, breaks_off(dataset, 1))
    assert not has_manifest(dataset, None)


def test_a_manifest_that_the_store_does_not_take_leaves_the_earlier_one(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(dataset, None, [record(dataset)])
    before = lies(dataset)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full)
        patched.setattr("pathlib.Path.replace", full)
        with pytest.raises(StoreError, match="No space left"):
            write_manifest(dataset, None, [record(dataset, row_id="new")])
    assert lies(dataset) == before


# -- not there, and not to be read


def test_one_that_is_not_there_is_told_from_one_that_cannot_be_read(dataset: Dataset) -> None:
    for read in (read_manifest, about_manifest, lambda *a: list(scan_manifest(*a))):
        with pytest.raises(FileNotFoundError):
            read(dataset, None)
    with pytest.raises(FileNotFoundError):
        read_all_manifests(dataset)
    write_manifest(dataset, None, [record(dataset)])
    for data in (b"", lies(dataset)[:-9], b"PAR1 but no more"):
        dataset.store.write(f"d/{manifest_name(None)}", data)
        assert has_manifest(dataset, None)
        for read in (read_manifest, about_manifest, lambda *a: list(scan_manifest(*a))):
            with pytest.raises(UnreadableError, match="exists but cannot be read"):
                read(dataset, None)


# -- where the images are


def test_addresses_are_those_of_the_store_where_it_is_now(dataset: Dataset, tmp_path: Path) -> None:
    write_manifest(dataset, None, [record(dataset)])
    moved = Dataset(Store(str(tmp_path / "moved")), "d")
    (tmp_path / "store").rename(tmp_path / "moved")
    assert read_manifest(moved, None)["uri"].to_pylist() == [image(moved)]


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "images/ab/x.png", f"images/ab/{KEY}-R1-0.png/../x", ""])
def test_an_address_of_no_image_leads_nowhere(dataset: Dataset, uri: str, caplog: pytest.LogCaptureFixture) -> None:
    write_manifest(dataset, None, [record(dataset, uri=uri)])
    assert read_manifest(dataset, None)["uri"].to_pylist() == [None]
    assert "are not those of a dataset's images" in caplog.text


def test_a_column_that_an_earlier_release_did_not_write_is_empty(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("dagster_gptimg.store.manifest.SCHEMA", SCHEMA.remove(SCHEMA.get_field_index("notes")))
        write_manifest(dataset, None, [record(dataset)])
    assert read_manifest(dataset, None).to_pylist() == [record(dataset, notes=None)]


def test_partitions_that_other_releases_wrote_are_read_together(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("dagster_gptimg.store.manifest.SCHEMA", SCHEMA.remove(SCHEMA.get_field_index("width")))
        write_manifest(dataset, "north", [record(dataset)])
    with monkeypatch.context() as later:
        later.setattr("dagster_gptimg.store.manifest.SCHEMA", SCHEMA.append(pa.field("mood", pa.string())))
        write_manifest(dataset, "south", [{**record(dataset), "mood": "calm"}])
    write_manifest(dataset, "west", [record(dataset)])
    assert read_manifest(dataset, "north").column_names == SCHEMA.names
    table = read_all_manifests(dataset)
    assert table.column_names == [*SCHEMA.names, "mood"]
    assert sorted(zip(table["width"].to_pylist(), table["mood"].to_pylist(), strict=True), key=str) == [
        (1024, "calm"), (1024, None), (None, None),
    ]  # fmt: skip
