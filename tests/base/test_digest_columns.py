"""Digests in columns are found as in a dict."""

from __future__ import annotations

import hashlib
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_gptimg.base.digest_columns import BUCKETS, DigestCounts, DigestMap, Digests, digests_of

digests = st.binary(min_size=12, max_size=16) | st.sampled_from(
    [bytes(8) + end + bytes(4) for end in (b"aaaa", b"bbbb")]
)


@given(st.lists(st.tuples(digests, st.integers(0, 2**32 - 1)), max_size=60), digests)
def test_it_is_a_dict(items: list[tuple[bytes, int]], wanted: bytes) -> None:
    found, expected = DigestMap(), dict[bytes, int]()
    for digest, value in items:
        assert found.setdefault(digest, value) == expected.setdefault(digest[:12], value)
    assert len(found) == len(expected)
    assert [found.get(digest) for digest, _ in items] == [expected[digest[:12]] for digest, _ in items]
    assert found.get(wanted) == expected.get(wanted[:12])


@given(st.lists(digests, max_size=60))
def test_it_counts(items: list[bytes]) -> None:
    found, seen = DigestCounts(), list[bytes]()
    for digest in items:
        assert found.of(digest) == found.count(digest) == seen.count(digest[:8])
        seen.append(digest[:8])
    assert [found.of(digest) for digest in items] == [seen.count(digest[:8]) for digest in items]


def test_equal_first_64_bits_are_not_enough() -> None:
    found = DigestMap()
    for value, end in enumerate((b"bbbb", b"aaaa", b"cccc")):
        found.setdefault(b"12345678" + end, value)
    assert [found.get(b"12345678" + end) for end in (b"aaaa", b"bbbb", b"cccc", b"dddd")] == [1, 0, 2, None]


def test_an_entry_takes_a_few_bytes() -> None:
    found, empty = DigestMap(), DigestMap()
    for number in range(40_000):
        found.setdefault(hashlib.sha256(str(number).encode()).digest(), number)

    def size(digest_map: DigestMap) -> int:
        return sum(sys.getsizeof(column) for column in (*digest_map._high, *digest_map._rest))

    assert size(empty) < 200 * BUCKETS
    assert size(found) - size(empty) < 40_000 * 24


keys = st.binary(min_size=32, max_size=32) | st.sampled_from(
    [bytes(8) + end + bytes(20) for end in (b"aaaa", b"bbbb", b"cccc")]
)


@given(st.lists(st.lists(keys, max_size=20), max_size=4), keys)
def test_many_keys_at_once_are_as_one_by_one(some: list[list[bytes]], wanted: bytes) -> None:
    found, expected, number = DigestMap(), dict[bytes, int](), 0
    counts, singly = DigestCounts(), DigestCounts()
    for batch in some:
        firsts = [(n, expected.setdefault(key[:12], n)) for n, key in enumerate(batch, number)]
        known = [(n, first) for n, first in firsts if n != first]
        assert list(found.extend(digests_of(b"".join(batch)))) == known
        assert counts.count_all(b"".join(batch)) == [singly.count(key) for key in batch]
        number += len(batch)
    every = [key for batch in some for key in batch] + [wanted]
    assert found.find(digests_of(b"".join(every))) == [expected.get(key[:12], -1) for key in every]
    assert len(found) == len(expected)


@settings(deadline=None)
@given(st.lists(keys, max_size=60), st.lists(keys, max_size=60))
def test_many_are_found_among_many(known: list[bytes], wanted: list[bytes]) -> None:
    there, asked = Digests(), Digests()
    there.extend(b"".join(known))
    asked.extend(b"".join(wanted))
    found = asked.places_in(there)
    if len({key[:8] for key in known}) < len(known):
        assert found is None
        return
    firsts = {key[:12]: number for number, key in enumerate(known)}
    assert found is not None
    assert list(found) == [firsts.get(key[:12], -1) for key in wanted]
