"""All options of this package: name, default, rule and description of each.

All interfaces ("faces": image asset, run config, op, component, command line, notebook) take defaults and descriptions
from here, and refuse an invalid value with the message of its rule, before anything is read or sent. A name means the
same on each of them; `OTHER_NAMES` has the exceptions. The module imports nothing heavy: the command line's help is
made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from dagster_gptimg.base.option_rules import (
    DOLLARS,
    FILLED,
    FLAG,
    LINK_SECONDS,
    MAPPING,
    SAID_TEXT,
    SECONDS,
    SHARE,
    SHARE_OR_ANY,
    TEXT,
    TEXTS,
    TEXTS_BY_NAME,
    Face,
    Option,
    Rule,
    any_of,
    are_places,
    are_texts,
    is_number,
    is_pair,
    made,
    on_faces,
    one_of,
    whole,
)
from dagster_gptimg.base.row_status import AGAIN
from dagster_gptimg.errors import UsageError

LEAST_LIFECYCLE: Final = 3600
"""Seconds. A request that ends just as its run is stopped must still have its images when the next run asks."""

WATCHES: Final = ("poll", "stream", "webhook")
LAYOUTS: Final = ("folder", "imagefolder", "webdataset", "parquet", "zip")

_TABLE: Final[frozenset[Face]] = frozenset({"asset", "op", "component", "notebook", "command line"})
_RUN: Final[frozenset[Face]] = frozenset({"run", "op", "notebook", "command line"})
_REQUESTS: Final[frozenset[Face]] = frozenset({"requests", "op", "component", "command line"})


_ALL = (
    # the table
    *on_faces(
        _TABLE,
        Option(
            "model",
            None,
            any_of(replace(FILLED, words="the name of a model"), made("FalModel", "FalModel(...)")),
            "The model: a name of the registry. By default that of the dataset's first run; for a new dataset, the "
            "registry's default.",
        ),
        Option("dataset", None, FILLED, "The name of the images in the store."),
        Option("template", None, TEXT, "The prompt of every row, with {column} fields."),
        Option("prompt_column", None, FILLED, "The column that holds the prompt; `prompt` by default."),
        Option(
            "id_column", None, FILLED, "The column that holds the row's id; made from the row's content by default."
        ),
        Option(
            "arguments",
            None,
            MAPPING,
            "Model inputs for all rows, in fal's names; a column of the same name overrides one for its row.",
        ),
        Option(
            "inputs",
            None,
            Rule(
                "a list of columns, or the word none",
                lambda value: are_texts(value) or (isinstance(value, str) and value.strip().lower() == "none"),
            ),
            "The columns that are model inputs, or `none`; by default each column that has the name of one.",
        ),
        Option(
            "table_format",
            None,
            FILLED,
            "The format of a table whose name does not tell it: csv, tsv, txt, json, jsonl, xlsx, parquet or arrow.",
        ),
        Option(
            "image_columns",
            (),
            TEXTS,
            "The columns that hold the reference images of edits; a column named `image_urls` by default.",
        ),
        Option(
            "references_from",
            (),
            Rule("a list of folders or URLs, none of them blank", are_places, may_be_none=False, is_shown=False),
            "Folders and fsspec roots below which a row may name reference images, in addition to the store.",
        ),
    ),
    *on_faces(
        frozenset({"asset", "op", "component"}),
        Option(
            "storage_options",
            None,
            MAPPING,
            "Passed to fsspec when the table, or a reference image, is read from a URL.",
        ),
        Option(
            "max_failed",
            0.0,
            SHARE,
            "The share of rows (0 to 1) that may stay without images because they failed, are held, lost or missing, "
            "before the run counts as failed.",
        ),
        Option(
            "max_refused",
            None,
            SHARE_OR_ANY,
            "The share of rows (0 to 1) that may be refused for their content before the run counts as failed; any by "
            "default.",
        ),
    ),
    # money and time of a run
    *on_faces(
        _TABLE | {"run"},
        Option("max_cost_usd", None, DOLLARS, "US dollars that one run may spend at most; no limit by default."),
        Option(
            "max_in_flight",
            None,
            whole(1),
            "Requests at fal at once; by default as many as keep the account's slots busy.",
        ),
        Option(
            "watch",
            "poll",
            one_of(*WATCHES),
            "How a run notices that a request has ended: `poll` reads its status when it has probably ended, `stream` "
            "keeps a stream of its statuses open (64 requests in flight at most), `webhook` reads the inbox that "
            "`dagster-gptimg receive` fills.",
        ),
        Option("webhook_url", "", SAID_TEXT, "The public URL of `dagster-gptimg receive`, for `webhook`."),
    ),
    *on_faces(
        _RUN,
        Option("limit", None, whole(1), "Only the first rows of the table or partition: this number of them."),
        Option(
            "again",
            (),
            TEXTS,
            "What to buy again, once, as it stood when the run began: "
            f"{', '.join(f'`{status}`' for status in AGAIN)}, or row ids.",
        ),
        Option(
            "allow_rebuy",
            default=False,
            rule=FLAG,
            description="Let a run buy images again because the template, the model or an argument has changed. "
            "Without it a run that would buy more than a tenth of its rows again stops before anything is sent.",
        ),
        Option(
            "on_ambiguous",
            "hold",
            one_of("hold", "resubmit"),
            "What to do with a request whose reply was lost, when fal's history does not show it: `hold` leaves it "
            "until there is evidence, `resubmit` sends it again, which may pay for it twice (docs/guarantee.md).",
        ),
        Option("settle", 120.0, SECONDS, "Seconds to wait for fal's history to show a request whose reply was lost."),
        Option(
            "patience",
            7200.0,
            SECONDS,
            "Seconds after which a request without an end, or without available images, is left to a later run.",
        ),
    ),
    *on_faces(
        _RUN | {"store"},
        Option(
            "alone",
            default=False,
            rule=FLAG,
            description="Let a run use a store of which it is not known that of two runs at once only one buys a row: "
            "you see to it that no other run uses the dataset meanwhile. Without it such a run stops before anything "
            "is sent (docs/stores.md).",
        ),
    ),
    *on_faces(
        frozenset({"run", "op", "command line"}),
        Option("logs", default=False, rule=FLAG, description="Show queue positions, states and the model's own log."),
    ),
    # plans
    *on_faces(
        frozenset({"run", "op", "notebook"}),
        Option(
            "plan_only",
            default=False,
            rule=FLAG,
            description="Only show what would be bought and what it would cost; buy nothing.",
        ),
    ),
    *on_faces(
        frozenset({"run", "op"}),
        Option(
            "plan_model",
            None,
            FILLED,
            "Only show the cost of a move to this model, and the inputs that it does not accept; buy nothing.",
        ),
    ),
    # which rows
    *on_faces(
        frozenset({"notebook", "command line"}),
        Option(
            "regenerate",
            (),
            TEXTS,
            "Row ids: buy another take of these, whatever the verdicts on their images; the earlier takes stay.",
        ),
        Option(
            "partition",
            None,
            Rule("a pair, (column, value)", is_pair),
            "Only the rows with this value in this column, as a partition of the dataset.",
        ),
    ),
    # how a table is cut by date
    *on_faces(
        frozenset({"partitions"}),
        Option(
            "every",
            "daily",
            one_of("hourly", "daily", "weekly", "monthly"),
            "The length of a partition by date; hours are those of UTC.",
        ),
        Option(
            "week_starts_on",
            "sunday",
            one_of("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"),
            "The first day of a week.",
        ),
    ),
    # what requests are sent with
    *on_faces(
        _REQUESTS,
        Option(
            "priority",
            None,
            one_of("normal", "low", may_be_none=True),
            "The place in fal's queue: `low` lets the other callers of the endpoint go first.",
        ),
        Option(
            "start_timeout",
            None,
            Rule("more than 1 second", lambda value: is_number(value) and value > 1),
            "Seconds until a request must have begun; then it ends, unbilled, and is tried again.",
        ),
        Option(
            "tags",
            None,
            TEXTS_BY_NAME,
            "Tags for fal's billing reports, in addition to dataset, partition and key; 7 at most, 423 bytes together.",
        ),
        Option(
            "lifecycle",
            None,
            whole(LEAST_LIFECYCLE),
            "Seconds that fal's CDN keeps the output files; they are in the store by then.",
        ),
        Option("headers", None, TEXTS_BY_NAME, "Other headers of fal's platform, by name."),
        Option(
            "without_guarantee",
            default=False,
            rule=FLAG,
            description="Allow the input `sync_mode` and the header X-Fal-Store-IO: fal then keeps no data by which a "
            "lost request could be found (docs/fal.md).",
        ),
    ),
    # checks and sensors, which the component has as attributes of their own
    *on_faces(
        frozenset({"checks", "component"}),
        Option(
            "max_failure_rate",
            0.05,
            SHARE,
            "The share of rows (0 to 1) that may be without images, refused ones included.",
        ),
        Option(
            "sample",
            20,
            whole(0),
            "Maximum number of images whose files the checks read, different ones in each run; null: all.",
        ),
    ),
    *on_faces(
        frozenset({"sensor", "component"}),
        Option(
            "keys_per_tick",
            1000,
            whole(1, may_be_none=False),
            "Maximum number of partitions that one tick adds, and requests runs for.",
        ),
        Option("minimum_interval_seconds", 60, whole(1, may_be_none=False), "Minimum seconds between two ticks."),
    ),
    # exports
    *on_faces(
        frozenset({"export"}),
        Option("layout", "folder", one_of(*LAYOUTS), "The layout of an export (docs/export.md)."),
        Option(
            "only",
            "stored",
            one_of("stored", "approved"),
            "The images of an export: all that are stored, or those whose last verdict is `approved`.",
        ),
        Option(
            "file_names",
            None,
            FILLED,
            "The names of the images of an export without their endings, with {column} fields; made of row ids by "
            "default.",
        ),
        Option(
            "links",
            None,
            LINK_SECONDS,
            "Add a column of links to the images in an object store, valid for this number of seconds: "
            "each is a secret.",
        ),
        Option(
            "shard_mb",
            500,
            whole(1, may_be_none=False),
            "Maximum megabytes of images in a tar or Parquet file of an export.",
        ),
    ),
)

OPTIONS: Final[Mapping[str, Option]] = {option.name: option for option in _ALL}

OTHER_NAMES: Final[Mapping[str, str]] = {"max_cost": "max_cost_usd", "set": "arguments", "max_cost_usd": "max_cost"}
"""What the command line and `generate()` call otherwise; each of them accepts the other name, or names its own."""


def check(**values: object) -> None:
    """Make sure that values are what their options take; the names are those of `OPTIONS`, or of `OTHER_NAMES`.

    Raises:
        UsageError: one is not; nothing was read or sent.
    """
    for name, value in values.items():
        option = OPTIONS[name if name in OPTIONS else OTHER_NAMES[name]]
        wrong = option.rule.wrong(value)
        if wrong is not None:
            raise UsageError(f"{name} {wrong}")


def check_face(face: Face, given: Mapping[str, object]) -> None:
    """Make sure that all options of a face are what they take.

    Args:
        face: which one.
        given: the values of all its options, by the names that it calls them; whatever else is there is passed over.

    Raises:
        UsageError: one is not; nothing was read or sent.
        KeyError: one is not given: the face lacks an option that it should have.
    """
    names = [name for name, option in OPTIONS.items() if face in option.faces]
    called = [next((other for other, own in OTHER_NAMES.items() if own == n and other in given), n) for n in names]
    check(**{name: given[name] for name in called})


def default(name: str) -> Any:  # noqa: ANN401 - each option has a type of its own
    """The default of an option."""
    return OPTIONS[name].default


def description(name: str) -> str:
    """What an option does."""
    return OPTIONS[name].description
