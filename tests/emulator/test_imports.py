"""The emulator is an independent reading of fal's documents: it imports nothing of the rest of the package."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import dagster_gptimg.emulator

ALLOWED = {"starlette", "uvicorn", "PIL", "httpx", "cryptography", *sys.stdlib_module_names}


def test_imports() -> None:
    files = list(Path(dagster_gptimg.emulator.__file__).parent.glob("**/*.py"))
    assert len(files) > 20
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name.partition(".")[0] for name in node.names} <= ALLOWED, file
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                ours = module.startswith("dagster_gptimg.emulator")
                assert not node.level, file
                assert ours or module.partition(".")[0] in ALLOWED, file
