"""Equal requests get the copy numbers 0, 1, ... in the order in which they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.engine.plan.equal_rows import EqualRows

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B, C = (bytes([value]) * 32 for value in (1, 2, 3))


def told_apart(equal: EqualRows, rows: list[bytes]) -> list[bytes]:
    def keys_of_copies(number: int, copies: Sequence[int]) -> bytes:
        return b"%d:%s" % (number, ",".join(map(str, copies)).encode())

    equal.tell_apart(rows, keys_of_copies)
    return rows


def test_rows_without_an_equal_keep_their_keys() -> None:
    assert told_apart(EqualRows(), [A + B, C]) == [A + B, C]


def test_every_request_has_a_copy_number_of_its_own() -> None:
    equal = EqualRows()
    assert told_apart(equal, [A + B, A + A, C]) == [b"0:0,0", b"1:1,2", b"2:0"]
    assert told_apart(equal, [C, B + A]) == [b"0:1", b"1:1,3"]
