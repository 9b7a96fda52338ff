"""The arguments of public functions that are no options: what each must be, once.

`dagster_gptimg.options` has the options, with defaults and texts. Here is what else a function takes: objects of this
package, columns, numbers of buckets. A wrong one is refused in the same words, by the same rules, before anything is
read or sent. A name means the same on each function. Nothing heavy is imported: a class is looked up when a value is
there to be compared with it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import Any, Final

from dagster_gptimg.base.option_rules import (
    FILLED,
    FILLED_SAID,
    FLAG,
    MAPPING,
    SAID_TEXT,
    SHARE,
    TEXTS,
    TEXTS_BY_NAME,
    Rule,
    are_texts,
    is_number,
    made,
    number,
    shown,
    whole,
)
from dagster_gptimg.errors import UsageError
from dagster_gptimg.options import OTHER_NAMES

MOST_BUCKETS = 100_000
"""Maximum partitions of one asset, by Dagster's advice."""

MOST_SECONDS = 10**9
"""Maximum seconds of a duration: 31 years."""


NUMBER_OF_SECONDS = number(f"a number of seconds, from 0 to {MOST_SECONDS:,}", 0, MOST_SECONDS)


def _is_place(value: object) -> bool:
    return isinstance(value, str | os.PathLike) and bool(str(os.fspath(value)).strip())


def _is_address(value: object) -> bool:
    """Whether a value is the URL of a database, or names the variable that holds it."""
    if isinstance(value, Mapping):
        return set(value) == {"env"} and isinstance(value["env"], str)
    return isinstance(value, str)


