"""Request keys never change: a release that moves one buys everything again.

`tests/fixtures/keys.jsonl` was written by the first release. If this test fails, mend the code, never the file.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.base.canonical_json import Canonical
from dagster_gptimg.engine.plan.request_keys import cut, request_key
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.types import Json
from tests.support import ROOT

MINI = get_model("gpt-image-1-mini")
LINES = (ROOT / "tests" / "fixtures" / "keys.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("line", LINES)
def test_keys_are_what_they_always_were(line: str) -> None:
    known = json.loads(line)
    assert request_key(get_model(known["model"]), known["arguments"], known["copy"]) == known["key"]


def test_another_take_is_another_purchase_and_the_first_has_no_number() -> None:
    first = request_key(MINI, {"prompt": "x"}, 0)
    assert request_key(MINI, {"prompt": "x"}, 0, 0) == first
    about: Any = {"arguments": {"prompt": "x"}, "copy": 0, "endpoint": MINI.endpoint, "recipe": 1, "take": 1}
    assert request_key(MINI, {"prompt": "x"}, 0, 1) == hashlib.sha256(rfc8785.dumps(about)).hexdigest()
    assert len({first, *(request_key(MINI, {"prompt": "x"}, copy, take) for copy in (0, 1) for take in (1, 2))}) == 5


def test_defaults_said_or_not_are_the_same_purchase() -> None:
    said: dict[str, Json] = {
        "prompt": "x",
        "quality": "auto",
        "image_size": "auto",
        "num_images": 1,
        "output_format": "png",
    }
    assert request_key(MINI, said, 0) == request_key(MINI, {"prompt": "x"}, 0)
    assert request_key(MINI, {"prompt": "x", "quality": "low"}, 0) != request_key(MINI, {"prompt": "x"}, 0)


def test_copies_are_different_purchases() -> None:
    assert len({request_key(MINI, {"prompt": "x"}, copy) for copy in range(100)}) == 100


def test_the_recipe_is_what_the_docs_say() -> None:
    text = '{"arguments":{"prompt":"x","quality":"low"},"copy":2,"endpoint":"fal-ai/gpt-image-1-mini","recipe":1}'
    key = hashlib.sha256(text.encode()).hexdigest()
    assert request_key(MINI, {"prompt": "x", "quality": "low", "num_images": 1}, 2) == key


@given(st.integers(1, 1000))
def test_a_row_is_cut_into_fours_and_a_rest(images: int) -> None:
    parts = cut(images, 4)
    assert sum(parts) == images
    assert set(parts[:-1]) <= {4}
    assert 1 <= parts[-1] <= 4


def test_strings_are_written_as_rfc_8785_has_them() -> None:
    letters = [
        *map(chr, range(0x2100)),
        "\ud7ff",
        "\ue000",
        "\ufffd",
        "\uffff",
        "\U0001f9f5",
        "\U0010ffff",
        "",
        '\\"\n',
    ]
    canonical = Canonical(lambda text: {"b": text, "a": [1, "x"]})
    for text in [*letters, "".join(letters)]:
        assert canonical.digest(text) == hashlib.sha256(rfc8785.dumps({"a": [1, "x"], "b": text})).digest()
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical.digest("half of a pair: \ud800")
