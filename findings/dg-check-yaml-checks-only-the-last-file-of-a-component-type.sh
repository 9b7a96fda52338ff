#!/usr/bin/env bash
# `dg check yaml` checks only the last file of each component type.
#
# One expects: every `defs.yaml` of a project is validated, and one with a misspelt attribute is reported, however many
# components of that type there are.
# What happens: files are collected in a dict by the component's type, so that each file replaces the one before it. Two
# components of one type: the mistake in the first file passes ("All component YAML validated successfully", exit 0), and the
# same mistake in the last one is found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 dagster-dg-cli==1.13.27
mkdir -p "$folder/project/shop/defs/first" "$folder/project/shop/defs/second" "$folder/home"
cd "$folder/project"
cat > pyproject.toml <<'TOML'
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "shop"
registry_modules = ["shop.photos"]
TOML
touch shop/__init__.py shop/defs/__init__.py
cat > shop/photos.py <<'PY'
import dagster as dg


class Photos(dg.Component, dg.Model, dg.Resolvable):
    table: str

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return dg.Definitions()
PY
write() { printf 'type: shop.photos.Photos\nattributes:\n  table: a.csv\n%s' "$2" > "shop/defs/$1/defs.yaml"; }
export PATH="$folder/venv/bin:$PATH" PYTHONPATH="$PWD" DAGSTER_HOME="$folder/home" DAGSTER_DISABLE_TELEMETRY=1
check() { local status=0; dg check yaml > "$folder/said" 2>&1 || status=$?; echo "$status"; }

write first ''
write second '  tabel: b.csv
'
last=$(check)
grep -q tabel "$folder/said"
write first '  tabel: b.csv
'
write second ''
first=$(check)
echo "$(dg --version): a misspelt attribute in the last file ends with $last, in the first one with $first: $(tail -1 "$folder/said")"
[ "$last" != 0 ] && [ "$first" = 0 ] || { echo "dg has changed: look again"; exit 1; }
