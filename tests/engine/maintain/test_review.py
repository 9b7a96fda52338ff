"""Verdicts are given on what was seen: nothing is overwritten, applied to another image, or half applied in silence."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.maintain import review as reviewing
from dagster_gptimg.engine.maintain.review import Given, review, review_image, review_rows
from dagster_gptimg.engine.maintain.verdict_file import TOLD, parse_verdicts, read_verdicts
from dagster_gptimg.errors import StoreError, UsageError
from dagster_gptimg.store import layout
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import read_all_manifests, write_manifest
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.verdicts.verdicts import NOTE_LETTERS, ImageId, Verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHA = [f"{n:064x}" for n in range(10)]
KEYS = [f"{n:064x}" for n in range(10)]
HEAD = "row_id,image_index,sha256,verdict,note,seen\n"


def record(dataset: Dataset, row: str, index: int | None, key: str, place: int, sha256: str) -> dict[str, Any]:
    uri = dataset.uri(layout.image_name(layout.image_stem(key, "R", place), "png"))
    told = {"row_id": row, "prompt": "p", "image_index": index, "arguments": "{}", "columns": "{}", "request_key": key}
    if index is None:
        return {**told, "status": "refused"}
    return {**told, "status": "stored", "uri": uri, "sha256": sha256}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Rows a (2 images), b, a:1, and r without an image; c in two partitions; s and t share an image."""
    found = Dataset(Store(str(tmp_path / "store")), "d")
    found.open("fal")
    every = [("a", 0, KEYS[0], 0, SHA[0]), ("a", 1, KEYS[0], 1, SHA[1]), ("b", 0, KEYS[1], 0, SHA[0])]
    every += [("a:1", 0, KEYS[2], 0, SHA[2]), ("c", 0, KEYS[3], 0, SHA[3])]
    every += [("s", 0, KEYS[5], 0, SHA[5]), ("t", 0, KEYS[5], 0, SHA[5])]
    without = record(found, "r", None, KEYS[6], 0, "")
    write_manifest(found, "north", [*(record(found, *one) for one in every), without])
    write_manifest(found, "south", [record(found, "c", 0, KEYS[4], 0, SHA[4])])
    return found


def shown(dataset: Dataset) -> dict[str, str | None]:
    rows = read_all_manifests(dataset).to_pylist()
    return {f"{row['row_id']}/{row['image_index']}": row["verdict"] for row in rows if row["verdict_number"]}


def facts(dataset: Dataset) -> set[Any]:
    return {(KEYS.index(name.key), name.place, name.number) for name in Verdicts(dataset).every_name()}


def lines(*given: str) -> list[Given]:
    return parse_verdicts((HEAD + "\n".join(given)).encode(), "verdicts.csv")


def imported(dataset: Dataset, *given: str, by: str = "ann") -> tuple[int, int, list[tuple[int, str]]]:
    found = review(dataset, lines(*given), by)
    return found.recorded, found.unchanged, [(left.given.line, left.why) for left in found.not_applied]


# -- from a file


def test_an_import_is_applied_once(dataset: Dataset) -> None:
    given = (f'a,1,{SHA[1]},rejected,"blurred, ""very""",0', f"b,0,{SHA[0]},approved,,")
    assert imported(dataset, *given) == (2, 0, [])
    assert shown(dataset) == {"a/1": "rejected", "b/0": "approved"}
    assert Verdicts(dataset).read(ImageId(KEYS[0], 1, SHA[1]), 1).note == 'blurred, "very"'
    kept = facts(dataset)
    assert imported(dataset, *given, by="bob") == (0, 2, [])
    assert facts(dataset) == kept


def test_a_line_that_has_not_seen_the_last_verdict_is_not_applied(dataset: Dataset) -> None:
    assert imported(dataset, f"b,0,{SHA[0]},approved,,0") == (1, 0, [])
    late = (f"a,0,{SHA[0]},rejected,,0", f"b,0,{SHA[0]},rejected,,0")
    assert imported(dataset, *late) == (1, 0, [(3, "stale")])
    assert shown(dataset) == {"a/0": "rejected", "b/0": "approved"}
    assert imported(dataset, f"b,0,{SHA[0]},rejected,,1") == (1, 0, [])
    assert imported(dataset, f"b,0,{SHA[0]},approved,,7") == (0, 0, [(2, "stale")]), "a number that nobody has given"
    assert shown(dataset)["b/0"] == "rejected"


