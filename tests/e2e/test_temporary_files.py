"""Without room for temporary files nothing is bought; when it runs out later, what was paid for is counted and kept."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.events import Finished, Planned
from dagster_gptimg.engine.operations import run
from dagster_gptimg.errors import TemporaryError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from dagster_gptimg.prompts import PromptSpec, read_rows
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store
from dagster_gptimg.temporary_files import LOCK, OLD, PREFIX, TemporaryFolder, check_room, remove_left_behind
from tests.harness import Fal, cli, table, target
from tests.support import MINI_LOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.events import Event


def spec() -> PromptSpec:
    return PromptSpec(
        get_model("gpt-image-1-mini"), id_column="id", arguments={"quality": "low", "image_size": "1024x1024"}
    )


def ran(fal: Fal, store: Path, rows: str, on_event: Callable[[Event], None] = lambda _: None) -> Finished:
    settings = FalSettings("some-key:some-secret", FalUrls.at(fal.url))
    made = spec()
    return run(read_rows(rows, made), made.model, Dataset(Store(str(store)), "d"), settings, on_event=on_event)


def full(*_: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_folder_for_temporary_files_is_found_before_anything_is_bought(
    fal: Fal, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(TemporaryError, match=r"no room for temporary files.*TMPDIR"):
        ran(fal, store, table(tmp_path / "t.jsonl", 2))
    assert fal.bill()["requests"] == 0


def test_a_folder_that_is_nearly_full_is_found_before_anything_is_bought(
    fal: Fal, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1024 * 1024))
    with pytest.raises(TemporaryError, match="has 1 MiB left, and 17 MiB are needed"):
        ran(fal, store, table(tmp_path / "t.jsonl", 2))
    assert fal.bill()["requests"] == 0


def test_a_full_folder_is_no_news_of_the_table(
    fal: Fal, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TemporaryError, match=os.strerror(errno.ENOSPC)):
        ran(fal, store, table(tmp_path / "t.jsonl", 2))
    assert fal.bill()["requests"] == 0


@pytest.mark.parametrize("checkpoint", [1000, 2])
@pytest.mark.parametrize("how", ["full", "removed"])
def test_when_it_runs_out_what_was_paid_for_is_counted_and_nothing_is_paid_again(
    fal: Fal, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, checkpoint: int
) -> None:
    from dagster_gptimg.engine.record import results

    monkeypatch.setattr(results, "CHECKPOINT", checkpoint)
    folder = tmp_path / "temporary"
    folder.mkdir()
    ran(fal, store, table(tmp_path / "t.jsonl", 2))
    more = table(tmp_path / "t.jsonl", 6)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def run_out(event: Event) -> None:
        if isinstance(event, Planned) and how == "full":
            monkeypatch.setattr(os, "write", full)
        elif isinstance(event, Planned):
            shutil.rmtree(folder)

    end = ran(fal, store, more, run_out).summary
    assert (end.exit_status, end.stop) == (5, "unusable")
    assert "no room for temporary files" in end.message
    assert end.bought == len(fal.charged()) - 2
    assert (end.reused, end.rows, end.not_submitted + end.bought) == (2, 6, 4)
    assert end.cost_billed * 100 == end.bought
    monkeypatch.undo()
    assert ran(fal, store, more).summary.exit_status == 0
    assert len(fal.charged()) == 6


def test_a_command_says_so_and_exits_with_5(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 2)
    code = "import tempfile, sys\ntempfile.tempdir = '/dev/null'\nfrom dagster_gptimg.cli import main\nmain()\n"
    import subprocess
    import sys

    command = [sys.executable, "-c", code, "generate", rows, *target(store), *MINI_LOW]
    told = subprocess.run(command, env=fal.env, capture_output=True, text=True, check=False)
    assert told.returncode == 5, told.stderr
    assert "Traceback" not in told.stderr
    assert told.stderr.startswith("error: this machine has no room for temporary files")
    assert fal.bill()["requests"] == 0
    command[command.index("generate") :] = ["doctor", "--store", str(store)]
    told = subprocess.run(command, env=fal.env, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "✗ temporary files: this machine has no room" in told.stdout


def test_doctor_tries_it(fal: Fal) -> None:
    ran = cli(fal, "doctor")
    assert ran.status == 0, ran.stdout
    assert "✓ temporary files: " in ran.stdout
    assert "MiB left" in check_room()


def test_a_run_that_ends_leaves_no_temporary_file(fal: Fal, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    rows = table(tmp_path / "t.jsonl", 1)
    ran = cli(fal, "generate", rows, *target(store), *MINI_LOW, env={"TMPDIR": str(folder)})
    assert ran.status == 0, ran.stderr
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def make(name: str, *files: str, age: float = OLD + 60) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in files:
            (folder / file).touch()
        moment = tmp_path.stat().st_mtime - age
        os.utime(folder, (moment, moment))
        return folder

    left = [make(f"{PREFIX}left", LOCK, "a.parquet"), make(f"{PREFIX}killed-at-once")]
    others = [
        make(f"{PREFIX}young", LOCK, age=0),
        make(f"{PREFIX}no-lock", "a.parquet"),
        make("somebody-elses", LOCK),
        tmp_path / f"{PREFIX}file",
    ]
    others[-1].touch()
    (tmp_path / "target").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "target")
    living = TemporaryFolder()
    moment = tmp_path.stat().st_mtime - 2 * OLD
    os.utime(living.path, (moment, moment))
    remove_left_behind(tmp_path)
    assert [path for path in left if path.exists()] == []
    assert [
        path for path in (*others, living.path, tmp_path / f"{PREFIX}link", tmp_path / "target") if not path.exists()
    ] == []
    living.close()
    assert not living.path.exists()
