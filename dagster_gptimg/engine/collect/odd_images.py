"""The odd images of a run, collected for one warning: they are stored unchanged, with notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_gptimg.store.settled.rows import Settled

EXAMPLES = 3
"""Maximum images that the warning names."""
NAME = 60
"""Maximum characters of a row's id in the warning."""


class Odd:
    """Counts the images with notes that a run has collected. Its text is the warning; empty for none."""

    def __init__(self) -> None:
        self._count, self._examples = 0, list[str]()

    def look_at(self, row_id: str, result: Settled, run: str) -> None:
        """Count the images of a result, if this run has collected them."""
        if result.settled_by != run:
            return
        for note in filter(None, result.notes or ()):
            self._count += 1
            if len(self._examples) < EXAMPLES:
                self._examples.append(f"row {row_id[:NAME]!r}: {note}")

    def __str__(self) -> str:
        if not self._count:
            return ""
        is_one = self._count == 1
        rest = f"; and {self._count - EXAMPLES} more" if self._count > EXAMPLES else ""
        opening = (
            "1 image is odd; it is stored unchanged"
            if is_one
            else f"{self._count} images are odd; they are stored unchanged"
        )
        return f"{opening} (see `notes` in the image table): {'; '.join(self._examples)}{rest}"
