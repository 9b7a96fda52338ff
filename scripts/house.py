"""Measures of a source tree: sizes, annotations, docstrings, comments, tests, fields, public names, dependencies.

    python -m scripts.house [TREE ...]

prints a table, a column a tree: `dagster_gptimg` when none is named. A tree is a package's folder; its tests are looked
for beside it, its dependencies in the pyproject.toml above it. Nothing is imported: files are parsed and tokenized.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import sys
import tokenize
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
Function: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef"
WITH_FIELDS = re.compile(r"(?:BaseModel|Model|Config|ConfigurableResource|Resource|Described|IOManager|Attributes)$")
"""The last name of a base class whose subclasses are pydantic models."""


@dataclass
class Lines:
    """How many lines of which kind; one with code and a comment behind it is of both."""

    code: int = 0
    docstring: int = 0
    comment: int = 0


@dataclass
class Tree:
    """What is counted over all files of one tree.

    Attributes:
        modules: lines of each file, blank ones included.
        functions: lines of each function, from its decorators on.
        bodies: lines of each function's statements, from the first one after its docstring on.
        annotated: whether each function says what it returns.
        documented: for each class and function: whether it is public, and whether it has a docstring.
        described: for each field of a pydantic model whether it is described where it stands; a description that a base
            class adds is not seen.
        lines: lines by their kind.
    """

    modules: list[int] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)
    annotated: list[bool] = field(default_factory=list)
    documented: list[tuple[bool, bool]] = field(default_factory=list)
    described: list[bool] = field(default_factory=list)
    lines: Lines = field(default_factory=Lines)


def read_tree(files: Sequence[Path]) -> Tree:
    """Count over some files. Raises `SyntaxError` for one that is no Python."""
    found = Tree()
    for path in files:
        text = path.read_text(encoding="utf-8")
        module = ast.parse(text)
        found.modules.append(len(text.splitlines()))
        docstrings = set(_lines_of(_docstring(module)))
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                docstrings.update(_lines_of(_docstring(node)))
                found.documented.append((is_public(node.name), ast.get_docstring(node) is not None))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                _add_function(found, node)
            elif isinstance(node, ast.ClassDef):
                found.described += _fields(node)
        _add_lines(found.lines, text, docstrings)
    return found


def is_public(name: str) -> bool:
    """Whether a name is meant for others."""
    return not name.startswith("_")


def _add_function(found: Tree, node: Function) -> None:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    found.functions.append(_end(node) - first + 1)
    body = node.body if _docstring(node) is None else node.body[1:]
    found.bodies.append(_end(node) - body[0].lineno + 1 if body else 0)
    found.annotated.append(node.returns is not None)


def _docstring(node: ast.Module | ast.ClassDef | Function) -> ast.stmt | None:
    return node.body[0] if ast.get_docstring(node, clean=False) is not None else None


def _lines_of(node: ast.stmt | None) -> range:
    return range(0) if node is None else range(node.lineno, _end(node) + 1)


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _fields(node: ast.ClassDef) -> list[bool]:
    """Whether each field of a pydantic model is described; none for other classes."""
    if not any(WITH_FIELDS.search(ast.unparse(base).partition("[")[0]) for base in node.bases):
        return []
    own = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    own = [
        part for part in own if is_public(ast.unparse(part.target)) and "ClassVar" not in ast.unparse(part.annotation)
    ]
    return ["descr" in ast.unparse(part) or "default(" in ast.unparse(part) for part in own]


def _add_lines(lines: Lines, text: str, docstrings: set[int]) -> None:
    code, comments = set[int](), set[int]()
    nothing = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        where = range(token.start[0], token.end[0] + 1)
        if token.type == tokenize.COMMENT:
            comments.update(where)
        elif token.type not in nothing:
            code.update(where)
    lines.code += len(code - docstrings)
    lines.docstring += len(docstrings)
    lines.comment += len(comments)


def public_names(package: Path) -> int | None:
    """How many names the package's `__all__` has; None where it has none that is written down."""
    init = package / "__init__.py"
    for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))) if init.exists() else ():
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "__all__" for target in node.targets):
            return len(node.value.elts) if isinstance(node.value, ast.List | ast.Tuple) else None
    return None


def dependencies(package: Path) -> int | None:
    """How many packages an installation without extras needs; None where no pyproject.toml says it."""
    for folder in package.resolve().parents:
        project = folder / "pyproject.toml"
        if project.exists():
            return len(tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("dependencies", ()))
    return None


def tests_of(package: Path) -> Path | None:
    """The folder of tests nearest to a package, beside it or beside a folder that holds it."""
    beside = (folder / "tests" for folder in list(package.resolve().parents)[:2])
    return next((folder for folder in beside if folder.is_dir()), None)


def measures(package: Path) -> dict[str, str]:
    """The measures of one package, by name."""
    tree = read_tree(sorted(package.rglob("*.py")))
    tests = tests_of(package)
    tested = 0 if tests is None else sum(read_tree(sorted(tests.rglob("*.py"))).modules)
    public = [has for is_shown, has in tree.documented if is_shown]
    code, names, needs = tree.lines.code, public_names(package), dependencies(package)
    return {
        "modules": f"{len(tree.modules):,}",
        "source lines (code)": f"{sum(tree.modules):,} ({code:,})",
        "module lines, median / p90 / max": _spread(tree.modules, (50, 90)),
        "function lines, median / p90 / p99 / max": _spread(tree.functions, (50, 90, 99)),
        "their bodies, median / p90 / p99 / max": _spread(tree.bodies, (50, 90, 99)),
        "return annotations": _share(tree.annotated),
        "docstrings, public / all": f"{_share(public)} / {_share([has for _, has in tree.documented])}",
        "docstring lines per 100 of code": _per_100(tree.lines.docstring, code),
        "comment lines per 100 of code": _per_100(tree.lines.comment, code),
        "test : source lines": "-" if tests is None else f"{tested / max(sum(tree.modules), 1):.2f}",
        "fields described": f"{_share(tree.described)} of {len(tree.described)}",
        "public names": "-" if names is None else str(names),
        "runtime dependencies": "-" if needs is None else str(needs),
    }


def _spread(numbers: Sequence[int], percents: Sequence[int]) -> str:
    """Percentiles of some numbers, and the largest."""
    if len(numbers) < 2:  # noqa: PLR2004 - what quantiles need
        return " / ".join(map(str, numbers)) or "-"
    parts = statistics.quantiles(numbers, n=100, method="inclusive")
    return " / ".join([*(f"{parts[percent - 1]:.4g}" for percent in percents), str(max(numbers))])


def _share(found: Sequence[bool]) -> str:
    return f"{100 * sum(found) / len(found):.1f} %" if found else "-"


def _per_100(count: int, code: int) -> str:
    return f"{100 * count / max(code, 1):.1f}"


def table(packages: Sequence[Path]) -> str:
    """The table, in Markdown: a line a measure, a column a package."""
    columns = {package.name: measures(package) for package in packages}
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    names = next(iter(columns.values()))
    lines += [f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |" for name in names]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([Path(name) for name in sys.argv[1:]] or [ROOT / "dagster_gptimg"]))
