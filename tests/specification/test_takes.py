"""The specification of takes holds, and each of its rules is needed: without it, something unasked is bought."""

from __future__ import annotations

import sys

import pytest

from tests.specification import takes
from tests.specification.takes import BREAKS, CONFIGS, RULES, Config, broken, explore, main

SMALL = "one row of one request, 2 takes"
"""The others take from some seconds to a minute."""

VIOLATED = {"take_before_money": "a", "all_keys_move": "a", "word_opens_once": "c", "word_of_open_run": "d"}
"""What each lack of a rule violates, by its letter in `wrong`; the others: b."""


@pytest.mark.parametrize(
    "config",
    [pytest.param(c, id=name, marks=() if name == SMALL else pytest.mark.simulation) for name, c in CONFIGS.items()],
)
def test_one_take_is_opened_for_a_word_in_any_reachable_world(config: Config) -> None:
    states, violation, trace = explore(config)
    assert not violation, trace
    assert states > 1000


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_needed(rule: str) -> None:
    _, violation, trace = broken(rule)
    assert violation[:1] == VIOLATED.get(rule, "b"), trace
    assert len(trace) > 1
    assert BREAKS.keys() <= RULES.keys()


def test_the_command_line_prints_the_shortest_trace_and_what_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["takes", "--break", "all_rejected"])
    assert main() == 0
    head, *trace = capsys.readouterr().out.splitlines()
    assert RULES["all_rejected"] in head
    assert trace[-1].strip() == "P records that key 0 has another take, by run 1"
    monkeypatch.setattr(sys, "argv", ["takes"])
    monkeypatch.setattr(takes, "CONFIGS", {SMALL: CONFIGS[SMALL]})
    assert main() == 0
    assert capsys.readouterr().out.endswith("holds\n")
