"""Review: verdicts on images, from the command line, a file of the gallery, or a notebook. Buys nothing.

A verdict is given on the image that was seen: its SHA-256 and the number of its last verdict say which. A verdict on an
image that has been replaced since, or that somebody else has judged anew, is not applied, and is told.

`review`, `review_rows`, `review_rest` and `review_images` look images up in the image table; `review_image` is for a
caller that knows the image (`current_images.py`), and costs one listing instead of the whole table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.maintain.all_takes import with_all_takes
from dagster_gptimg.engine.maintain.dataset_lookup import check_exists
from dagster_gptimg.errors import StoreError, UnreadableError, UsageError
from dagster_gptimg.store.manifest import read_all_manifests, read_manifest
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.verdicts.verdicts import (
    NOTE_LETTERS,
    ImageId,
    Verdicts,
    image_of,
    new_verdict,
    note_of,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.image_record import ImageRecord
    from dagster_gptimg.store.verdicts.verdicts import Kind, Verdict

TRIES = 100
"""Maximum verdicts of others on one image that a verdict follows, each recorded just before it."""

_NEEDED = [
    "row_id",
    "image_index",
    "status",
    "request_key",
    "uri",
    "sha256",
    "verdict",
    "verdict_note",
    "verdict_number",
]


class Given(NamedTuple):
    """One verdict that somebody gives.

    Attributes:
        row_id: the row of the image.
        image_index: which of the row's images it is, from 0.
        verdict: the verdict.
        note: the reviewer's note.
        sha256: of the image that was seen; None: of the one that is there now.
        seen: the number of the image's last verdict that was seen, 0 for none; None: whatever it is now.
        line: the line of the file that it is from; 0 if from none.
    """

    row_id: str
    image_index: int
    verdict: Kind
    note: str | None = None
    sha256: str | None = None
    seen: int | None = None
    line: int = 0


class NotApplied(NamedTuple):
    """A verdict that was not recorded.

    Attributes:
        given: the verdict.
        why: stale: somebody gave another one since; replaced: another image is there now; absent: the image table has
            no such image; several: it has more than one.
        words: the reason, for people.
    """

    given: Given
    why: Literal["stale", "replaced", "absent", "several"]
    words: str


@dataclass
class Reviewed:
    """What came of verdicts.

    Attributes:
        recorded: number of new verdicts.
        unchanged: number of those that were on record before.
        not_applied: those that were not recorded.
    """

    recorded: int = 0
    unchanged: int = 0
    not_applied: list[NotApplied] = field(default_factory=list)


def review(dataset: Dataset, given: Sequence[Given], by: str | None, partition: str | None = None) -> Reviewed:
    """Record verdicts on images of the image table. Can be repeated: what is on record is left as it is. Blocks.

    Args:
        dataset: the dataset.
        given: the verdicts.
        by: the reviewer.
        partition: only images of this partition; None: of all.

    Raises:
        UsageError: there is no such dataset or image table, or a note is too long; nothing was recorded.
        StoreError: the store cannot be used; the message says how many were recorded.
    """
    found = _images(dataset, partition, {one.row_id for one in given}, all_takes=True)
    reviewed = Reviewed()
    meant = list[tuple[dict[str, Any], Given]]()
    for one in given:
        at_place = found.get((one.row_id, one.image_index), {})
        records = [record for image, record in at_place.items() if one.sha256 in {None, image.sha256}]
        if len(records) == 1:
            meant.append((records[0], one))
        else:
            reviewed.not_applied.append(_not_found(one, len(at_place), len(records)))
    _apply(dataset, meant, by, reviewed)
    return reviewed


def review_rows(
    dataset: Dataset, rows: Sequence[str], verdict: Kind, note: str | None, by: str | None, partition: str | None = None
) -> Reviewed:
    """Record one verdict on all images of rows, or on one of a row's: `ROW` or `ROW:INDEX`. Blocks.

    Raises:
        UsageError: there is no such dataset, row or image, or it is not clear which one is meant; nothing was recorded.
        StoreError: the store cannot be used; the message says how many were recorded.
    """
    ids = {name for text in rows for name in (text, text.rpartition(":")[0])}
    found = _images(dataset, partition, ids)
    meant, reviewed = list[tuple[dict[str, Any], Given]](), Reviewed()
    for given in dict.fromkeys(one for text in rows for one in _given(text, found, verdict, note)):
        records = list(found[given.row_id, given.image_index].values())
        if len(records) > 1:
            msg = f"image {given.image_index} of row {given.row_id!r} is in {len(records)} partitions"
            raise UsageError(f"{msg}: name one. Nothing was recorded")
        meant.append((records[0], given))
    _apply(dataset, meant, by, reviewed)
    return reviewed


def review_rest(
    dataset: Dataset, verdict: Kind, note: str | None, by: str | None, partition: str | None = None
) -> Reviewed:
    """Record one verdict on all stored images that have none; what somebody judges meanwhile is not applied. Blocks.

    Raises:
        UsageError: there is no such dataset or image table, or the note is too long; nothing was recorded.
        StoreError: the store cannot be used; the message says how many were recorded.
    """
    table = _table(dataset, partition)
    left = table.filter(pc.and_(pc.equal(table["status"], RowStatus.STORED.value), pc.is_null(table["verdict"])))
    meant, reviewed = list[tuple[dict[str, Any], Given]](), Reviewed()
    for record in left.select(_NEEDED).to_pylist():
        seen = record["verdict_number"] or 0
        meant.append((record, Given(record["row_id"], record["image_index"] or 0, verdict, note, seen=seen)))
    _apply(dataset, meant, by, reviewed)
    return reviewed


def review_images(
    dataset: Dataset, images: Iterable[ImageRecord], verdict: Kind, note: str | None, by: str | None
) -> Reviewed:
    """Record one verdict on images, as their records show them. Blocks.

    Raises:
        UsageError: a record has no image, or the note is too long; nothing was recorded.
        StoreError: the store cannot be used; the message says how many were recorded.
    """
    meant, reviewed = list[tuple[dict[str, Any], Given]](), Reviewed()
    for image in images:
        record = {name: getattr(image, name) for name in _NEEDED}
        if image_of(record) is None or image.image_index is None:
            raise UsageError(f"row {image.row_id!r} has no image: it is {image.status}. Nothing was recorded")
        given = Given(image.row_id, image.image_index, verdict, note, seen=image.verdict_number or 0)
        meant.append((record, given))
    _apply(dataset, meant, by, reviewed)
    return reviewed


class Judged(NamedTuple):
    """What came of one verdict on one image.

    Attributes:
        state: recorded: it is new; unchanged: it was on record before; stale: somebody gave another one since, and it
            was not recorded.
        number: the number of the verdict that stands; 0 if there is none.
        last: the verdict that stands; None if there is none, or it cannot be read.
    """

    state: Literal["recorded", "unchanged", "stale"]
    number: int
    last: Verdict | None


def review_image(dataset: Dataset, image: ImageId, given: Given, by: str | None) -> Judged:
    """Record one verdict on an image, unless somebody gave another one since `given.seen`. Can be repeated. Blocks.

    The caller knows that the image table has the image: neither that nor `given.row_id` is looked at.

    Raises:
        UsageError: the note is too long; nothing was recorded.
        StoreError: the store cannot be used, and it is not known whether the verdict is on record: give it again.
    """
    _check_note(given)
    verdicts, one = Verdicts(dataset), _OneImage(dataset, by)
    before = max((name.number for name in verdicts.names(text_of(image)) if name[:3] == image), default=0)
    told = one.last(image, before) if before else ("cleared", None)
    number, _, result = one.give(image, given, before, told)
    try:
        last = verdicts.read(image, number) if number else None
    except (FileNotFoundError, UnreadableError):
        last = None
    return Judged("stale" if isinstance(result, NotApplied) else "recorded" if result else "unchanged", number, last)


def _check_note(given: Given) -> None:
    if given.note is not None and len(given.note) > NOTE_LETTERS:
        raise UsageError(f"a note has more than {NOTE_LETTERS} characters. Nothing was recorded")


def _images(
    dataset: Dataset, partition: str | None, rows: Collection[str], *, all_takes: bool = False
) -> dict[tuple[str, int], dict[ImageId, dict[str, Any]]]:
    """Return the records of rows' images by row and index, and then by image; of the current takes, or of all.

    Of takes of a row whose images have the same bytes, only the current or else the newest one is there.
    """
    table = _table(dataset, partition)
    picked = table.filter(pc.is_in(table["row_id"], pa.array(sorted(rows), pa.string())))
    every = with_all_takes(dataset, picked) if all_takes else picked
    records, current = every.select(_NEEDED).to_pylist(), picked.num_rows
    found: dict[tuple[str, int], dict[ImageId, dict[str, Any]]] = {}
    for number, record in enumerate([*records[:current], *reversed(records[current:])]):
        image = image_of(record)
        if image is None or record["image_index"] is None:
            continue
        images = found.setdefault((record["row_id"], record["image_index"]), {})
        if number < current or all(other.sha256 != image.sha256 for other in images):
            images.setdefault(image, record)
    return found


def _table(dataset: Dataset, partition: str | None) -> pa.Table:
    """Return the image table of a partition, or of all, with the last verdicts. Raises `UsageError`, `StoreError`."""
    check_exists(dataset)
    try:
        return read_all_manifests(dataset) if partition is None else read_manifest(dataset, partition)
    except FileNotFoundError as error:
        where = f"dataset {dataset.name!r}" if partition is None else f"partition {partition!r} of {dataset.name!r}"
        raise UsageError(f"{where} has no image table: run `generate` first. Nothing was recorded") from error


def _given(text: str, found: Collection[tuple[str, int]], verdict: Kind, note: str | None) -> Iterator[Given]:
    """Yield the verdicts on the images that `ROW` or `ROW:INDEX` names. Raises `UsageError`."""
    row, _, number = text.rpartition(":")
    whole = [index for name, index in found if name == text]
    index = int(number) if number.isascii() and number.isdecimal() and len(number) <= len(str(10**5)) else -1
    one = [index] if (row, index) in found else []
    if not whole and not one:
        raise UsageError(f"no image table has an image of {text!r}: use ROW or ROW:INDEX. Nothing was recorded")
    if whole and one:
        msg = f"{text!r} is a row, and also image {index} of row {row!r}: use `review import`. Nothing was recorded"
        raise UsageError(msg)
    for image_index in sorted(whole) or one:
        yield Given(text if whole else row, image_index, verdict, note)


def _not_found(given: Given, at_place: int, matching: int) -> NotApplied:
    if matching:
        return NotApplied(given, "several", f"{matching} partitions have an image of this row: name one")
    if at_place:
        return NotApplied(given, "replaced", "the image has been replaced since: look at the new one")
    return NotApplied(given, "absent", "the image table has no such image")


def _apply(dataset: Dataset, meant: Sequence[tuple[dict[str, Any], Given]], by: str | None, reviewed: Reviewed) -> None:
    """Record verdicts, side by side, those on one image in their order. Raises as `review` does."""
    by_image: dict[ImageId, list[tuple[dict[str, Any], Given]]] = {}
    for record, given in meant:
        _check_note(given)
        if (image := image_of(record)) is not None:
            by_image.setdefault(image, []).append((record, given))
    one = _OneImage(dataset, by)
    try:
        for _, results in side_by_side(dataset.store, one.judge, by_image.items()):
            for result in results:
                if isinstance(result, NotApplied):
                    reviewed.not_applied.append(result)
                else:
                    reviewed.recorded += result
                    reviewed.unchanged += not result
    except StoreError as error:
        told = f"at least {counted(reviewed.recorded, 'verdict')} of {len(meant)} were recorded before"
        raise StoreError(f"{error}. {told}: do it again, which leaves those as they are") from error
    reviewed.not_applied.sort(key=lambda left: (left.given.line, left.given.row_id, left.given.image_index))


class _OneImage:
    """Records the verdicts on one image after the other. All methods may be called from several threads."""

    def __init__(self, dataset: Dataset, by: str | None) -> None:
        """`by`: the reviewer."""
        self._verdicts, self._by = Verdicts(dataset), by

    def judge(self, one: tuple[ImageId, list[tuple[dict[str, Any], Given]]]) -> list[bool | NotApplied]:
        """Return, for each verdict on an image, whether it is new, or why it was not recorded. Raises `StoreError`."""
        image, meant = one
        record = meant[0][0]
        number = record["verdict_number"] or 0
        last = (record["verdict"] or "cleared", record["verdict_note"])
        results = list[bool | NotApplied]()
        for _, given in meant:
            number, last, result = self.give(image, given, number, last)
            results.append(result)
        return results

    def give(
        self, image: ImageId, given: Given, number: int, last: tuple[str, str | None]
    ) -> tuple[int, tuple[str, str | None], bool | NotApplied]:
        """Record one verdict; return the image's last verdict with its number, and whether it is new."""
        wanted = (given.verdict, note_of(given.note))
        for _ in range(TRIES):
            if last[0] == wanted[0] and (last[1] == wanted[1] or last[0] == "cleared"):
                return number, last, False
            if given.seen not in {None, number}:
                words = f"somebody gave a newer verdict, {last[0]}, number {number}; {given.seen} was seen"
                return number, last, NotApplied(given, "stale", words)
            verdict = new_verdict(given.verdict, given.note, self._by, datetime.now(UTC))
            number += 1
            if self._verdicts.create(image, number, verdict):
                return number, wanted, True
            last = self.last(image, number)
        return number, last, NotApplied(given, "stale", f"{TRIES} others gave verdicts just now: try again")

    def last(self, image: ImageId, number: int) -> tuple[str, str | None]:
        """Return the verdict of a number that is on record; one that cannot be read counts as none."""
        try:
            found = self._verdicts.read(image, number)
        except (FileNotFoundError, UnreadableError):
            return "", None
        return found.verdict, found.note
