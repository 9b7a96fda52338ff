"""The verdicts that have come since: each is told once, in order, and the last one of an image only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dagster_gptimg.engine.maintain.verdict_changes import MOST, VerdictChanges
from dagster_gptimg.store.layout import verdict_name
from dagster_gptimg.store.verdicts.verdicts import ImageId, Verdicts, new_verdict
from tests import galleries

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.verdicts.verdicts import Kind

IMAGES = [ImageId(f"{n:064x}", 0, f"{n:064x}") for n in range(3)]


def give(dataset: Dataset, image: ImageId, number: int, kind: Kind = "approved") -> None:
    assert Verdicts(dataset).create(image, number, new_verdict(kind, None, "ann", datetime.now(UTC)))


def told(changes: VerdictChanges, after: int = 0) -> tuple[int, list[tuple[int, int, str]]]:
    sequence, found = changes.since(after)
    return sequence, [(IMAGES.index(one.image), one.number, one.verdict.verdict) for one in found]


def test_only_what_has_come_since_is_told_and_only_the_last_one_of_an_image(tmp_path: Path) -> None:
    dataset = galleries.dataset_in(tmp_path)
    give(dataset, IMAGES[0], 1)
    changes = VerdictChanges(dataset)
    changes.look()
    assert told(changes) == (0, [])
    give(dataset, IMAGES[1], 1)
    changes.look()
    assert told(changes) == (1, [(1, 1, "approved")])
    give(dataset, IMAGES[0], 2, "cleared")
    give(dataset, IMAGES[1], 2, "rejected")
    changes.look()
    changes.look()
    sequence, found = told(changes, 1)
    assert (sequence, sorted(found)) == (3, [(0, 2, "cleared"), (1, 2, "rejected")])
    assert told(changes, sequence) == (3, [])
    assert sorted(told(changes)[1]) == sorted(found)
    assert told(changes, 99) == (3, [])


def test_a_verdict_that_was_given_here_is_told_at_once_and_no_older_one_after_it(tmp_path: Path) -> None:
    dataset = galleries.dataset_in(tmp_path)
    changes = VerdictChanges(dataset)
    changes.note(IMAGES[2], 4, new_verdict("approved", None, "ann", datetime.now(UTC)))
    changes.note(IMAGES[2], 3, new_verdict("rejected", None, "ben", datetime.now(UTC)))
    give(dataset, IMAGES[2], 2)
    changes.look()
    assert told(changes) == (1, [(2, 4, "approved")])


def test_one_that_cannot_be_read_is_looked_for_again(tmp_path: Path) -> None:
    dataset = galleries.dataset_in(tmp_path)
    changes, name = VerdictChanges(dataset), f"d/{verdict_name(*IMAGES[0], 1)}"
    dataset.store.write(name, b"{")
    changes.look()
    assert told(changes) == (0, [])
    dataset.store.delete(name)
    give(dataset, IMAGES[0], 1)
    changes.look()
    assert told(changes) == (1, [(0, 1, "approved")])


def test_very_many_are_told_in_parts(tmp_path: Path) -> None:
    changes = VerdictChanges(galleries.dataset_in(tmp_path))
    verdict = new_verdict("approved", None, None, datetime.now(UTC))
    images = [ImageId(f"{n:064x}", 0, "0" * 64) for n in range(2 * MOST + 5)]
    for image in images:
        changes.note(image, 1, verdict)
    found, after = list[ImageId](), 0
    for _ in range(3):
        after, part = changes.since(after)
        found += [one.image for one in part]
    assert (found, changes.since(after)[1]) == (images, [])