def _is_http(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://")) and not value.endswith("://")


def _is_listed(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _is_day(value: object) -> bool:
    return isinstance(value, str | date)


def _is_duration(value: object) -> bool:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return NUMBER_OF_SECONDS.holds(seconds)


def _is_amount(value: object) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, str | int | float | Decimal) and Decimal(value) >= 0
    except InvalidOperation:
        return False


def _are_severities(value: object) -> bool:
    kind = import_module("dagster").AssetCheckSeverity
    return isinstance(value, Mapping) and all(isinstance(v, kind) and isinstance(k, str) for k, v in value.items())


def _are_inputs(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, import_module("pydantic").BaseModel)


def _is_whole(value: object) -> bool:
    return is_number(value) and isinstance(value, int)


_PARTITIONS_BY = "by_column(...), by_hash(...), by_date(...), ..."
_DAY = Rule("a date", lambda value: isinstance(value, date))
_CALLED = Rule("a function", callable)
_SEVERITIES = Rule("a mapping of checks' names to dg.AssetCheckSeverity", _are_severities, is_shown=False)
_TABLES = (made("TableFile", ""), made("SqlTable", ""))
_URL = Rule("a text, or a mapping {'env': NAME}", _is_address, may_be_none=False, is_shown=False)

ARGUMENTS: Final[Mapping[str, Rule]] = {
    # of a run
    "store": Rule("a folder or an fsspec URL, as a text or a path", _is_place, may_be_none=False, is_shown=False),
    "dataset": FILLED_SAID,
    "request": made("RequestSettings", "RequestSettings(...)"),
    "settings": made("FalSettings", "FalSettings(...) or FalSettings.from_env()"),
    "on_update": _CALLED,
    "progress": FLAG,
    "to": Rule("a folder or an fsspec URL, as a text or a path", _is_place, is_shown=False),
    "partition": FILLED,
    # of assets and checks
    "name": FILLED_SAID,
    "partitions": made("TablePartitions", _PARTITIONS_BY),
    "dimension": made("TablePartitions", _PARTITIONS_BY, may_be_none=False),
    "checks": made("ImageChecks", "ImageChecks(...)"),
    "execute": Rule("a function", callable, may_be_none=False),
    "config": made("GenerateConfig", "GenerateConfig(...)"),
    "key_prefix": Rule("a text, or a list of texts", lambda value: isinstance(value, str) or are_texts(value)),
    "metadata": MAPPING,
    "check_specs": Rule("a list of dg.AssetCheckSpec", _is_listed),
    "deps": Rule("a list of assets or asset keys", lambda value: isinstance(value, Iterable)),
    "required_resource_keys": Rule("a set of texts", are_texts),
    "include": Rule("a list of texts, none of them blank", are_texts),
    "blocking": TEXTS,
    "severity": _SEVERITIES,
    "partitioned": FLAG,
    "public_url": Rule("an http(s) URL", _is_http),
    "group_name": FILLED,
    "min_reviewed": SHARE,
    "overdue_after": Rule(f"a timedelta or a number of seconds, from 0 to {MOST_SECONDS:,} s", _is_duration),
    # of schedules and sensors
    "tags": TEXTS_BY_NAME,
    "watermark": FILLED,
    # of partitions
    "column": FILLED_SAID,
    "keys": Rule(
        "a list of texts, or the path of a file", lambda value: _is_place(value) or _is_listed(value), may_be_none=False
    ),
    "buckets": Rule(
        f"a whole number from 1 to {MOST_BUCKETS}",
        lambda value: whole(1).holds(value) and value <= MOST_BUCKETS,
        may_be_none=False,
    ),
    "start": Rule("a date, or an ISO 8601 text", _is_day, may_be_none=False),
    "end": Rule("a date, or an ISO 8601 text", _is_day),
    "end_offset": Rule("a whole number", _is_whole, may_be_none=False),
    "timezone": FILLED_SAID,
    # of tables
    "table": Rule(
        "a URL, a path, a TableFile or a SqlTable",
        lambda value: _is_place(value) or any(kind.holds(value) for kind in _TABLES),
        may_be_none=False,
        is_shown=False,
    ),
    "url": _URL,
    "query": SAID_TEXT,
    "text_columns": TEXTS,
    "path": Rule("a URL or a path", _is_place, may_be_none=False, is_shown=False),
    "is_stdin": FLAG,
    # of models
    "model": made("FalModel", "FalModel(...)", may_be_none=False),
    "edit": made("FalModel", "FalModel(...)"),
    "endpoint": FILLED_SAID,
    "inputs": Rule("a class of pydantic.BaseModel", _are_inputs, may_be_none=False),
    "key_defaults": replace(MAPPING, may_be_none=False),
    "price": Rule("a function of the arguments", callable, may_be_none=False),
    "max_images_per_request": whole(1, may_be_none=False),
    "required": TEXTS,
    "sunset": _DAY,
    "successor": FILLED,
    "read": _DAY,
    "unverified": SAID_TEXT,
    "same_by_seed": SAID_TEXT,
    "low": Rule("an amount of US dollars, 0 or more", _is_amount, may_be_none=False),
    "high": Rule("an amount of US dollars, 0 or more", _is_amount),
    # of fal's client
    "key": Rule("a text", lambda value: isinstance(value, str), may_be_none=False, is_shown=False),
    "urls": made("FalUrls", "FalUrls(...)", may_be_none=False, package="dagster_gptimg.fal.settings"),
    "connections": whole(1, may_be_none=False),
    **dict.fromkeys(
        ("submit_timeout", "read_timeout", "connect_timeout"), number("a number of seconds, more than 0", 1e-9)
    ),
}


def check_arguments(**values: Any) -> None:  # noqa: ANN401 - whatever somebody gave
    """Make sure that values are what the arguments of these names take.

    Raises:
        UsageError: one is not; nothing was read or sent.
    """
    for name, value in values.items():
        wrong = ARGUMENTS[name].wrong(value)
        if wrong is not None:
            raise UsageError(f"{name} {wrong}")


def check_said(**values: Any) -> None:  # noqa: ANN401 - whatever somebody gave
    """Make sure that values are what the arguments of these names take, and that none of them is None.

    Raises:
        UsageError: one is not; nothing was read or sent.
    """
    for name, value in values.items():
        wrong = replace(ARGUMENTS[name], may_be_none=False).wrong(value)
        if wrong is not None:
            raise UsageError(f"{name} {wrong}")


def check_given(given: Mapping[str, object]) -> None:
    """Check the given arguments by name; those without a rule here are not checked. Raises `UsageError`."""
    check_arguments(**{name: value for name, value in given.items() if name in ARGUMENTS})


def refuse_unknown(given: Iterable[str], known: Collection[str], whose: str, also: Collection[str] = ()) -> None:
    """Refuse arguments that there are not, and name the one that may be meant.

    Args:
        given: names of arguments.
        known: those that may be given.
        whose: what takes them, as a message calls it.
        also: others that may be meant.

    Raises:
        UsageError: there is one.
    """
    for name in given:
        if name not in known:
            raise UsageError(unknown_words(name, {*known, *also}, whose))


def unknown_words(name: str, known: Collection[str], whose: str, what: str = "argument") -> str:
    """What is said of a name that there is not: which one may be meant, or which there are."""
    other, there_are = OTHER_NAMES.get(name), sorted(known)
    near = [other] if other in there_are else difflib.get_close_matches(name, there_are, 1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(there_are)}"
    return f"{whose} has no {what} {shown(name)}{hint}"
