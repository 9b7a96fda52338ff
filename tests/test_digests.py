"""Digests in columns find what a set and a counter would."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg import digests as digests_module
from dagster_gptimg.digests import Digests


def digest(text: object) -> bytes:
    return hashlib.sha256(str(text).encode()).digest()


@given(st.lists(st.integers(0, 12), max_size=60))
def test_repeats_are_those_of_a_counter(items: list[int]) -> None:
    digests, seen, first = Digests(), Counter[int](), dict[int, int]()
    expected = []
    for ordinal, item in enumerate(items):
        digests.add(digest(item))
        if seen[item]:
            expected.append((ordinal, first[item], seen[item]))
        first.setdefault(item, ordinal)
        seen[item] += 1
    assert sorted(digests.repeats()) == expected


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(0, 15))
def test_all_equal_ones_are_found(items: list[int], wanted: int) -> None:
    digests = Digests()
    for item in items:
        digests.add(digest(item))
    assert digests.find(digest(wanted)) == [ordinal for ordinal, item in enumerate(items) if item == wanted]


@given(st.lists(st.integers(0, 12), max_size=60), st.sets(st.integers(0, 60)))
def test_what_is_found_does_not_depend_on_when_it_was_sorted(items: list[int], looks: set[int]) -> None:
    digests = Digests()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests_module, "UNSORTED", 7)
        for ordinal, item in enumerate(items):
            digests.add(digest(item))
            if ordinal in looks:
                assert digests.find(digest(item)) == [n for n in range(ordinal + 1) if items[n] == item]


def test_what_comes_later_is_found_too() -> None:
    digests = Digests()
    assert digests.find(digest(1)) == []
    digests.add(digest(1))
    assert digests.find(digest(1)) == [0]
    digests.add(digest(1))
    assert (digests.find(digest(1)), len(digests)) == ([0, 1], 2)


def test_equal_first_64_bits_are_not_enough() -> None:
    digests = Digests()
    same, one, other = b"12345678", b"aaaa", b"bbbb"
    for end in (one, other, one, other, one):
        digests.add(same + end)
    assert sorted(digests.repeats()) == [(2, 0, 1), (3, 1, 1), (4, 0, 2)]
    assert digests.find(same + other) == [1, 3]


def test_a_million_take_a_few_bytes_each() -> None:
    import sys

    digests = Digests()
    for number in range(10_000):
        digests.add(digest(number))
    assert sum(sys.getsizeof(column) for column in (digests._high, digests._low)) < 10_000 * 14
