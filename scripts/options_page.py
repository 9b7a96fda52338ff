"""The page of all options, docs/options.md, from `dagster_gptimg.options`.

    python -m scripts.options_page

writes it; tests/test_options.py holds it to its source.
"""

from pathlib import Path

from dagster_gptimg.base.option_rules import Option
from dagster_gptimg.options import OPTIONS

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
FACES = ("asset", "run", "op", "component", "notebook", "command line")
OTHERS = {
    "requests": "`request=`",
    "checks": "`checks=`",
    "sensor": "sensor",
    "partitions": "`by_date`",
    "export": "export",
}
FLAGS = {
    "arguments": "--set", "image_columns": "--image-column", "max_cost_usd": "--max-cost", "tags": "--tag",
    "headers": "--header", "file_names": "--name",
}  # fmt: skip
HEAD = """# All options

Every option, once: its default, what it must be, and where it is given. A name means the same everywhere, and every
place keeps the same rule: a wrong value is refused before anything is read or sent. In notebooks `max_cost_usd` is
called `max_cost`. On the command line names have dashes (`--max-in-flight`); a few have another name, which the table
says.

*asset*: `gptimg_asset`, `build_gptimg_asset`. *run*: the run config of one run (`GenerateConfig`). *op*: the config of
`generate_images_op`. *component*: attributes of a `defs.yaml`. *notebook*: `generate()`. *command line*: `generate`,
and `plan` where they concern it. `RequestSettings` are given as `request=`, checks as `ImageChecks` or to
`build_gptimg_checks`. *export*: `build_export`, `images.export()` and `dagster-gptimg export`, where `file_names` is
`--name`.

| option | default | must be | what it does | where |
|---|---|---|---|---|
"""


def page() -> str:
    """The page."""
    return HEAD + "\n".join(_line(option) for option in OPTIONS.values()) + "\n"


def _line(option: Option) -> str:
    default = "" if option.default in (None, (), "") else f"`{option.default}`"
    what = option.description.replace("|", "\\|")
    where = [face for face in FACES if face in option.faces] + [OTHERS[f] for f in OTHERS if f in option.faces]
    if option.name in FLAGS and "command line" in option.faces:
        where[where.index("command line")] = f"command line (`{FLAGS[option.name]}`)"
    return f"| `{option.name}` | {default} | {option.rule.words} | {what} | {', '.join(where)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