def test_a_verdict_is_cleared_and_clearing_nothing_records_nothing(dataset: Dataset) -> None:
    assert imported(dataset, f"b,0,{SHA[0]},cleared,,0") == (0, 1, [])
    imported(dataset, f"b,0,{SHA[0]},approved,,0")
    assert imported(dataset, f"b,0,{SHA[0]},cleared,,1") == (1, 0, [])
    assert shown(dataset) == {"b/0": None}
    assert imported(dataset, f"b,0,{SHA[0]},cleared,again,2") == (0, 1, [])
    assert len(facts(dataset)) == 2


def test_a_line_about_an_image_that_is_not_there_is_told_and_the_others_are_applied(dataset: Dataset) -> None:
    given = (f"a,0,{SHA[7]},rejected,,0", f"gone,0,{SHA[0]},rejected,,0", f"r,0,{SHA[0]},rejected,,0")
    assert imported(dataset, *given, f"a,0,{SHA[0]},approved,,0") == (
        1, 0, [(2, "replaced"), (3, "absent"), (4, "absent")],
    )  # fmt: skip
    assert shown(dataset) == {"a/0": "approved"}


def test_equal_bytes_in_two_rows_are_two_images(dataset: Dataset) -> None:
    imported(dataset, f"a,0,{SHA[0]},rejected,,0")
    assert shown(dataset) == {"a/0": "rejected"}, "b/0 has the same bytes, for another prompt"


def test_rows_that_share_an_image_share_its_verdict(dataset: Dataset) -> None:
    given = (f"s,0,{SHA[5]},rejected,,0", f"t,0,{SHA[5]},approved,,0")
    assert imported(dataset, *given) == (1, 0, [(3, "stale")])
    assert shown(dataset) == {"s/0": "rejected", "t/0": "rejected"}


def test_a_row_of_two_partitions_is_told_apart_by_its_image_or_by_the_partition(dataset: Dataset) -> None:
    imported(dataset, f"c,0,{SHA[4]},rejected,,0")
    assert facts(dataset) == {(4, 0, 1)}
    with pytest.raises(UsageError, match="2 partitions: name one"):
        review_rows(dataset, ["b", "c"], "approved", None, None)
    assert facts(dataset) == {(4, 0, 1)}
    assert review_rows(dataset, ["c"], "approved", None, None, "north").recorded == 1
    assert facts(dataset) == {(4, 0, 1), (3, 0, 1)}


