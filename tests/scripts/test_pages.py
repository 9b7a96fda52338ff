"""What `make test-install` takes from the pages is what they say."""

from __future__ import annotations

import pytest

from scripts import newcomer, pages
from tests.support import ROOT

PAGE = """# A page

`table.csv` needs a column `prompt`, and `other.txt` none:

```csv
prompt
a cup
```

Not a file, in spite of `table.csv` here. It is a look at one:

```csv
other
```

## First

```console
$ pip install './dagster-gptimg[s3]' polars  # the extra
$ dagster-gptimg plan table.csv --template "a # in {it}"
2 rows
$0.02
$ make demo    # draws
```

```python
print("```")
```

Save it as `run.py`, and go on.

## Second

```console
$ export A=1
```
"""


def test_commands_come_in_order_with_what_is_printed_below_them() -> None:
    assert pages.steps(PAGE) == [
        pages.Step("pip install './dagster-gptimg[s3]' polars  # the extra", ()),
        pages.Step('dagster-gptimg plan table.csv --template "a # in {it}"', ("2 rows", "$0.02")),
        pages.Step("make demo    # draws", ()),
        pages.Step("export A=1", ()),
    ]


def test_a_section_ends_where_the_next_begins() -> None:
    assert [step.line for step in pages.steps(pages.section(PAGE, "Second"))] == ["export A=1"]
    with pytest.raises(ValueError, match="0 sections are called 'Third'"):
        pages.section(PAGE, "Third")


def test_files_are_the_blocks_that_the_page_names() -> None:
    assert pages.files(PAGE) == {"table.csv": "prompt\na cup\n", "run.py": 'print("```")\n'}


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("pip install dagster-gptimg", "pip install '/w/it.whl'"),
        ("pip install 'dagster-gptimg[s3,sql]' polars", "pip install '/w/it.whl[s3,sql]' polars"),
        ("pip install dagster-gptimg-other", "pip install dagster-gptimg-other"),
        ("pip install './dagster-gptimg[s3]'", "pip install './dagster-gptimg[s3]'"),
        ("dagster-gptimg doctor --store .", "dagster-gptimg doctor --store ."),
    ],
)
def test_only_installs_by_name_become_installs_of_the_wheel(line: str, made: str) -> None:
    assert pages.from_wheel(line, "/w/it.whl") == made


@pytest.mark.parametrize("walk", newcomer.WALKS, ids=lambda walk: walk.page)
def test_each_page_that_is_followed_installs_and_starts_dagster_on_files_that_it_shows(walk: newcomer.Walk) -> None:
    text = (ROOT / walk.page).read_text(encoding="utf-8")
    text = text if walk.heading is None else pages.section(text, walk.heading)
    lines = [step.line for step in pages.steps(text)]
    assert [line for line in lines if line.startswith("pip install ")]
    assert [line for line in lines if line.startswith(("make dev", "dagster dev"))]
    copied = [line.split()[1] for line in lines if line.startswith("cp ")]
    assert all((ROOT / name.removeprefix(f"{newcomer.CLONE}/")).is_file() for name in copied)
    there = {newcomer.VERDICTS, *pages.files(text), *copied, *(name.rpartition("/")[2] for name in copied)}
    used = {word for line in lines for word in line.split() if word.endswith((".csv", ".py"))}
    assert used <= there


def test_readme_shows_the_command_line_with_the_ids_of_the_table_and_without_a_key() -> None:
    lines = [step.line for step in pages.steps((ROOT / "README.md").read_text(encoding="utf-8"))]
    reads = [line for line in lines if line.startswith(("dagster-gptimg plan ", "dagster-gptimg generate "))]
    assert len(reads) >= 3
    assert all("--id-column sku" in line for line in reads)
    emulated = lines.index("dagster-gptimg emulate")
    assert any(line.startswith("export FAL_BASE_URL=http") for line in lines[emulated:])
