"""Reading of prompt tables and templates into validated rows. Of `fal/`, it uses registry, types and addresses."""

from __future__ import annotations

from dagster_gptimg.prompts.model_change import Move
from dagster_gptimg.prompts.readers.formats import FORMATS, TableFile, with_format
from dagster_gptimg.prompts.readers.sources import Source, known_as
from dagster_gptimg.prompts.readers.sql import SqlTable
from dagster_gptimg.prompts.references import Reference, ReferenceRoot, References
from dagster_gptimg.prompts.row_batch import RowBatch
from dagster_gptimg.prompts.rows import read_rows
from dagster_gptimg.prompts.spec import PromptRow, PromptSpec, Seen

__all__ = [
    "FORMATS",
    "Move",
    "PromptRow",
    "PromptSpec",
    "Reference",
    "ReferenceRoot",
    "References",
    "RowBatch",
    "Seen",
    "Source",
    "SqlTable",
    "TableFile",
    "known_as",
    "read_rows",
    "with_format",
]
