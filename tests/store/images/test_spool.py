"""A file on its way into the store: in memory while it is small, in a temporary file from then on, and then gone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from dagster_gptimg.errors import TemporaryError
from dagster_gptimg.store.images.spool import Spool


def test_a_small_file_stays_in_memory_and_a_large_one_goes_with_the_spool() -> None:
    with Spool(10) as spool:
        spool.write(b"12345")
        spool.write(b"67890")
        assert spool.content() == b"1234567890"
        spool.write(b"x")
        file = spool.content()
        assert isinstance(file, Path)
        assert file.read_bytes() == b"1234567890x"
    assert not file.exists()


def test_what_comes_again_replaces_what_had_come() -> None:
    with Spool(4) as spool:
        spool.write(b"too much for it")
        spool.restart()
        spool.write(b"new")
        assert spool.content() == b"new"


def test_no_room_for_a_temporary_file_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with Spool(1) as spool, pytest.raises(TemporaryError, match="no room for temporary files"):
        spool.write(b"12")
