"""Packages of npm that judge this one: installed once, beside the package.json that names them."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def installed(folder: Path, name: str) -> Path:
    """The folder of an installed package, in the version that `folder`'s package.json says."""
    npm = shutil.which("npm")
    wanted = json.loads((folder / "package.json").read_text())["dependencies"][name]
    package = folder / "node_modules" / name
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _version(package) != wanted:
            assert npm, f"install npm, or run `npm install` in {folder}"
            install = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
            subprocess.run(install, cwd=folder, check=True, capture_output=True)
    assert _version(package) == wanted
    return package


def _version(package: Path) -> str | None:
    about = package / "package.json"
    return str(json.loads(about.read_text())["version"]) if about.exists() else None
