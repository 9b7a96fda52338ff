"""What is imported when: the command line never waits for Dagster, and default dependencies are enough."""

import json
import subprocess
import sys

import pytest

import dagster_gptimg
from tests.support import ROOT


def modules_after(code: str) -> set[str]:
    script = f"import sys, json; {code}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_imports_nothing_heavy_until_a_name_is_used() -> None:
    assert not {"dagster", "pyarrow", "httpx", "PIL"} & modules_after("import dagster_gptimg")


def test_the_command_line_never_imports_dagster() -> None:
    code = (
        "import dagster_gptimg.cli as c, dagster_gptimg.engine.operations, dagster_gptimg.cli.progress;"
        " import dagster_gptimg.cli.manifest_output, dagster_gptimg.cli.doctor, dagster_gptimg.engine.run"
    )
    assert "dagster" not in modules_after(code)


def test_default_dependencies_are_enough() -> None:
    """Everything that only an extra brings is hidden; the package, its CLI and its Dagster face load all the same."""
    code = (
        "import importlib.abc as a\n"
        "class Hide(a.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'polars', 'pandas', 'starlette', 'uvicorn', 's3fs', 'fal_client'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "import dagster_gptimg, dagster_gptimg.cli, dagster_gptimg.definitions.assets\n"
        "import dagster_gptimg.engine.operations\n"
        "[getattr(dagster_gptimg, name) for name in dagster_gptimg.__all__]\n"
    )
    done = subprocess.run([sys.executable, "-c", f"import sys\n{code}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_no_other() -> None:
    assert sorted(dagster_gptimg.__all__) == dir(dagster_gptimg)
    for name in dagster_gptimg.__all__:
        assert getattr(dagster_gptimg, name) is not None
    typed = (ROOT / "tests" / "typing" / "public.py").read_text(encoding="utf-8")
    assert [name for name in dagster_gptimg.__all__ if name not in typed] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dagster_gptimg.nothing