def test_many_reviewers_at_once_lose_nothing(dataset: Dataset) -> None:
    barrier, told, count = threading.Barrier(6), list[tuple[int, int, int]](), 6

    def give(number: int) -> None:
        mine = lines(f"b,0,{SHA[0]},rejected,note {number},0", f"a,0,{SHA[0]},rejected,same,0")
        barrier.wait(10)
        found = review(dataset, mine, f"reviewer {number}")
        told.append((found.recorded, found.unchanged, len(found.not_applied)))

    threads = [threading.Thread(target=give, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == count
    assert sum(recorded for recorded, *_ in told) == 2, "one note on b, one verdict on a"
    assert sum(unchanged for _, unchanged, _ in told) == count - 1
    assert sum(stale for *_, stale in told) == count - 1
    assert facts(dataset) == {(1, 0, 1), (0, 0, 1)}


def test_a_store_that_fails_midway_says_so_and_the_rest_follows(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, left = dataset.store.create, [1]

    def fills_up(name: str, data: bytes) -> None:
        if not left:
            raise StoreError("disk full")
        left.pop()
        create(name, data)

    monkeypatch.setattr(dataset.store, "create", fills_up)
    given = (f"a,0,{SHA[0]},rejected,,0", f"b,0,{SHA[0]},rejected,,0")
    with pytest.raises(StoreError, match=r"disk full\. at least 1 verdict of 2 were recorded before"):
        imported(dataset, *given)
    monkeypatch.undo()
    assert imported(dataset, *given) == (1, 1, [])


# -- bad files


def wrong(*given: str, head: str = HEAD) -> str:
    with pytest.raises(UsageError) as told:
        parse_verdicts((head + "\n".join(given)).encode(), "v.csv")
    assert "Nothing was recorded" in str(told.value)
    return str(told.value)


GOOD = f"a,0,{SHA[0]},rejected,,0"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"a,first,{SHA[0]},rejected,,0", "no number in image_index"),
        (f"a,-1,{SHA[0]},rejected,,0", "no number in image_index"),
        (f"a,²,{SHA[0]},rejected,,0", "no number in image_index"),
        ("a,0,xyz,rejected,,0", "no SHA-256"),
        (f"a,0,{SHA[0]},maybe,,0", "no verdict (approved, rejected, cleared)"),
        (f"a,0,{SHA[0]},,,0", "no verdict"),
        (f"a,0,{SHA[0]},rejected,,x", "no number in seen"),
        (f"a,0,{SHA[0]},rejected,,9999999", "no number in seen"),
        (f"a,0,{SHA[0]},rejected,{'n' * (NOTE_LETTERS + 1)},0", "note of more than"),
        (f"a,0,{SHA[0]},rejected", "4 cells instead of 6"),
        (f"a,0,{SHA[0]},approved,,0", "another verdict on the image of line 2"),
        (f'a,0,{SHA[0]},"rejected,,0', "is not CSV"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_nothing_is_taken(line: str, words: str) -> None:
    told = wrong(GOOD, line)
    assert words in told
    assert "line 3 " in told


def test_all_bad_lines_are_told_and_cells_of_several_lines_are_counted() -> None:
    told = wrong(f'"a\nb",0,{SHA[0]},rejected,"x\ny",0', *(["a,0,bad,rejected,,0"] * (TOLD + 5)))
    assert "line 5 " in told
    assert "line 4 " not in told
    assert "... and 5 more" in told


@pytest.mark.parametrize(
    "head",
    ["", "row_id;image_index;sha256;verdict;note;seen\n", HEAD.replace("seen", "sean"), HEAD.replace("note", "seen")],
)
def test_a_file_without_the_columns_is_refused(head: str) -> None:
    assert "row_id, image_index, sha256, verdict, note, seen" in wrong(head=head or "\n")


def test_what_spreadsheets_do_to_a_file_is_understood(dataset: Dataset) -> None:
    head, line = "Note,Row_ID ,image_index,sha256,verdict,seen,mine", f'"=1+1",b, 0 ,{SHA[0].upper()}, Rejected,0,x'
    [one] = parse_verdicts(f"\ufeff{head}\r\n{line}\r\n\r\n".encode(), "v.csv")
    assert one == Given("b", 0, "rejected", "=1+1", SHA[0], 0, 2)
    assert lines(GOOD, GOOD) == [Given("a", 0, "rejected", None, SHA[0], 0, 2)]


def test_a_file_that_cannot_be_read_or_is_no_text_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"none\.csv cannot be read"):
        read_verdicts(str(tmp_path / "none.csv"))
    (tmp_path / "v.csv").write_bytes(HEAD.encode() + b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_verdicts(str(tmp_path / "v.csv"))
    monkeypatch.setattr("dagster_gptimg.engine.maintain.verdict_file.MOST_BYTES", 10)
    with pytest.raises(UsageError, match="more than 10 bytes"):
        read_verdicts(str(tmp_path / "v.csv"))


# -- by rows


@pytest.mark.parametrize(
    ("rows", "recorded"),
    [
        (["a"], {"a/0", "a/1"}),
        (["a:0", "b"], {"a/0", "b/0"}),
        (["a", "a:0"], {"a/0", "a/1"}),
        (["a:1:0"], {"a:1/0"}),
        (["s"], {"s/0", "t/0"}),
    ],
)
def test_rows_and_their_images_are_named(dataset: Dataset, rows: Sequence[str], recorded: set[str]) -> None:
    review_rows(dataset, rows, "rejected", "why", "ann")
    assert {*shown(dataset)} == recorded


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a", "nobody"], "'nobody'"),
        (["a:2"], "'a:2'"),
        (["r"], "'r'"),
        (["b:"], "'b:'"),
        (["b:²"], "'b:²'"),
        (["b:" + "9" * 5000], "no image table"),
        (["a:1"], "is a row, and also image 1 of row 'a'"),
    ],
)
def test_a_row_that_is_not_there_or_not_clear_is_told_and_nothing_is_recorded(
    dataset: Dataset, rows: Sequence[str], words: str
) -> None:
    with pytest.raises(UsageError) as told:
        review_rows(dataset, rows, "rejected", None, None)
    assert words in str(told.value)
    assert facts(dataset) == set()


def test_the_users_own_word_comes_after_whatever_is_there(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for verdict, number in (("rejected", 1), ("approved", 2), ("approved", 2), ("cleared", 3), ("cleared", 3)):
        review_rows(dataset, ["b"], verdict, None, None)  # type: ignore[arg-type]
        assert facts(dataset) == {(1, 0, n) for n in range(1, number + 1)}
    create = Verdicts.create

    def is_late(self: Verdicts, image: ImageId, number: int, verdict: Any) -> bool:
        if number == 4:  # another one was faster
            create(self, image, number, verdict.model_copy(update={"verdict": "approved", "nonce": "other"}))
        return create(self, image, number, verdict)

    monkeypatch.setattr(Verdicts, "create", is_late)
    assert review_rows(dataset, ["b"], "rejected", None, None).recorded == 1
    assert facts(dataset) == {(1, 0, n) for n in range(1, 6)}
    assert shown(dataset)["b/0"] == "rejected"


def test_a_note_that_is_too_long_is_refused(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="more than"):
        review_rows(dataset, ["a"], "rejected", "n" * (NOTE_LETTERS + 1), None)
    assert facts(dataset) == set()


def test_without_a_dataset_or_an_image_table_nothing_is_recorded(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no dataset 'e'"):
        review_rows(Dataset(dataset.store, "e"), ["a"], "rejected", None, None)
    with pytest.raises(UsageError, match="has no image table"):
        review_rows(dataset, ["a"], "rejected", None, None, "west")
    assert reviewing.TRIES > 10


# -- one image that the caller knows


def judged(dataset: Dataset, verdict: Any, seen: int | None, note: str | None = None) -> tuple[Any, ...]:
    found = review_image(dataset, ImageId(KEYS[1], 0, SHA[0]), Given("", 0, verdict, note, seen=seen), "ann")
    last = found.last
    return found.state, found.number, *(() if last is None else (last.verdict, last.note, last.by))


def test_a_verdict_on_a_known_image_follows_what_was_seen_and_tells_what_stands(dataset: Dataset) -> None:
    assert judged(dataset, "cleared", 0) == ("unchanged", 0)
    assert judged(dataset, "approved", 0) == ("recorded", 1, "approved", None, "ann")
    assert judged(dataset, "approved", 0) == ("unchanged", 1, "approved", None, "ann")
    review_rows(dataset, ["b"], "rejected", "dark", "ben")
    review_rows(dataset, ["a"], "rejected", None, "ben")  # other images of equal bytes
    assert judged(dataset, "approved", 1) == ("stale", 2, "rejected", "dark", "ben")
    assert judged(dataset, "rejected", 1, "dark") == ("unchanged", 2, "rejected", "dark", "ben")
    assert judged(dataset, "approved", 2, "good") == ("recorded", 3, "approved", "good", "ann")
    dataset.store.write(f"d/{layout.verdict_name(KEYS[1], 0, SHA[0], 3)}", b"{")
    assert judged(dataset, "approved", 2) == ("stale", 3)
    assert judged(dataset, "approved", 3) == ("recorded", 4, "approved", None, "ann")
    with pytest.raises(UsageError, match="more than 2000 characters"):
        judged(dataset, "approved", 4, "n" * (NOTE_LETTERS + 1))
