"""Dagster's `dg` on a project that has nothing but what it scaffolds: list, check, launch."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.dagster

PROJECT = """
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"
code_location_target_module = "shop.definitions"
"""
DEFINITIONS = """
from pathlib import Path

import dagster as dg


@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty project of Dagster's, in an environment where the package's entry points are those of its pyproject."""
    made = tmp_path_factory.mktemp("project")
    (made / "shop" / "defs").mkdir(parents=True)
    (made / "home").mkdir()
    (made / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    (made / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (made / "shop" / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    for folder in ("shop", "shop/defs"):
        (made / folder / "__init__.py").touch()
    about = made / "installed" / "dagster_gptimg-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: dagster-gptimg\nVersion: 0\n", encoding="utf-8")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    lines = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items()) for group, points in groups.items()]
    (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    assert dg(made, "scaffold", "defs", "dagster_gptimg.GptImgComponent", "photos").returncode == 0
    return made


def dg(project: Path, *arguments: str) -> Any:
    """One call of `dg` in the project."""
    env = {
        **os.environ,
        "DAGSTER_HOME": str(project / "home"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": f"{project / 'installed'}:{ROOT}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    command = [str(Path(sys.executable).with_name("dg")), *arguments]
    return subprocess.run(command, env=env, cwd=project, capture_output=True, text=True, check=False)


def test_the_component_is_listed(project: Path) -> None:
    done = dg(project, "list", "components")
    assert "dagster_gptimg.GptImgComponent" in done.stdout, done.stdout + done.stderr


def test_what_was_scaffolded_is_valid_loads_and_runs(project: Path) -> None:
    for check in ("yaml", "defs"):
        done = dg(project, "check", check)
        assert done.returncode == 0, done.stdout + done.stderr
    done = dg(project, "list", "defs", "--json")
    found = {asset["asset_key"]: asset for asset in json.loads(done.stdout)["assets"]}
    assert found["photos"]["dependency_keys"] == ["photos_prompts"]
    assert found["photos_prompts"]["kinds"] == ["csv"]
    done = dg(project, "launch", "--assets", "photos")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len([*project.glob("images/photos/images/*/*.png")]) == 3


def test_a_partition_is_launched_and_a_mistake_is_told_with_its_line(project: Path) -> None:
    path = project / "shop" / "defs" / "photos" / "defs.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}  partitions:\n    by_column: id\n    keys: ['1', '2']\n", encoding="utf-8")
    done = dg(project, "launch", "--assets", "photos", "--partition", "2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert [path.parent.name for path in project.glob("images/photos/manifests/*/manifest.parquet")].count("2") == 1
    path.write_text(text.replace("  template:", "  tempalte:"), encoding="utf-8")
    done = dg(project, "check", "yaml")
    assert done.returncode != 0
    assert "defs.yaml:7" in done.stdout
    assert "'tempalte' was unexpected" in done.stdout
    assert "did you mean template?" in done.stdout
    path.write_text(f"{text}  checks:\n    blockin: []\n", encoding="utf-8")
    done = dg(project, "check", "yaml")
    assert "did you mean blocking?" in done.stdout
    assert "checks.blockin" in done.stdout
    done = dg(project, "check", "defs")
    assert done.returncode != 0
    assert "did you mean blocking?" in done.stdout + done.stderr
