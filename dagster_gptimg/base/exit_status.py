"""The exit statuses of the command line, each once, with what they mean for money; `--help` and docs show them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Literal, Self, TypeAlias


class ExitStatus(IntEnum):
    """How a command has ended, as the number that its process exits with.

    Attributes:
        meaning: what has happened.
        money: what that means for what was, or will be, billed.
    """

    meaning: str
    money: str

    COMPLETE = (
        0,
        "every row has its images, or was erased by `forget`; of other commands: what was asked for is done",
        "the summary says what was billed",
    )
    USAGE = (
        2,
        "something has to be mended first: usage, the table, the key, or a store or a fal that cannot be used at all",
        "nothing was sent, and nothing is billed",
    )
    INCOMPLETE = (
        3,
        (
            "finished; some rows are refused, failed, held, lost or missing; `verify` found something; `export` could "
            "not write an image, had none to write, or left a file that somebody has changed"
        ),
        "the summary says what was billed, and up to what, where a row is in doubt",
    )
    BUDGET = (4, "stopped by the budget", "the worst case of all that was sent is within the budget")
    UNUSABLE = (
        5,
        (
            "stopped on its way because fal or the store cannot be used any more (account locked, disk full), or there "
            "is no room for temporary files: before anything was sent, where it can be known"
        ),
        "nothing more is bought; what fal has is on record, and the next run collects it",
    )
    INTERRUPTED = (
        130,
        "interrupted",
        (
            "what still waited in fal's queue is cancelled, for nothing; what is in flight is on record, and the next "
            "run collects it"
        ),
    )

    def __new__(cls, number: int, meaning: str, money: str) -> Self:
        """A member: its number, what has happened, and what that means for money."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning, member.money = meaning, money
        return member


StopReason: TypeAlias = Literal["budget", "locked", "unusable", "interrupted"]
"""Why a run ended early: its budget, a locked account, a fal or store that failed (also: a full one), a signal."""

STOPPED: Mapping[StopReason, ExitStatus] = {
    "budget": ExitStatus.BUDGET,
    "locked": ExitStatus.UNUSABLE,
    "unusable": ExitStatus.UNUSABLE,
    "interrupted": ExitStatus.INTERRUPTED,
}
"""The exit status of a run that ended before its work did, by the reason."""
