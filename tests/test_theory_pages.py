"""The pages of theory name the constants of the code as they are."""

from __future__ import annotations

import re

import pytest

from dagster_gptimg.base.digest_columns import BUCKETS, PARTS, SIZE, DigestCounts, DigestMap, Digests
from dagster_gptimg.base.retry_policies import STATUS
from dagster_gptimg.engine.follow import learned_schedule, watcher
from dagster_gptimg.engine.record.results import CHECKPOINT
from dagster_gptimg.engine.submit.in_flight_limit import LONGEST_WAIT
from dagster_gptimg.store.settled.index import MERGE_ABOVE
from tests.support import ROOT

WORDS = {4: "four", 10: "ten"}
KEYS = bytes(range(64))
"""Two keys."""


@pytest.mark.parametrize(
    "words",
    [
        f"its {WORDS[learned_schedule.SCOUTS]} oldest requests",
        f"two calls {watcher.GONE_APART:.0f} s apart",
        f"{STATUS.longest_pause:.0f} s at most",
        f"at most {WORDS[int(LONGEST_WAIT) // 60]} minutes' work",
    ],
)
def test_when_a_status_call_is_sent(words: str) -> None:
    assert words in page("status-calls")


@pytest.mark.parametrize(
    "words",
    [
        f"every {CHECKPOINT:,} outcomes",
        f"more than {MERGE_ABOVE} pieces",
        f"{BUCKETS:,} columns",
        f"in {PARTS} parts",
        f"| {SIZE} + 4 |",
        f"{SIZE} bytes of its key",
    ],
)
def test_the_state_of_a_million_rows(words: str) -> None:
    assert words in page("million-rows")


def test_bytes_of_a_digest_are_those_that_the_page_says() -> None:
    digests, numbers, counts = Digests(), DigestMap(), DigestCounts()
    digests.extend(KEYS)
    list(numbers.extend(digests))
    counts.count_all(KEYS)
    assert held(digests) == 2 * SIZE
    assert held(numbers) == 2 * (SIZE + 4)
    assert held(counts) == 2 * 8


def held(columns: object) -> int:
    """Bytes in all arrays of an object."""
    arrays = [part for value in vars(columns).values() for part in (value if isinstance(value, list) else [value])]
    return sum(len(part) * part.itemsize for part in arrays if hasattr(part, "itemsize"))


def page(name: str) -> str:
    return re.sub(r"\s+", " ", (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
