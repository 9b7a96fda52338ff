"""The package stays easy to find one's way in: small modules, small folders, a short list at the top."""

from __future__ import annotations

from pathlib import Path

import dagster_gptimg

PACKAGE = Path(dagster_gptimg.__file__).parent
MOST_LINES = 400
MOST_FILES = 20
MOST_FOLDERS_AT_THE_TOP = 8
MOST_MODULES_AT_THE_TOP = 6


def folders(above: Path) -> list[Path]:
    return sorted(path for path in above.iterdir() if path.is_dir() and path.name != "__pycache__")


def test_no_module_is_long() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    long = {str(path.relative_to(PACKAGE)): count for path, count in lines.items() if count > MOST_LINES}
    assert not long, "split them by their jobs"


def test_no_folder_holds_many_files() -> None:
    every = {PACKAGE, *(path.parent for path in PACKAGE.rglob("*.py"))}
    counts = {str(folder.relative_to(PACKAGE)): sum(path.is_file() for path in folder.iterdir()) for folder in every}
    assert not {name: count for name, count in counts.items() if count > MOST_FILES}


def test_the_top_is_short() -> None:
    assert len(folders(PACKAGE)) <= MOST_FOLDERS_AT_THE_TOP
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES_AT_THE_TOP
