"""Odd images of a run, for one warning: they are kept as they came, and somebody should know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_gptimg.store.settled.rows import Settled

EXAMPLES, NAME = 3, 60
"""Images that the warning names, and characters of a row's id in it."""


class Odd:
    """Counts the images that a run has collected and that have notes. As a text: the warning; empty for none."""

    def __init__(self) -> None:
        """None yet."""
        self._count, self._examples = 0, list[str]()

    def look_at(self, row_id: str, result: Settled, run: str) -> None:
        """Count the images of a result, if this run is the one that has collected them."""
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
            "1 image is odd, and is kept as it came"
            if is_one
            else f"{self._count} images are odd, and kept as they came"
        )
        return f"{opening} (notes, in the image table): {'; '.join(self._examples)}{rest}"
