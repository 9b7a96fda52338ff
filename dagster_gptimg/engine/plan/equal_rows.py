"""Equal rows: each of them is bought, because their requests get the copy numbers 0, 1, ... in table order.

The copy number is a part of the request key (`request_keys.py`). It is counted here, for the rows of one plan.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from dagster_gptimg.base.digest_columns import KEY, DigestCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class EqualRows:
    """Counts how often each request was asked for by earlier rows: 8 bytes for each request."""

    def __init__(self) -> None:
        self._counts = DigestCounts()

    def tell_apart(self, keys: list[bytes], keys_of_copies: Callable[[int, Sequence[int]], bytes]) -> None:
        """Replace the keys of rows with requests that earlier rows have, too; to be called in table order.

        Args:
            keys: for each row, the concatenated keys that its requests have as copy 0; changed in place.
            keys_of_copies: returns the concatenated keys of a row, from its index in `keys` and the copy number of each
                of its requests.
        """
        copies = self._counts.count_all(b"".join(keys))
        if not any(copies):
            return
        rest = iter(copies)
        for number, row in enumerate(keys):
            keys[number] = keys_of_copies(number, [*islice(rest, len(row) // KEY)])
