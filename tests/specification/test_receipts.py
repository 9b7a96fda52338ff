"""The specification holds, and each of its rules is needed: without it, something is paid for twice or lost."""

from __future__ import annotations

import sys

import pytest

from tests.specification.protocol import ASSUMPTIONS, BLIP, RULES, Config
from tests.specification.receipts import (
    BLIPS,
    BREAKS,
    CONFIGS,
    LIMIT_REACHED,
    RESUBMIT,
    RESUBMITTING,
    broken,
    explore,
    in_one_blip,
    main,
    without,
)

SMALL = {
    "one key, 3 attempts",
    "one key, 2 attempts, wrongly free",
    "one key, 2 attempts, wrongly refused, the word",
    "resubmit, one key, every assumption holds",
}
"""The others take from one second to half a minute."""

CONFIGURATIONS = [
    pytest.param(config, id=name, marks=() if name in SMALL else pytest.mark.simulation)
    for name, config in {**CONFIGS, **RESUBMITTING}.items()
]

VIOLATED = {
    "name_by_request": "e: the image of R1 overwrites that of R0",
    "distinct_ids": "b: R0 serves keys [0, 1]: one image where two were paid for",
    "one_owner": "b: R0 serves keys [0, 1]: one image where two were paid for",
    "follow_superseded": "b: R0 is paid for and shown, and no later run collects it",
    "search_superseded": "b: R0 is paid for and shown, and no later run collects it",
    "one_attempt": "b: R0 is paid for and shown, and no later run collects it",
    "unreadable_holds": "d: bought although an object is there that cannot be read",
    "words_only": "b: R0 is paid for and shown, and no later run collects it",
    "reopens": "b: R0 is paid for and shown, and no later run collects it",
    "given_is_followed": "b: R0 is paid for and shown, and no later run collects it",
    "gone_is_fetched": "b: R0 is paid for and shown, and no later run collects it",
    "back_counts": "g: key 0 is bought although its image is in the store",
    "stored_wins": "c: key 0 stays in flight for ever",
    "word_once": "f: key 0 was bought again more often than the user has said",
    "word_of_open_run": "f: key 0 was bought again more often than the user has said",
}
"""What each lack of a rule ends in; of the others: a double purchase."""


@pytest.mark.parametrize("config", CONFIGURATIONS)
def test_nothing_is_paid_twice_or_lost_in_any_reachable_world(config: Config) -> None:
    states, violation, trace = explore(config)
    assert not violation, trace
    assert states > (100 if config.wrong else 200)  # what an earlier version has left, leaves less to happen


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_needed(rule: str) -> None:
    _, violation, trace = broken(rule)
    assert violation.startswith(VIOLATED.get(rule, "a: key 0 is paid for twice without the user's word"))
    # Without `stored_wins`, already what an earlier version has left in a store is never collected.
    assert len(trace) > 2 or rule == "stored_wins"
    # With the rule, nothing is violated where its lack shows: not in the first worlds, where it shows soon.
    assert explore(BREAKS.get(rule, Config()), limit=1000)[1] in {"", LIMIT_REACHED}


@pytest.mark.parametrize("assumption", ASSUMPTIONS)
def test_resubmit_buys_twice_when_an_assumption_fails(assumption: str) -> None:
    violation = without(assumption)
    # A reply that is recorded late is no second purchase: by then the history has shown the request.
    assert ("paid for twice" in violation) == (assumption != "reply_quick")


def test_one_blip_that_is_both_readings_loses_a_paid_image_and_buys_it_again() -> None:
    assert in_one_blip() == "b: R0 is paid for and shown, and no later run collects it"
    assert explore(BLIPS, "a")[1] == "a: key 0 is paid for twice without the user's word (attempts 0 and 1)"


def test_the_command_line_prints_the_shortest_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["receipts", "--break", "search_superseded"])
    assert main() == 0
    head, found, *trace = capsys.readouterr().out.splitlines()
    assert head == f"without search_superseded: {RULES['search_superseded']}"
    assert found.endswith(VIOLATED["search_superseded"])
    assert trace[-1].strip() == "P has the user's word again=held (run 1), gives up attempt 0"


def test_the_command_line_says_what_comes_of_each_assumption_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["receipts"])
    monkeypatch.setattr("tests.specification.receipts.CONFIGS", {})
    monkeypatch.setattr("tests.specification.receipts.RESUBMITTING", {"one": RESUBMIT, "twins": RESUBMIT})
    assert main() == 0
    blips, *lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("   without")]
    assert blips == f"   without the assumption about blips ({BLIP}): {in_one_blip()}"
    assert lines == [f"   without {name} ({text}): {without(name) or 'holds'}" for name, text in ASSUMPTIONS.items()]


def test_the_command_line_lists_the_rules(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["receipts", "--list"])
    assert main() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RULES)
