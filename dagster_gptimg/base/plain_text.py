"""Text from outside, made fit to be printed, logged and kept: the one place that everything people read goes through.

What would move a terminal's cursor, turn the order of letters or show a secret does nothing. `plain` and `plain_lines`
are for what is printed, `shown` is for what is kept (receipts, manifests).
"""

from __future__ import annotations

import re
import unicodedata
from decimal import ROUND_UP, Decimal

from dagster_gptimg.base.masking import masked

LETTERS = 500
"""Letters of a text of fal's that are kept, where nothing else is said."""

_JOINERS = frozenset("\u200c\u200d")
"""Persian and families of emoji are written with them; they move nothing."""

_ADDRESS = re.compile(r"(?: object)? at 0x[0-9A-Fa-f]{4,}(?=[>\s,;)\]]|$)")
"""Where an object lies in memory differs each time, and says nothing."""

_EXTRAS = {"s3fs": "s3", "gcsfs": "gcs", "adlfs": "abfs"}
"""Packages of file systems, and our extras that bring them."""


def _moves(letter: str) -> bool:
    """Whether a letter is a control or format character, half of one, or none at all."""
    return not letter.isprintable() and letter not in _JOINERS and unicodedata.category(letter) != "Zs"


def plain(text: str) -> str:
    """A text on one line, without secrets, with an escape in the place of each letter that does not print."""
    found = _ADDRESS.sub("", masked(text))
    if found.isprintable():
        return found
    return "".join(repr(letter)[1:-1] if _moves(letter) else letter for letter in found)


def plain_lines(text: str) -> str:
    """A message of several lines, each of them `plain`."""
    return "\n".join(map(plain, masked(text).split("\n")))


def shown(text: str, letters: int = LETTERS) -> str:
    """A text from outside as it may be kept: half characters replaced, control characters as one blank.

    Args:
        text: anything; whoever has secrets takes them out before.
        letters: letters of the result at most.
    """
    valid = _ADDRESS.sub("", text[: 20 * max(LETTERS, letters)]).encode("utf-8", "replace").decode("utf-8", "replace")
    if not valid.isprintable():
        valid = re.sub("\0+", " ", "".join("\0" if _moves(letter) else letter for letter in valid))
    valid = valid.strip()
    return valid if len(valid) <= letters else f"{valid[: letters - 1]}…"


def words_of(error: BaseException) -> str:
    """What an error says; its type where it says nothing (a time-out does not); an extra of ours that would mend it."""
    return (shown(masked(str(error))) or type(error).__name__) + to_install(error)


def to_install(error: BaseException) -> str:
    """The command that brings the package of a file system whose import failed; empty for every other error."""
    said = str(error) if isinstance(error, ImportError) else ""
    found = [extra for package, extra in _EXTRAS.items() if package in said]
    return f": pip install 'dagster-gptimg[{found[0]}]'" if found else ""


def counted(count: int, thing: str) -> str:
    """A number with its noun: `1 row`, `2 rows`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def dollars(amount: Decimal | float) -> str:
    """US dollars for people: `$1.23`; below ten cents what a cent cannot tell: `$0.0062`. Only nothing is `$0.00`."""
    amount = Decimal(str(amount))
    cents = amount.quantize(_CENT)
    if abs(amount) >= _TEN_CENTS or cents == amount:
        return f"${cents}"
    return f"${amount.quantize(_HUNDREDTH_OF_A_CENT, ROUND_UP)}"


_TEN_CENTS, _CENT, _HUNDREDTH_OF_A_CENT = Decimal("0.1"), Decimal("0.01"), Decimal("0.0001")
