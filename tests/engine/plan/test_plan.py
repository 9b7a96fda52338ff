"""A plan reads its rows once, and gives each request the key that it has for ever."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from dagster_gptimg.engine.plan.plan import Plan, PlannedRow
from dagster_gptimg.engine.plan.request_keys import request_key
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.price_formulas import per_image
from dagster_gptimg.prompts import PromptSpec, read_rows
from tests import gpt_image_26

MINI = get_model("gpt-image-1-mini")


def planned(table: list[dict[str, Any]], **spec: Any) -> list[PlannedRow]:
    with Plan(read_rows(table, PromptSpec(MINI, **spec)), MINI) as plan:
        found = list(plan)
        assert (plan.rows, plan.requests) == (len(found), sum(len(row.keys) for row in found))
        assert [row.keys for row in plan] == [row.keys for row in found]
        assert b"".join(plan.keys()).hex() == "".join(key for row in found for key in row.keys)
    return found


def test_every_key_is_that_of_its_request_and_copy() -> None:
    found = planned(
        [{"prompt": p} for p in ("a", "b", "a", "a", 'q"\\\u00e9\u2028\n', "b")], arguments={"quality": "low"}
    )
    copies = [0, 0, 1, 2, 0, 1]
    for row, copy in zip(found, copies, strict=True):
        [request] = row.requests
        assert request.arguments == {"prompt": row.prompt, "quality": "low", "num_images": 1}
        assert row.keys == [request.key] == [request_key(MINI, request.arguments, copy)]
    assert len({row.keys[0] for row in found}) == 6


def test_images_are_cut_into_fours_and_copies_are_counted_by_request() -> None:
    first, second = planned([{"prompt": "a", "num_images": 9}, {"prompt": "a", "num_images": 5}])
    assert (first.images, second.images) == ([4, 4, 1], [4, 1])
    keys = [request_key(MINI, {"prompt": "a", "num_images": n}, c) for n, c in ((4, 0), (4, 1), (1, 0), (4, 2), (1, 1))]
    assert [*first.keys, *second.keys] == keys
    assert [request.images for request in first.requests] == [4, 4, 1]


def test_equal_rows_without_ids_are_told_apart_by_their_order() -> None:
    table = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}, {"prompt": "a", "quality": "low"}, {"prompt": "a"}]
    ids = [row.row_id for row in planned(table)]
    assert [ids[2], ids[4]] == [f"{ids[0]}-2", f"{ids[0]}-3"]
    assert len(set(ids)) == 5
    assert sorted(row.row_id for row in planned(table[::-1])) == sorted(ids)


def test_ids_that_a_column_gives_stay_as_they_are() -> None:
    assert [row.row_id for row in planned([{"prompt": "a", "id": i} for i in "xyz"], id_column="id")] == list("xyz")


def test_an_edit_goes_to_its_endpoint_with_its_reference() -> None:
    url = "https://example.com/a.png"
    plain, edit = planned([{"prompt": "a"}, {"prompt": "a", "image_urls": url}])
    assert (plain.requests[0].endpoint, edit.requests[0].endpoint) == MINI.endpoints
    assert edit.requests[0].arguments["image_urls"] == [url]


@pytest.mark.parametrize("change", [{"prompt": "c"}, {"quality": "high"}, {"note": "new"}, {"id": "9"}])
def test_a_plan_is_known_by_all_that_its_rows_say(change: dict[str, str]) -> None:
    def digest(*rows: dict[str, str]) -> str:
        with Plan(read_rows(list(rows), PromptSpec(MINI, id_column="id")), MINI) as plan:
            return plan.digest

    rows = {"id": "1", "prompt": "a", "note": "old"}, {"id": "2", "prompt": "b", "note": "old"}
    assert digest(*rows) == digest(*rows)
    assert digest({**rows[0], **change}, rows[1]) != digest(*rows) != digest(*rows[::-1])


@pytest.mark.parametrize("name", ["num_images", "max_images"])
def test_an_endpoint_that_makes_four_images_unasked_is_asked_for_one(name: str) -> None:
    document = json.loads(gpt_image_26.FILE.read_text(encoding="utf-8"))
    inputs = document["components"]["schemas"]["GptImage26Input"]["properties"]
    inputs.pop("num_images")
    inputs[name] = {"type": "integer", "minimum": 1, "maximum": 4, "default": 4}
    model = FalModel.from_openapi(document, price=per_image("0.05"))
    cases: list[tuple[dict[str, int], int]] = [({}, 1), ({name: 3}, 3)]
    for given, images in cases:
        with Plan(read_rows([{"prompt": "a cup", **given}], PromptSpec(model)), model) as plan:
            [row] = plan
        assert row.requests[0].arguments == {"prompt": "a cup", name: images}
        assert (row.images, row.prices[0].high) == ([images], Decimal("0.05") * images)
