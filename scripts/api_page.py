"""The API reference, docs/api.md, from the docstrings and field descriptions of every public name.

    python -m scripts.api_page

writes it; tests/test_api_page.py holds it to its source. Griffe reads signatures and docstrings, pydantic tells the
fields of its models.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import griffe
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dagster_gptimg import GptImgComponent
from dagster_gptimg.definitions.component import attributes
from dagster_gptimg.store.manifest_columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

Documented: TypeAlias = "griffe.Class | griffe.Function | griffe.Attribute"

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
PACKAGE = "dagster_gptimg"
UNSET = "__DAGSTER_UNSET_DEFAULT__"
"""Dagster's default of an attribute that has a factory."""

WIDTH = 110
"""Characters of a signature's line at most."""

GROUPS = {
    ("Assets, checks and prompt tables", PACKAGE): (
        "gptimg_asset", "build_gptimg_asset", "build_prompt_table", "build_gptimg_checks", "ImageChecks",
        "build_gallery", "build_approved_images", "build_export", "GenerateConfig", "ImageGeneration", "ManifestLoader",
    ),
    ("Partitions", PACKAGE): ("by_column", "by_hash", "by_date", "by_dynamic", "by_dimensions", "TablePartitions"),
    ("Schedules and sensors", PACKAGE): (
        "build_gptimg_schedule", "build_prompt_table_sensor", "build_review_sensor", "failure_reasons",
    ),
    ("Resources", PACKAGE): ("FalResource", "EmulatedFalResource", "ImageStoreResource", "RequestSettings"),
    ("Ops", PACKAGE): ("generate_images_op", "GenerateImagesConfig"),
    ("The component", PACKAGE): ("GptImgComponent",),
    ("Notebooks and scripts", PACKAGE): (
        "generate", "GeneratedImages", "open_dataset", "StoredImages", "ImageRecord", "Summary",
    ),
    ("What came of an export", f"{PACKAGE}.engine.export.options"): ("Exported", "Failed"),
    ("Sources of prompts", PACKAGE): ("TableFile", "SqlTable"),
    ("Checked rows", f"{PACKAGE}.prompts"): ("read_rows", "PromptSpec", "PromptRow", "RowBatch"),
    ("Models", PACKAGE): ("get_model", "register", "FalModel", "per_image", "unknown_price"),
    ("Inputs of models", f"{PACKAGE}.fal.registry.inputs"): (
        "Inputs", "ImageInputs", "References",
    ),
    ("Inputs of OpenAI's models", f"{PACKAGE}.fal.registry.openai"): (
        "TextToImage", "Edit", "Edit1", "TextToImage15", "Edit15", "TextToImage2", "Edit2", "TextToImage25", "Edit25",
        "Pixels",
    ),
    ("Calls of your own", PACKAGE): ("fal_portal", "FalClient", "FalSettings"),
    ("What fal says", f"{PACKAGE}.fal.types"): (
        "Submitted", "Queued", "InProgress", "Completed", "LogLine", "Images", "ImageFile", "Failure", "Pending",
        "Cancelled", "HistoryItem", "HistoryPage",
    ),
    ("What `on_update` is told", f"{PACKAGE}.engine.events"): ("Updated",),
    ("Tests of your own pipelines", f"{PACKAGE}.testing"): ("fal", "image_store", "EmulatedFal", "emulator"),
    ("Errors", PACKAGE): ("GptImgError", "UsageError"),
    ("Errors, each kind", f"{PACKAGE}.errors"): (
        "MissingKeyError", "KeyRejectedError", "UnreachableError", "ArgumentsError", "ImageReferenceError",
        "TableError", "RowProblem", "OriginError", "RebuyError", "StoreError", "UnreadableError", "TemporaryError",
        "FalError", "SubmitError", "NotSentError", "RejectedError", "AccountLockedError", "AmbiguousSubmitError",
        "RequestFailedError", "ReadError", "GoneError", "WebhookError", "ImageError", "IncompleteImageError",
    ),
}  # fmt: skip
"""By heading and module, what is imported from there."""

