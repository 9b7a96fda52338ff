"""The statuses of rows, each once, with what it means: index, engine, summaries, checks, help and docs rest on it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self


class _About(NamedTuple):
    """What is to be known of a status; `RowStatus` says what each field means."""

    meaning: str
    rank: int
    may_be_billed: bool = False
    is_final: bool = False
    is_in_doubt: bool = False
    is_trouble: bool = False


class RowStatus(StrEnum):
    """What a row has come to; each member is the text that stands in the image table.

    The order of the members is the one in which a summary tells its counts.

    Attributes:
        meaning: what has happened, in one sentence.
        rank: of the requests of a row, the one whose status has the lowest rank decides; 0 is the worst.
        may_be_billed: whether fal may have billed the row's request.
        is_final: whether no run changes it by itself.
        is_in_doubt: whether it may have been paid for, has no image, and no run is sure to bring one.
        is_trouble: whether a run names such a row in its log. `again` takes these words.
    """

    meaning: str
    rank: int
    may_be_billed: bool
    is_final: bool
    is_in_doubt: bool
    is_trouble: bool

    STORED = ("stored", _About("its images are in the store, checked", rank=8, may_be_billed=True, is_final=True))
    REFUSED = (
        "refused",
        _About(
            "fal, or the model, refused the content: two readings say so, and it is final",
            rank=5,
            may_be_billed=True,
            is_final=True,
            is_trouble=True,
        ),
    )
    FAILED = ("failed", _About("fal answered with an error of its own, at two readings", rank=4, is_trouble=True))
    HELD = (
        "held",
        _About(
            "a request was sent and no reply came, and fal's history does not show it either: it may have been bought",
            rank=0,
            may_be_billed=True,
            is_in_doubt=True,
            is_trouble=True,
        ),
    )
    LOST = (
        "lost",
        _About(
            "it was paid for, and fal does not have the images any more, or has ended without any",
            rank=1,
            may_be_billed=True,
            is_in_doubt=True,
            is_trouble=True,
        ),
    )
    NOT_SUBMITTED = (
        "not_submitted",
        _About("the run ended before its turn: the budget, an interrupt, an account that is locked", rank=6),
    )
    IN_FLIGHT = ("in_flight", _About("fal has it, and this run ended first", rank=2, may_be_billed=True))
    MISSING = (
        "missing",
        _About(
            "its images were in the store, and a file is gone or has another size",
            rank=3,
            may_be_billed=True,
            is_in_doubt=True,
            is_trouble=True,
        ),
    )
    ERASED = ("erased", _About("`forget` erased it, at the user's word", rank=7, is_final=True))

    def __new__(cls, text: str, about: _About) -> Self:
        """A member: its text, and what is to be known of it."""
        member = str.__new__(cls, text)
        member._value_ = text
        for name, value in about._asdict().items():
            setattr(member, name, value)
        member.__doc__ = about.meaning
        return member

    @property
    def words(self) -> str:
        """The status for people: without underscores."""
        return self.value.replace("_", " ")


TOLD = tuple(status for status in RowStatus if status is not RowStatus.STORED)
"""Statuses that a summary tells in its line where their counts are not zero; `stored` is told by its images."""

FINAL_STATUSES = frozenset(status for status in RowStatus if status.is_final)
"""Statuses of rows that no run changes by itself."""

MAYBE_BILLED = frozenset(status for status in RowStatus if status.may_be_billed)
"""Statuses of rows whose requests fal may have billed."""

COMPLETE = frozenset({RowStatus.STORED, RowStatus.ERASED})
"""Statuses of rows of which nobody waits for an image."""

IN_DOUBT = tuple(status for status in RowStatus if status.is_in_doubt)
"""Statuses of rows that may have been paid for, and have no image in the store."""

REJECTED = "rejected"
"""The word of the option `again` for another take of rows whose images are rejected: no status."""

AGAIN = (*(status for status in RowStatus if status.is_trouble), REJECTED)
"""The words of the option `again`; everything else in it is a row's id."""
