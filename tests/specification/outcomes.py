"""The outcomes of one request: a chain of kinds, in the order in which they were recorded, each an object of its own.

stored    its images are in the store; this counts wherever it stands in the chain, otherwise the last kind counts
deleted   on record: its images are in the store no more (pruned, or gone when the user's word acted)
gone      no object, but what a look into the store finds: its image files are not there. Somebody may put them back
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


GONE = "gone"
"""What is no fact, and may change in both directions."""


def says(kinds: Kinds) -> str:
    """What the outcomes of one request come to, without the number of a run.

    A deletion on record counts as long as the files are gone: an image that is put back counts again.
    """
    if "stored" not in kinds:
        return kind_of(kinds[-1])
    return "deleted" if "deleted" in kinds and GONE in kinds else "stored"


def has_images(kinds: Kinds) -> bool:
    """Whether the images of a request were ever in the store."""
    return "stored" in kinds


def is_gone(kinds: Kinds) -> bool:
    """Whether a look into the store finds that files of a stored request are not there."""
    return GONE in kinds


def with_files(kinds: Kinds, *, there: bool) -> Kinds:
    """The same outcomes, with the image files there, or gone."""
    facts = tuple(kind for kind in kinds if kind != GONE)
    return facts if there else (*facts, GONE)


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
    if word == "deleted":
        return has_images(kinds) and word not in kinds
    if has_images(kinds) or word in kinds:
        return False
    last, kind = kind_of(kinds[-1]), kind_of(word)
    is_open = last in {"reopened", "given"} or is_doubtful(last)
    return kind == "stored" or (kind != last and (is_open or kind == "reopened"))
