"""Validated rows in batches and as columns: no object is made for a row until it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagster_gptimg.fal.types import Json
from dagster_gptimg.prompts.references import Reference
from dagster_gptimg.prompts.spec import PromptRow


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some rows of a table, in its order. Iterate over it for `PromptRow`s.

    Attributes:
        row_ids: the id of each row, as a `PromptRow` has it.
        prompts: the prompt of each row.
        arguments: the model's inputs of each row, without the prompt.
        columns: of each row everything else that it has, as JSON.
        lines: where each row stands in its table, from 1.
        references: of each row its reference images that are no public URLs, by their text in the arguments.
    """

    row_ids: Sequence[str]
    prompts: Sequence[str]
    arguments: Sequence[Mapping[str, Json]]
    columns: Sequence[str]
    lines: Sequence[int]
    references: Sequence[Mapping[str, Reference]]

    def __len__(self) -> int:
        return len(self.row_ids)

    def __iter__(self) -> Iterator[PromptRow]:
        every = (self.row_ids, self.prompts, self.arguments, self.columns, self.lines, self.references)
        for row_id, prompt, arguments, columns, line, references in zip(*every, strict=True):
            places = {token: found.source for token, found in references.items()}
            yield PromptRow(row_id, prompt, arguments, json.loads(columns), line, places)
