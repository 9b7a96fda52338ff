"""What an option is: its default, its faces, and its rule, with the message about an invalid value."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib import import_module
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

LONGEST_SHOWN = 80
"""Maximum characters of an invalid value in its message."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule for an option's value.

    Attributes:
        words: the end of the sentence "it must be ...".
        holds: returns whether a value is valid; called with any object.
        may_be_none: whether None is valid: not set.
        choices: the valid words, if there is a fixed set.
        is_shown: whether an invalid value is shown in the message; False if it may be a secret.
    """

    words: str
    holds: Callable[[Any], bool]
    may_be_none: bool = True
    choices: tuple[str, ...] = ()
    is_shown: bool = True

    def wrong(self, value: object) -> str | None:
        """Return what is wrong with a value, as the end of a sentence; None if it is valid."""
        if (value is None and self.may_be_none) or (value is not None and self.holds(value)):
            return None
        told = shown(value) if self.is_shown else f"of the type {type(value).__name__}"
        return f"is {told}: it must be {self.words}{_near(value, self.choices)}"


def is_number(value: object) -> bool:
    """Return whether a value is a finite number, numpy's included."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return False
    try:
        return math.isfinite(value)
    except (ValueError, OverflowError):  # a signalling NaN; a number beyond the range of floats
        return False


def number(words: str, low: float, high: float = math.inf, *, may_be_none: bool = False) -> Rule:
    """Make the rule for a finite number in a range."""
    return Rule(words, lambda value: is_number(value) and low <= value <= high, may_be_none)


def whole(low: int, *, may_be_none: bool = True) -> Rule:
    """Make the rule for a whole number of at least `low`."""

    def holds(value: object) -> bool:
        return is_number(value) and isinstance(value, Integral) and int(value) >= low

    return Rule(f"a whole number, {low} or more", holds, may_be_none)


def one_of(*words: str, may_be_none: bool = False) -> Rule:
    """Make the rule for one of several words."""
    listed = f"{', '.join(words[:-1])} or {words[-1]}"
    return Rule(listed, lambda value: isinstance(value, str) and value in words, may_be_none, words)


def are_texts(value: object) -> bool:
    """Return whether a value is a list of texts that are not blank."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        return False
    return all(isinstance(item, str) and item.strip() for item in value)


def are_places(value: object) -> bool:
    """Return whether a value is a list of folders or URLs that are not blank."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        return False
    return all(isinstance(item, str | os.PathLike) and os.fspath(item).strip() for item in value)


def has_names(value: object) -> bool:
    """Whether a value is a mapping whose keys are texts."""
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def are_named_texts(value: object) -> bool:
    """Whether a value is a mapping of texts to texts."""
    return isinstance(value, Mapping) and has_names(value) and all(isinstance(text, str) for text in value.values())


def is_pair(value: object) -> bool:
    """Return whether a value is a pair of texts."""
    return isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(part, str) for part in value)  # noqa: PLR2004


TEXT = Rule("a text", lambda value: isinstance(value, str))
SAID_TEXT = Rule("a text", lambda value: isinstance(value, str), may_be_none=False)
FILLED = Rule("a text that is not blank", lambda value: isinstance(value, str) and bool(value.strip()))
TEXTS = Rule("a list of texts, none of them blank", are_texts, may_be_none=False)
FLAG = Rule("true or false", lambda value: isinstance(value, bool), may_be_none=False)
FILLED_SAID = Rule(FILLED.words, FILLED.holds, may_be_none=False)
MAPPING = Rule("a mapping of names (texts) to values", has_names, is_shown=False)
TEXTS_BY_NAME = Rule("a mapping of names to texts", are_named_texts, is_shown=False)
MOST_LINK = 7 * 24 * 3600
"""Seconds. Object stores sign no link for longer."""

LINK_SECONDS = Rule(
    f"a whole number of seconds from 1 to {MOST_LINK}",
    lambda value: whole(1).holds(value) and value <= MOST_LINK,
)
SECONDS = number("a number of seconds, 0 or more", 0)
DOLLARS = number("an amount of US dollars, 0 or more", 0, may_be_none=True)
SHARE = number("a share from 0 to 1", 0, 1)
SHARE_OR_ANY = number("a share from 0 to 1", 0, 1, may_be_none=True)


def made(name: str, by: str, *, may_be_none: bool = True, package: str = "dagster_gptimg") -> Rule:
    """An object of a class that a package has by this name; it is looked up when there is a value to compare."""

    def holds(value: object) -> bool:
        return isinstance(value, getattr(import_module(package), name))

    return Rule(f"made by {by}", holds, may_be_none, is_shown=False)


def any_of(*rules: Rule) -> Rule:
    """What one of these rules takes; a wrong value is shown if each of them shows it."""
    return Rule(
        " or ".join(rule.words for rule in rules),
        lambda value: any(rule.holds(value) for rule in rules),
        all(rule.may_be_none for rule in rules),
        is_shown=all(rule.is_shown for rule in rules),
    )


def _near(value: object, choices: Collection[str]) -> str:
    near = difflib.get_close_matches(value.strip().lower(), choices, 1) if isinstance(value, str) else []
    return f"; did you mean {near[0]}?" if near else ""


def shown(value: object) -> str:
    """Return a value for a message, shortened."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


Face: TypeAlias = Literal[
    "asset",
    "run",
    "op",
    "component",
    "notebook",
    "command line",
    "checks",
    "sensor",
    "store",
    "requests",
    "partitions",
    "export",
]
"""Where an option is given: an asset's definition, the run config of one run (`run`), the op's config, the component's
attributes, `generate()`, the command line, the checks, the sensor, the store (`ImageStoreResource`, and the component's
`store`), `RequestSettings`, partitions by date, and exports."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        name: as every face calls it, if `OTHER_NAMES` has no other name for it.
        default: what holds when nothing is said.
        rule: what a value must be.
        description: what it does, in one or two sentences; for help, schemas and docs.
        faces: where it is given.
    """

    name: str
    default: Any
    rule: Rule
    description: str
    faces: frozenset[Face] = frozenset()


def on_faces(faces: frozenset[Face], *options: Option) -> tuple[Option, ...]:
    """Return options that are given on these faces."""
    return tuple(replace(option, faces=faces) for option in options)
