"""Run by `make test-minimal`: the installed wheel, with its default dependencies and nothing else, loads and plans."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

import dagster_gptimg

EXTRAS = ("polars", "pandas", "starlette", "uvicorn", "s3fs", "gcsfs", "adlfs", "fal_client", "openpyxl", "c2pa")


def main() -> None:
    """Load every public name, plan a table by the command line, and say what to install for the emulator."""
    there = [name for name in EXTRAS if importlib.util.find_spec(name) is not None]
    if there:
        sys.exit(f"this is no minimal environment: {there}")
    for name in dagster_gptimg.__all__:
        getattr(dagster_gptimg, name)
    found = entry_points(group="dagster_dg_cli.registry_modules", name="dagster_gptimg")
    assert [point.load().GptImgComponent for point in found], "dg would not find the component"
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "t.csv"
        table.write_text("prompt\na red cup\n", encoding="utf-8")
        command = [str(Path(sys.executable).with_name("dagster-gptimg"))]
        plan = [*command, "plan", str(table), "--store", folder, "--dataset", "d", "--json"]
        done = subprocess.run(plan, capture_output=True, text=True, check=True)
        assert '"bought": 1' in done.stdout, done.stdout
        emulate = subprocess.run([*command, "emulate"], capture_output=True, text=True, cwd=folder, check=False)
        assert emulate.returncode, emulate
        assert "pip install 'dagster-gptimg[emulator]'" in emulate.stderr, emulate.stderr
    print("the package needs nothing but its default dependencies")


if __name__ == "__main__":
    main()