HOOKS = {"setup_for_execution", "handle_output", "load_input", "resolve_from_model", "build_defs"}
"""Methods that only Dagster calls."""

HEAD = """# API reference

Every name that is meant to be imported, and where from; made from docstrings. What each option takes is in
[options.md](options.md), the command line in [cli.md](cli.md). Everything else in the package may change at any time.
"""


def page() -> str:
    """The page."""
    lines = [HEAD]
    for (heading, module), found in documented().items():
        lines.append(f"## {heading}\n\n`from {module} import ...`\n")
        for one in found:
            lines += _described(one, "###")
    lines.append("## The image table\n\nThe columns of a manifest.\n")
    lines += [f"- `{column.name}` (`{column.type}`): {column.meaning}" for column in COLUMNS]
    return "\n".join(lines).rstrip() + "\n"


def documented() -> dict[tuple[str, str], list[Documented]]:
    """What the page describes, by heading and module."""
    package = griffe.load(
        PACKAGE,
        search_paths=[str(ROOT)],
        docstring_parser="google",
        docstring_options={"returns_multiple_items": False},
    )
    found = {}
    for (heading, module), names in GROUPS.items():
        home = package[module.removeprefix(PACKAGE).removeprefix(".")] if module != PACKAGE else package
        found[heading, module] = [_target(home[name]) for name in names]
    return found


def members(found: Documented) -> list[Documented]:
    """The public methods and properties of a class, with those of bases that are not on the page themselves."""
    if not isinstance(found, griffe.Class):
        return []
    shown = {name for names in GROUPS.values() for name in names}
    hidden = [base for base in found.resolved_bases if base.path.startswith(PACKAGE) and base.name not in shown]
    every = [item for one in (found, *hidden) for item in one.members.items()]
    return [
        member
        for name, member in every
        if not name.startswith("_")
        and name not in HOOKS
        and (
            isinstance(member, griffe.Function)
            or (isinstance(member, griffe.Attribute) and "property" in member.labels)
        )
    ]


def fields(found: Documented) -> dict[str, FieldInfo]:
    """The fields of a pydantic model itself, without what it inherits; none for anything else."""
    kind = getattr(import_module(found.module.path), found.name, None) if found.is_class else None
    if not inspect.isclass(kind) or not issubclass(kind, BaseModel):
        return {}
    if kind is GptImgComponent:
        return dict(GptImgComponent.model().model_fields)
    return {name: field for name, field in kind.model_fields.items() if name in kind.__annotations__}


def is_fixture(found: Documented) -> bool:
    """Whether pytest calls it, and no user."""
    return any(decorator.callable_path == "pytest.fixture" for decorator in getattr(found, "decorators", ()))


def parameters(found: Documented) -> list[griffe.Parameter]:
    """What users call a function or a class with; none for pydantic models, exceptions and fixtures of pytest."""
    if isinstance(found, griffe.Attribute) or fields(found) or is_error(found) or is_fixture(found):
        return []
    return [one for one in found.parameters if one.name not in {"self", "cls"} and not one.name.startswith("_")]


def is_error(found: Documented) -> bool:
    """Whether it is an exception: caught by users, never made by them."""
    return found.is_class and found.name.endswith("Error")


def error_attributes(found: Documented) -> set[str]:
    """What an exception says beside its message: its own public attributes."""
    if not is_error(found):
        return set()
    return {name for name, member in found.members.items() if member.is_attribute and not name.startswith("_")}


def described_names(found: Documented) -> set[str]:
    """The parameters and attributes that the docstring of a function, or of a class and its `__init__`, describes."""
    return {
        item.name.lstrip("*")
        for section in _sections(found)
        if section.kind in {griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes}
        for item in section.value
        if item.description.strip()
    }


