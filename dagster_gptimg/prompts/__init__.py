"""Prompt tables and templates in, checked rows out. Knows the registry's types only."""

from __future__ import annotations

from dagster_gptimg.prompts.formats import FORMATS, TableFile, with_format
from dagster_gptimg.prompts.moving import Move
from dagster_gptimg.prompts.references import ReferenceRoot, References
from dagster_gptimg.prompts.roles import Seen
from dagster_gptimg.prompts.rowbatch import RowBatch
from dagster_gptimg.prompts.rows import read_rows
from dagster_gptimg.prompts.sources import Source, known_as
from dagster_gptimg.prompts.spec import PromptRow, PromptSpec
from dagster_gptimg.prompts.sql import SqlTable

__all__ = [
    "FORMATS",
    "Move",
    "PromptRow",
    "PromptSpec",
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
