#!/usr/bin/env bash
# Dagster drops the description of a component's field when the field has a default.
#
# One expects: the description that a component's author gives to a field, `Field(default=..., description=...)`, is the one
# that `dg list components`, the docs and the forms of Dagster's UI show, as they show that of a field without a default.
# What happens: the model that Dagster derives for the YAML puts its own `Field(default=..., description=None)` behind the
# author's, and the merge takes that None for the later word. Only fields without a default keep their descriptions; most
# options of most components have one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 pydantic==2.14.3
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import dagster as dg
from pydantic import Field


class Photos(dg.Component, dg.Model, dg.Resolvable):
    table: str = Field(description="The table of prompts.")
    quality: str = Field(default="low", description="The model's quality.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return dg.Definitions()


own = Photos.model_json_schema()["properties"]
shown = Photos.model().model_json_schema()["properties"]
print(f"dagster {version('dagster')}: of {({name: field['description'] for name, field in own.items()})}")
print(f"the schema of the YAML keeps {({name: field.get('description') for name, field in shown.items()})}")
assert shown["table"]["description"] == own["table"]["description"]
assert "description" not in shown["quality"], "Dagster has changed: look again"
PY
