"""The registry: inputs and prices of fal's pages, told in fal's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from dagster_gptimg.errors import ArgumentsError, UsageError
from dagster_gptimg.fal.registry import builtin
from dagster_gptimg.fal.registry.builtin import all_models, get_model, register
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.openai import TextToImage
from dagster_gptimg.fal.registry.overview import overview
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.fal.types import Json
from tests.support import ROOT

MINI = get_model("gpt-image-1-mini")
SQUARE = {"image_size": "1024x1024", "prompt": "a red cup"}


def price(**arguments: Any) -> tuple[str, str]:
    low, high = MINI.price({**SQUARE, **arguments})
    return str(low), str(high)


@pytest.mark.parametrize(
    ("arguments", "dollars"),
    [
        ({"quality": "low"}, "0.01"),
        ({"quality": "low", "num_images": 2}, "0.02"),
        ({"quality": "low", "num_images": 3}, "0.02"),
        ({"quality": "low", "num_images": 4}, "0.03"),
        ({"quality": "medium"}, "0.02"),
        ({"quality": "medium", "num_images": 4}, "0.05"),
        ({"quality": "high"}, "0.04"),
        ({"quality": "high", "image_size": "1536x1024"}, "0.06"),
        ({"quality": "low", "prompt": "word " * 1000}, "0.02"),
    ],
)
def test_a_price_is_fals_table_rounded_up_to_a_cent(arguments: dict[str, Any], dollars: str) -> None:
    assert price(**arguments) == (dollars, dollars)


def test_the_upper_end_is_the_worst_case_also_for_text_without_spaces() -> None:
    assert price(quality="low", prompt="看" * 30_000) == ("0.01", "0.19")
    assert price(quality="low", prompt="word " * 20_000)[1] == "0.21"


def test_auto_is_a_range_and_never_a_guess() -> None:
    assert price() == ("0.01", "0.04")
    assert price(image_size="auto") == ("0.01", "0.06")
    assert price(image_size="auto", quality="medium") == ("0.02", "0.02")
    assert price(num_images=4, image_size="auto") == ("0.03", "0.21")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("image_size", ["auto", "1024x1024", "1536x1024", "1024x1536"], ["1024", "512x512", 3]),
        ("background", ["auto", "transparent", "opaque"], ["white"]),
        ("quality", ["auto", "low", "medium", "high"], ["hihg", "LOW"]),
        ("output_format", ["jpeg", "png", "webp"], ["jpg", "gif"]),
        ("num_images", [1, 4, 10, 1000, "2", " 2 ", "2.0", 3.0], [0, -1, 1001, 1.5, True, "many", "1_0", "1e1", "1.5"]),
        ("sync_mode", [False, "false"], [True, "true", "maybe"]),
    ],
)
def test_inputs_are_fals(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert name in MINI.check({name: value})
    for value in bad:
        with pytest.raises(ArgumentsError) as caught:
            MINI.check({name: value})
        assert [field for field, _ in caught.value.problems] == [name]


def test_values_take_one_canonical_form() -> None:
    assert MINI.check({"num_images": "2.0", "quality": "  ", "sync_mode": "FALSE"}) == {
        "num_images": 2,
        "sync_mode": False,
    }
    assert MINI.check({"prompt": " a  cup\n"}) == {"prompt": " a  cup\n"}
    given = {"num_images": "2", "quality": " low ", "background": None, "image_size": "", "output_format": float("nan")}
    assert MINI.check(given) == {"num_images": 2, "quality": "low"}


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ArgumentsError, match="sync_mode: true keeps the image out of fal's history"):
        MINI.check({"sync_mode": True})
    with pytest.raises(ArgumentsError, match="output_format: jpeg has no transparency"):
        MINI.check({"background": "transparent", "output_format": "jpeg"})
    with pytest.raises(ArgumentsError, match=r"qualty: .* did you mean quality\?"):
        MINI.check({"qualty": "low"})
    with pytest.raises(ArgumentsError, match="seed: gpt-image-1-mini does not have this input; it has background"):
        MINI.check({"seed": 1})


def test_every_wrong_input_is_told_at_once_with_the_nearest_right_one() -> None:
    with pytest.raises(ArgumentsError) as caught:
        MINI.check({"Qualty": "low", "quality": "HIHG", "num_images": 0, "output_format": "jpg", "seed": 1})
    told = dict(caught.value.problems)
    assert set(told) == {"Qualty", "quality", "num_images", "output_format", "seed"}
    assert "did you mean quality?" in told["Qualty"]
    assert told["quality"] == "'HIHG' is not one of auto, low, medium, high; did you mean high?"
    assert "did you mean jpeg?" in told["output_format"]


@pytest.mark.parametrize("prompt", ["", " ", "\n\t", "\u3000"])
def test_a_blank_prompt_is_wrong_and_not_merely_absent(prompt: str) -> None:
    with pytest.raises(ArgumentsError, match="prompt: the prompt is empty"):
        MINI.check({"prompt": prompt})


def test_the_prompts_bound_is_in_characters() -> None:
    assert MINI.check({"prompt": "🪑" * 32_000})
    with pytest.raises(ArgumentsError, match="at most 32000 characters"):
        MINI.check({"prompt": "x" * 32_001})


def test_key_arguments_leave_out_the_first_defaults_and_nothing_else() -> None:
    assert MINI.key_arguments({"prompt": "x", "quality": "auto", "num_images": 1, "background": "opaque"}) == {
        "prompt": "x",
        "background": "opaque",
    }


def test_models_by_name_and_endpoint() -> None:
    assert get_model("fal-ai/gpt-image-1-mini") is MINI
    with pytest.raises(UsageError, match="did you mean gpt-image-1-mini"):
        get_model("gpt-image-mini")


def test_a_model_of_your_own_in_ten_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "_REGISTRY", dict(builtin._REGISTRY))
    register(
        FalModel(
            name="mine",
            endpoint="me/mine",
            inputs=TextToImage,
            key_defaults={"num_images": 1},
            price=lambda _: Price(Decimal("0.10"), Decimal("0.20")),
        )
    )
    assert get_model("me/mine").price({}).high == Decimal("0.20")


def test_nothing_outside_the_registry_knows_a_models_name_or_price() -> None:
    package = ROOT / "dagster_gptimg"
    for path in package.rglob("*.py"):
        if path.parent == package / "fal" / "registry" or "emulator" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"gpt-image-\d|nano-banana|seedream|flux-2|0\.0(05|06|08|11|12|15|35|36|52)\b", text), path


FAMILIES = [
    "gpt-image-1-mini",
    "gpt-image-1",
    "gpt-image-1.5",
    "gpt-image-2",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-sunburst",
]
REFERENCE = "https://example.com/a.png"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_with_a_reference_goes_to_the_models_endpoint_for_edits(name: str) -> None:
    model = get_model(name)
    assert model.edit is not None
    found = model.check({"prompt": "x", "image_urls": f" {REFERENCE} "})
    assert found == {"prompt": "x", "image_urls": [REFERENCE]}
    assert model.variant(found) is model.edit
    assert model.variant({"prompt": "x"}) is model
    assert get_model(model.edit.name) is get_model(model.edit.endpoint) is model.edit
    assert get_model(model.endpoint) is model
    assert model.endpoints == (model.endpoint, model.edit.endpoint)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (REFERENCE, [REFERENCE]),
        ('["a.png", " b.png"]', ["a.png", "b.png"]),
        (["a.png", "b.png"], ["a.png", "b.png"]),
    ],
)
def test_references_are_one_or_a_list(cell: object, found: list[str]) -> None:
    assert MINI.check({"image_urls": cell}) == {"image_urls": found}


@pytest.mark.parametrize("cell", ["[", "[1]", '["a", ""]', 3, [None], {}, '{"a": 1}' * 0 or "[]", ["x"] * 17])
def test_wrong_references_are_told(cell: object) -> None:
    with pytest.raises(ArgumentsError) as caught:
        MINI.check({"image_urls": cell})
    assert [name for name, _ in caught.value.problems] == ["image_urls"]


def test_an_edit_without_a_reference_is_told() -> None:
    model = get_model("gpt-image-1.5")
    found = model.check({"input_fidelity": "low"})
    with pytest.raises(
        ArgumentsError, match=r"image_urls: fal-ai/gpt-image-1.5/edit edits images, but the row has none"
    ):
        model.demand_required(found)
    with pytest.raises(ArgumentsError, match="name at least one reference image"):
        get_model("gpt-image-1-mini/edit").demand_required({"prompt": "x"})
    model.demand_required({"prompt": "x"})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("square_hd", "square_hd"),
        ("1024x1536", {"width": 1024, "height": 1536}),
        ({"width": 1920, "height": 1088}, {"width": 1920, "height": 1088}),
        ('{"width": 1920, "height": 1088}', {"width": 1920, "height": 1088}),
    ],
)
def test_sizes_are_presets_or_pixels(given: object, found: object) -> None:
    assert get_model("gpt-image-2").check({"image_size": given}) == {"image_size": found}


@pytest.mark.parametrize("size", ["huge", "100x100", "1000x1000", "4096x1024", "3840x1024", "{", {"width": 1024}])
def test_wrong_sizes_are_told(size: object) -> None:
    with pytest.raises(ArgumentsError) as caught:
        get_model("gpt-image-2").check({"image_size": size})
    assert {name for name, _ in caught.value.problems} == {"image_size"}


def test_what_a_model_does_not_have_is_told() -> None:
    with pytest.raises(ArgumentsError, match="background: gpt-image-2 does not have this input"):
        get_model("gpt-image-2").check({"background": "transparent"})
    with pytest.raises(ArgumentsError, match=r"quality: 'auto' is not one of low, medium, high"):
        get_model("gpt-image-1.5").check({"quality": "auto"})
    with pytest.raises(ArgumentsError, match=r"image_size: 'auto' is not one of 1024x1024"):
        get_model("gpt-image-1.5").check({"image_size": "auto"})
    assert get_model("gpt-image-1.5").check({"image_size": "auto", "image_urls": REFERENCE})["image_size"] == "auto"


@pytest.mark.parametrize(
    ("name", "arguments", "low", "high"),
    [
        ("gpt-image-1", {"quality": "medium", "image_size": "1024x1024"}, "0.05", "0.05"),
        ("gpt-image-1", {"quality": "high", "image_size": "1536x1024", "num_images": 2}, "0.51", "0.51"),
        ("gpt-image-1-mini", {"quality": "low", "image_size": "1024x1024", "image_urls": ["a"]}, "0.01", "0.01"),
        ("gpt-image-1-mini", {"quality": "low", "image_size": "1024x1024", "image_urls": ["a"] * 4}, "0.01", "0.02"),
        ("gpt-image-1.5", {"quality": "medium", "image_size": "1536x1024"}, "0.050040", "0.070040"),
        ("gpt-image-1.5", {}, "0.133040", "0.153040"),
        ("gpt-image-2", {"quality": "high", "image_size": {"width": 1024, "height": 1024}}, "0.210730", "0.210760"),
        ("gpt-image-2", {"quality": "low", "image_size": {"width": 1024, "height": 1024}}, "0.005890", "0.005920"),
    ],
)
def test_prices_of_the_families(name: str, arguments: dict[str, Json], low: str, high: str) -> None:
    assert get_model(name).cost({"prompt": "red cup", **arguments}) == Price(Decimal(low), Decimal(high))


@pytest.mark.parametrize("name", ["gpt-image-1-mini", "gpt-image-1", "gpt-image-2"])
def test_auto_spans_every_tier_and_size(name: str) -> None:
    for model in (get_model(name), get_model(f"{name}/edit")):
        base: dict[str, Json] = {"prompt": "a red cup"}
        if model.reference_inputs:
            base["image_urls"] = [REFERENCE]
        span = model.cost({**base, "quality": "auto", "image_size": "auto"})
        for quality in ("low", "medium", "high"):
            size = model.check({"image_size": "1024x1536"})["image_size"]
            cost = model.cost({**base, "quality": quality, "image_size": size})
            assert 0 < span.low <= cost.low <= cost.high <= span.high


def test_models_that_end_name_their_successor() -> None:
    for name in ("gpt-image-1-mini", "gpt-image-1", "gpt-image-1.5"):
        assert get_model(name).successor == "gpt-image-2.5-flare"
    for model in all_models():
        assert (model.sunset is None) == (model.successor is None)
        if model.successor:
            assert get_model(model.successor).sunset is None


def test_every_entry_says_where_it_was_read_and_when() -> None:
    for model in all_models():
        assert any(model.endpoint in page for page in model.source)
        assert model.read is not None


def takes(model: FalModel, **arguments: Json) -> bool:
    try:
        return bool(model.check(arguments))
    except ArgumentsError:
        return False


def cost_in_words(model: FalModel, quality: str) -> str:
    size = model.check({"image_size": "1024x1024"})["image_size"]
    return str(model.cost({"quality": quality, "image_size": size}))


def test_the_table_of_models_in_the_docs_is_the_registry() -> None:
    """docs/fal.md: when this fails, these are the lines that belong there."""
    lines = []
    for model in all_models():
        if model.edit is not None and takes(model, quality="low"):
            masks = "".join(f", `{name}`" for name in model.edit.reference_inputs if "mask" in name)
            tiers = [tier for tier in ("low", "medium", "high", "xhigh", "max") if takes(model, quality=tier)]
            costs = ", ".join(cost_in_words(model, quality) for quality in tiers)
            then = f"`{model.successor}`" if model.successor else ""
            edits = f"`{model.edit.endpoint}`{masks}"
            lines.append(f"| `{model.name}` | `{model.endpoint}` | {edits} | {costs} | {model.sunset or ''} | {then} |")
    text = (ROOT / "docs" / "fal.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `gpt-image-") and line.count("|") == 7] == lines


def docs_rows(columns: int) -> list[list[str]]:
    """The rows of docs/fal.md's tables that have so many columns and begin with a model."""
    text = (ROOT / "docs" / "fal.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    return [row for row in rows if len(row) == columns]


def test_the_models_at_a_glance_in_the_docs_are_the_registry() -> None:
    rows = []
    for model in all_models():
        if model.edit is not None:
            found, edit = overview(model), overview(model.edit)
            prices = [str(found.price), str(edit.price), found.unit]
            limits = [str(found.most_images), str(found.most_references)]
            ends = [f"`{found.endpoint}`", f"`{edit.endpoint}`"]
            rows.append([f"`{model.name}`", *ends, *prices, *limits, f"[{found.read}]({found.source[0]})"])
    assert docs_rows(9) == rows


def test_the_models_without_a_prompt_in_the_docs_are_the_registry() -> None:
    rows = []
    for model in all_models():
        if not model.needs_prompt:
            found = overview(model)
            told = [found.prompt, str(found.price), found.unit, str(found.most_references)]
            rows.append([f"`{model.name}`", f"`{found.endpoint}`", *told, f"[{found.read}]({found.source[0]})"])
    assert [row for row in docs_rows(7) if row[2] in {"none", "optional"}] == rows


def amounts_of(price: object) -> set[Decimal]:
    """US dollars that a price function is made of."""
    found = list(vars(price).values())
    found += [value for each in found if isinstance(each, Mapping) for value in each.values()]
    return {value for value in found if isinstance(value, Decimal)}


def test_prices_in_the_docs_sentences_are_the_registrys() -> None:
    text = (ROOT / "docs" / "fal.md").read_text(encoding="utf-8")
    told = set()
    for item in re.findall(
        r"^- (`(?:nano|seedream|flux|birefnet|bria|clarity|topaz).*(?:\n  .*)*)", text, re.MULTILINE
    ):
        name = item.split("`")[1]
        for amount in re.findall(r"\$(\d+\.\d+)", item):
            told.add((name, amount))
            assert Decimal(amount) in amounts_of(get_model(name).price), (name, amount)
    with_prompt = {"nano-banana-2", "seedream-5-pro", "seedream-5-lite", "flux-2", "flux-2-pro"}
    alone = {model.name for model in all_models() if not model.needs_prompt}
    assert {name for name, _ in told} == with_prompt | alone


def test_single_prices_in_the_docs_are_the_registrys() -> None:
    names = {f"`{model.name}`" for model in all_models()}
    rows = [row for row in docs_rows(3) if row[0] in names]
    assert len(rows) >= 20
    for name, arguments, price in rows:
        model = get_model(name.strip("`"))
        said = dict(part.split("=") for part in re.findall(r"`([^`]+)`", arguments))
        assert price == str(model.cost(model.check(said))), (name, arguments)
