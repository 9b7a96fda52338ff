"""What users do to test their own pipelines: the plugin by its name, in a project of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT


@pytest.mark.long
def test_the_plugin_works_in_a_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["dagster_gptimg.testing"]\n', encoding="utf-8")
    page = (ROOT / "docs" / "dagster.md").read_text(encoding="utf-8")
    test = next(block for block in page.split("```python\n") if "def test_icons" in block).partition("```")[0]
    (tmp_path / "test_icons.py").write_text(test, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
