"""The outcomes of one request: a chain of kinds, in the order in which they were recorded, each an object of its own.

stored    its images are in the store; this counts wherever it stands in the chain, otherwise the last kind counts
refused   words about the content
free      a failure that fal never bills
ended     it has no images, and neither of the two
given N   the user no longer waits for it (again=lost, said in run N); it is looked for all the same
reopened  fal has said afterwards that it has images (a signed webhook)
free?  refused?   written by an earlier version, from one reading that may have been a blip
"""

from __future__ import annotations

from typing import TypeAlias

Kinds: TypeAlias = "tuple[str, ...]"


def says(kinds: Kinds) -> str:
    """What the outcomes of one request come to, without the number of a run."""
    return "stored" if "stored" in kinds else kind_of(kinds[-1])


def kind_of(word: str) -> str:
    """`word` without the number of a run."""
    return word.split(maxsplit=1)[0]


def is_doubtful(kind: str) -> bool:
    """Whether an earlier version wrote this, from one reading that may have been a blip."""
    return kind.endswith("?")


def may_follow(kinds: Kinds, word: str) -> bool:
    """Whether an outcome may stand behind those of the same request: an image always, others where none is sure.

    The same word of the user's, and a webhook that comes again, count once.
    """
    if not kinds:
        return True
    if says(kinds) == "stored" or word in kinds:
        return False
    last, kind = kind_of(kinds[-1]), kind_of(word)
    is_open = last in {"reopened", "given"} or is_doubtful(last)
    return kind == "stored" or (kind != last and (is_open or kind == "reopened"))
