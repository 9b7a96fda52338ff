"""The verdicts that have come since a moment, whoever gave them: for pages that show those of other reviewers."""

from __future__ import annotations

import threading
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.store.verdicts.verdicts import ImageId, Verdicts

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.verdicts.verdicts import Verdict

MOST = 1_000
"""Maximum changes that one call returns; the next call has the following ones."""


class Change(NamedTuple):
    """The last verdict on an image that has been judged since.

    Attributes:
        number: the verdict's, counted for each image.
        verdict: its content.
    """

    image: ImageId
    number: int
    verdict: Verdict


class VerdictChanges:
    """The last verdicts on images that were judged after this object was made. All methods may be called by threads.

    A verdict never changes and has its number in its name: a look is one listing of names, and opens only those that
    have come since the last one.
    """

    def __init__(self, dataset: Dataset) -> None:
        """List the verdicts that there are. Blocks. Raises `StoreError`."""
        self._verdicts, self._lock = Verdicts(dataset), threading.Lock()
        self._numbers, self._changes, self._sequence = self._listed(), dict[ImageId, tuple[int, Change]](), 0

    def _listed(self) -> dict[ImageId, int]:
        found: dict[ImageId, int] = {}
        for name in self._verdicts.every_name():
            image = ImageId(*name[:3])
            found[image] = max(name.number, found.get(image, 0))
        return found

    def look(self) -> None:
        """Look for new verdicts in the store. Blocks. Raises `StoreError`.

        One that cannot be read is looked for again the next time.
        """
        listed = self._listed()
        with self._lock:
            new = [(image, number) for image, number in listed.items() if number > self._numbers.get(image, 0)]
        for (image, number), verdict in self._verdicts.read_all(new):
            if verdict is not None:
                self.note(image, number, verdict)

    def note(self, image: ImageId, number: int, verdict: Verdict) -> None:
        """Note a verdict that is on record; one that is not newer than the last known one of the image is left out."""
        with self._lock:
            if number > self._numbers.get(image, 0):
                self._numbers[image] = number
                self._sequence += 1
                self._changes.pop(image, None)  # the newest is always the last
                self._changes[image] = self._sequence, Change(image, number, verdict)

    def since(self, sequence: int) -> tuple[int, list[Change]]:
        """Return the changes after a sequence number (0: all), and the sequence number of the last one of them."""
        with self._lock:
            newer = list(takewhile(lambda one: one[0] > sequence, reversed(self._changes.values())))[-MOST:]
            return (newer[0][0] if newer else min(sequence, self._sequence)), [change for _, change in reversed(newer)]
