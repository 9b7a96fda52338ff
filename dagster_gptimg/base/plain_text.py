"""Untrusted text, made safe to be printed, logged and recorded: everything that people read passes through this module.

Characters that move a terminal's cursor or change the order of letters are escaped, and secrets are masked. `plain` and
`plain_lines` are for output, `shown` is for records (receipts, manifests).
"""

from __future__ import annotations

import re
import unicodedata
from decimal import ROUND_UP, Decimal

from dagster_gptimg.base.masking import masked

LETTERS = 500
"""Maximum characters of a text from fal that are recorded, unless another limit is given."""

_JOINERS = frozenset("\u200c\u200d")
"""Characters used in Persian and in emoji families; they do not move the cursor."""

_ADDRESS = re.compile(r"(?: object)? at 0x[0-9A-Fa-f]{4,}(?=[>\s,;)\]]|$)")
"""Memory address of an object, which differs each time and has no information."""

_EXTRAS = {"s3fs": "s3", "gcsfs": "gcs", "adlfs": "abfs"}
"""Packages of file systems, and our extras that install them."""


def _moves(letter: str) -> bool:
    """Return whether a character is a control or format character, a surrogate, or unassigned."""
    return not letter.isprintable() and letter not in _JOINERS and unicodedata.category(letter) != "Zs"


def plain(text: str) -> str:
    """Return a text as one line, without secrets, with unprintable characters escaped."""
    found = _ADDRESS.sub("", masked(text))
    if found.isprintable():
        return found
    return "".join(repr(letter)[1:-1] if _moves(letter) else letter for letter in found)


def plain_lines(text: str) -> str:
    """Return a message of several lines, each of them `plain`."""
    return "\n".join(map(plain, masked(text).split("\n")))


def shown(text: str, letters: int = LETTERS) -> str:
    """Return an untrusted text for a record: surrogates are replaced, and control characters become one blank.

    Args:
        text: any text; secrets must be masked before.
        letters: maximum characters of the result.
    """
    valid = _ADDRESS.sub("", text[: 20 * max(LETTERS, letters)]).encode("utf-8", "replace").decode("utf-8", "replace")
    if not valid.isprintable():
        valid = re.sub("\0+", " ", "".join("\0" if _moves(letter) else letter for letter in valid))
    valid = valid.strip()
    return valid if len(valid) <= letters else f"{valid[: letters - 1]}…"


def words_of(error: BaseException) -> str:
    """Return an error's message, or its type if it has none (a time-out), and the extra of ours to install, if any."""
    return (shown(masked(str(error))) or type(error).__name__) + to_install(error)


def to_install(error: BaseException) -> str:
    """Return the command to install a file system's package whose import failed; empty for any other error."""
    said = str(error) if isinstance(error, ImportError) else ""
    found = [extra for package, extra in _EXTRAS.items() if package in said]
    return f": pip install 'dagster-gptimg[{found[0]}]'" if found else ""


def counted(count: int, thing: str) -> str:
    """Format a number with its noun: `1 row`, `2 rows`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def dollars(amount: Decimal | float) -> str:
    """Format US dollars: `$1.23`; amounts below ten cents with four decimals: `$0.0062`. Only zero is `$0.00`."""
    amount = Decimal(str(amount))
    cents = amount.quantize(_CENT)
    if abs(amount) >= _TEN_CENTS or cents == amount:
        return f"${cents}"
    return f"${amount.quantize(_HUNDREDTH_OF_A_CENT, ROUND_UP)}"


_TEN_CENTS = Decimal("0.1")
_CENT = Decimal("0.01")
_HUNDREDTH_OF_A_CENT = Decimal("0.0001")