def attribute_models() -> dict[str, tuple[str, type[BaseModel]]]:
    """Attributes of attributes of the component: by class, whose they are, and the model that `dg` shows."""
    found: dict[str, tuple[str, type[BaseModel]]] = {}
    for name, field in GptImgComponent.model().model_fields.items():
        for kind in _models_in(field.annotation):
            own = kind.__name__.removesuffix("Model")
            if hasattr(attributes, own):  # others are Dagster's
                found.setdefault(own, (name, kind))
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - a type, or an alias of types
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models_in(part)


def _target(found: griffe.Object | griffe.Alias) -> Any:  # noqa: ANN401 - griffe's classes have no common type for it
    """What a name stands for: the package's own names are imported where they are first used."""
    return found.final_target if isinstance(found, griffe.Alias) else found


def _described(found: Documented, heading: str) -> Iterator[str]:
    """The lines of one name, and of what a class has."""
    yield f"{heading} `{found.name}`\n"
    if parameters(found) or (found.is_function and not is_fixture(found)):
        yield f"```text\n{_signature(found)}\n```\n"
    elif isinstance(found, griffe.Class) and found.bases:
        yield f"Derived from {', '.join(f'`{base}`' for base in found.bases)}.\n"
    for section in _sections(found):
        yield from _section(section)
    if fields(found):
        yield "Attributes of a `defs.yaml`:\n" if found.name == GptImgComponent.__name__ else "Fields:\n"
        yield from (_field(found, name, field) for name, field in fields(found).items())
        yield ""
    if found.name == GptImgComponent.__name__:
        for name, (attribute, kind) in attribute_models().items():
            whose = "any text" if name == "Variable" else f"`{attribute}`"
            yield f"#### {whose}: {name}\n\n{inspect.getdoc(getattr(attributes, name))}\n"
            yield from (f"- `{field}`: {about.description}" for field, about in kind.model_fields.items())
            yield ""
    for member in members(found):
        yield from _described(member, f"{heading}#")


def _signature(found: Documented) -> str:
    shown = [_parameter(parameter) for parameter in parameters(found)]
    kinds = [parameter.kind for parameter in parameters(found)]
    if griffe.ParameterKind.keyword_only in kinds and griffe.ParameterKind.var_positional not in kinds:
        shown.insert(kinds.index(griffe.ParameterKind.keyword_only), "*")
    returns = f" -> {found.returns}" if isinstance(found, griffe.Function) and found.returns is not None else ""
    line = f"{found.name}({', '.join(shown)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{found.name}(", *(f"    {one}," for one in shown), f"){returns}"])


def _parameter(found: griffe.Parameter) -> str:
    stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
    star = "" if found.kind is None else stars.get(found.kind, "")
    annotation = f": {found.annotation}" if found.annotation is not None else ""
    default = f" = {found.default}" if found.default is not None and not star else ""
    return f"{star}{found.name}{annotation}{default}"


def _field(found: Documented, name: str, field: FieldInfo) -> str:
    """One field of a pydantic model: its name, its type (but of the component: those are long), its default."""
    kind = None if found.name == GptImgComponent.__name__ else getattr(found.members[name], "annotation", None)
    is_open = field.default in (PydanticUndefined, None, "", UNSET) or field.default_factory is not None
    about = ", ".join([f"`{kind}`"] * (kind is not None) + [f"default `{field.default!r}`"] * (not is_open))
    return f"- `{name}`{f' ({about})' if about else ''}: {field.description}"


def _sections(found: Documented) -> Iterator[griffe.DocstringSection]:
    """The sections of a docstring; a class is described by that of its `__init__`, too."""
    constructor = found.members.get("__init__") if found.is_class else None
    for one in (found, constructor):
        if one is not None and one.docstring is not None:
            yield from one.docstring.parsed


def _section(section: griffe.DocstringSection) -> Iterator[str]:
    if section.kind is griffe.DocstringSectionKind.text:
        yield f"{section.value}\n"
        return
    yield f"{section.kind.value.replace('_', ' ').capitalize()}:\n"
    for item in section.value:
        name = getattr(item, "name", None) or getattr(item, "annotation", None)
        words = re.sub(r"\s+", " ", item.description)
        yield f"- `{name}`: {words}" if name else f"- {words}"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
