"""What is repeated has its numbers in one place."""

from __future__ import annotations

import re
from math import inf

import pytest

from dagster_gptimg.base import retry_policies
from dagster_gptimg.base.retry_policies import CANCEL, POLICIES, READ, RESULT, RESULT_LATER, SUBMIT, RetryPolicy
from dagster_gptimg.engine.collect.result_reads import FAR_APART, REFUSAL_APART
from tests.support import ROOT

NAMES = {name: value for name, value in vars(retry_policies).items() if isinstance(value, RetryPolicy)}
ONCE = {"SUBMIT", "CANCEL"}
"""What is sent once: nothing repeats it, so nothing asks for its numbers."""

TIMERS = {
    "engine/system.py",  # the clock itself
    "engine/feeder.py",  # gives others a turn, for no time at all
    "engine/follow/watcher.py",  # looks when a schedule says so; what it repeats is in learned_schedule.py
    "engine/collect/collect.py",  # pauses as result_reads.py says
}
"""Modules that sleep, and repeat nothing."""

SOURCES = {
    str(path.relative_to(ROOT / "dagster_gptimg")): path.read_text(encoding="utf-8")
    for path in (ROOT / "dagster_gptimg").rglob("*.py")
    if "emulator" not in path.parts
}


def test_pauses_grow_up_to_the_longest() -> None:
    policy = RetryPolicy(what="", first_pause=1.0, growth=2.0, longest_pause=60.0, then="")
    assert [policy.pause(failed) for failed in (1, 2, 3, 6, 7, 8, 10_000)] == [1.0, 2.0, 4.0, 32.0, 60.0, 60.0, 60.0]
    assert [RetryPolicy(what="", pauses=(1.0, 5.0), then="").pause(failed) for failed in (1, 2, 3)] == [1.0, 5.0, 5.0]
    assert [RetryPolicy(what="", first_pause=3.0, then="").pause(failed) for failed in (1, 2)] == [3.0, 3.0]


def test_it_is_over_by_number_or_by_time_whatever_comes_first() -> None:
    policy = RetryPolicy(what="", tries=3, seconds=10.0, then="")
    assert [policy.is_over(failed) for failed in (1, 2, 3, 4)] == [False, False, True, True]
    assert [policy.is_over(seconds=seconds) for seconds in (9.9, 10.0)] == [False, True]
    assert not RetryPolicy(what="", then="").is_over(10**6, 10.0**9)


def test_how_often_has_every_number_in_it() -> None:
    for policy in POLICIES:
        numbers = [
            policy.tries,
            policy.seconds,
            policy.longest_pause,
            policy.first_pause,
            policy.growth,
            policy.jitter,
            *policy.pauses,
        ]
        told = {float(number) for number in re.findall(r"[0-9.]*[0-9]", policy.how_often)}
        assert {number for number in numbers if number not in {0, 1, inf}} <= told, policy.what


def test_a_submit_and_a_cancel_are_sent_once() -> None:
    assert (SUBMIT.how_often, CANCEL.how_often) == ("once", "once")
    assert {name for name, policy in NAMES.items() if policy.tries == 1} == ONCE


@pytest.mark.parametrize("name", sorted(NAMES.keys() - ONCE))
def test_every_policy_is_used(name: str) -> None:
    assert [path for path, text in SOURCES.items() if re.search(rf"\b{name}[.,)]", text)], name


def test_whoever_sleeps_does_so_by_a_policy() -> None:
    sleeps = {path for path, text in SOURCES.items() if re.search(r"\bsleep\(", text)} - TIMERS
    assert sleeps
    assert [path for path in sleeps if "base.retry_policies import" not in SOURCES[path]] == []
    libraries = {path for path, text in SOURCES.items() if re.search(r"\b(stamina|tenacity|backoff)\b", text)}
    assert {path for path in libraries if re.search(r"import stamina|from stamina", SOURCES[path])} == {
        "fal/http/repeating.py",
        "cli/commands.py",  # has it say nothing
    }


def test_the_looks_at_a_result_are_far_enough_apart_to_be_evidence() -> None:
    for policy in (RESULT, RESULT_LATER):
        assert policy.tries == len(policy.pauses) + 1
    assert sum(RESULT.pauses) >= FAR_APART
    assert sum(RESULT_LATER.pauses) >= REFUSAL_APART
    assert round(sum(RESULT.pauses) / 60) == 13  # as docs/receipts.md says


def test_a_read_is_over_well_before_anything_rests_on_it() -> None:
    assert READ.tries * READ.longest_pause < READ.seconds < FAR_APART
