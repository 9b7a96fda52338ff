"""Which model a run has where nobody says one: that of the first run. No dataset that exists is bought anew."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dagster_gptimg import (
    FalModel,
    FalSettings,
    ImageStoreResource,
    build_gptimg_asset,
    generate,
    generate_images_op,
    get_model,
    register,
)
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.job import Options
from dagster_gptimg.engine.plan.model_choice import choose
from dagster_gptimg.errors import UnreadableError, UsageError
from dagster_gptimg.fal.registry import builtin
from dagster_gptimg.fal.registry.price_formulas import unknown_price
from dagster_gptimg.fal.settings import FalUrls
from dagster_gptimg.prompts import PromptSpec, read_rows
from dagster_gptimg.store.dataset import Dataset, FirstModel
from dagster_gptimg.store.root import Store
from tests.harness import Fal, Ran, begin, cli, records

if TYPE_CHECKING:
    from pathlib import Path

FLARE = "openai/gpt-image-2.5/flare/text-to-image"
MINI = "fal-ai/gpt-image-1-mini"
LOW = ("--set", "quality=low", "--set", "image_size=1024x1024")
ARGUMENTS = {"quality": "low", "image_size": "1024x1024"}
ROWS = [{"id": f"r{n}", "prompt": f"a thing, number {n}"} for n in range(3)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return path


def call(fal: Fal | None, command: str, table: Path, *more: str) -> Ran:
    named = ("--store", str(table.parent / "store"), "--dataset", "d", "--id-column", "id")
    return cli(fal, command, str(table), *named, *LOW, *more, "--json")


def about(store: Path) -> dict[str, Any]:
    return dict(json.loads((store / "d" / "dataset.json").read_text("utf-8")))


def begun_before(table: Path, fal: Fal) -> None:
    """The dataset as an earlier release has begun it: without a word about its model."""
    ran = call(fal, "generate", table, "--model", "gpt-image-1-mini")
    assert ran.status == 0, ran.stderr
    path = table.parent / "store" / "d" / "dataset.json"
    older = about(table.parent / "store")
    del older["model"]
    path.write_text(json.dumps(older), encoding="utf-8")


def test_a_new_dataset_gets_the_default_and_keeps_it(
    fal: Fal, table: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = call(None, "plan", table)
    assert "model: gpt-image-2.5-flare (the default)\n" in planned.stderr
    assert (planned.summary["model"], planned.summary["model_is"]) == ("gpt-image-2.5-flare", "the default")
    ran = call(fal, "generate", table)
    assert (ran.status, ran.summary["bought"]) == (0, 3), ran.stderr
    assert "model: gpt-image-2.5-flare (the default)\n" in ran.stderr
    assert {row["endpoint_id"] for row in fal.charged()} == {FLARE}
    assert about(store) == {
        "version": 1,
        "origin": about(store)["origin"],
        "salt": about(store)["salt"],
        "receipts": 2,
        "model": {"name": "gpt-image-2.5-flare", "endpoint": FLARE},
    }
    again = call(None, "plan", table)
    assert "3 images reused; 0 images to buy for $0.00" in again.stderr
    assert "model: gpt-image-2.5-flare (the dataset's model)\n" in again.stderr
    # A later release has another default.
    monkeypatch.setattr("dagster_gptimg.engine.plan.model_choice.DEFAULT_MODEL", "gpt-image-2")
    dataset = Dataset(Store(str(store)), "d")
    assert choose(None, dataset) == (get_model("gpt-image-2.5-flare"), "the dataset's model")
    assert choose(None, Dataset(Store(str(store)), "new")) == (get_model("gpt-image-2"), "the default")


def test_a_dataset_that_does_not_say_its_model_keeps_the_former_default(fal: Fal, table: Path, store: Path) -> None:
    begun_before(table, fal)
    bill = fal.bill()
    planned = call(None, "plan", table)
    assert "model: gpt-image-1-mini (the dataset's model)\n" in planned.stderr
    assert (planned.summary["bought"], planned.summary["reused"]) == (0, 3)
    ran = call(fal, "generate", table)
    assert (ran.status, ran.summary["bought"], ran.summary["reused"]) == (0, 0, 3), ran.stderr
    assert fal.bill() == bill
    assert "model" not in about(store)
    more = call(fal, "generate", table, "--set", "background=opaque", "--allow-rebuy")
    assert more.summary["bought"] == 3
    assert {row["endpoint_id"] for row in fal.charged()} == {MINI}


def test_a_dataset_keeps_the_model_that_its_first_run_was_given(fal: Fal, table: Path, store: Path) -> None:
    assert call(fal, "generate", table, "--model", "gpt-image-2").summary["bought"] == 3
    assert about(store)["model"] == {"name": "gpt-image-2", "endpoint": "openai/gpt-image-2"}
    assert call(fal, "generate", table).summary["reused"] == 3
    moved = call(None, "plan", table, "--model", "gpt-image-2.5-flare")
    assert "model: gpt-image-2.5-flare (as given)\n" in moved.stderr
    assert moved.summary["bought"] == 3
    words = "quality means something else: from gpt-image-2 to gpt-image-2.5-flare, medium is high, high is max\n"
    assert words in moved.stderr
    assert "means something else" not in call(None, "plan", table).stderr
    assert call(fal, "generate", table, "--model", "gpt-image-2.5-flare", "--allow-rebuy").summary["bought"] == 3
    assert call(fal, "generate", table).summary["bought"] == 0
    assert about(store)["model"]["name"] == "gpt-image-2"
    assert {record["endpoint"] for record in records(store, "d")} == {"openai/gpt-image-2"}


def run_asset(fal: Fal, store: Path, **more: Any) -> Any:
    asset = build_gptimg_asset("d", prompts=ROWS, id_column="id", **{"arguments": ARGUMENTS, **more})
    resources = {"fal": fal.resource, "image_store": ImageStoreResource(root=str(store))}
    return dg.materialize([asset], resources=resources)


def run_op(fal: Fal, store: Path, table: Path) -> Any:
    @dg.job
    def job() -> None:
        generate_images_op()

    config = {"prompts": str(table), "dataset": "d", "id_column": "id", "arguments": ARGUMENTS}
    resources = {"fal": fal.resource, "image_store": ImageStoreResource(root=str(store))}
    return job.execute_in_process(resources=resources, run_config={"ops": {"generate_images_op": {"config": config}}})


@pytest.mark.parametrize("face", ["command line", "notebook", "asset", "op"])
@pytest.mark.parametrize("older", [False, True])
def test_it_is_the_same_in_every_face(face: str, fal: Fal, table: Path, store: Path, *, older: bool) -> None:
    if older:
        begun_before(table, fal)
    if face == "command line":
        assert call(fal, "generate", table).status == 0
    elif face == "notebook":
        settings = FalSettings("test-key", FalUrls.at(fal.url))
        generate(ROWS, store=store, dataset="d", id_column="id", arguments=ARGUMENTS, settings=settings, progress=False)
    elif face == "asset":
        assert run_asset(fal, store).success
    else:
        assert run_op(fal, store, table).success
    assert [row["endpoint_id"] for row in fal.charged()] == [MINI if older else FLARE] * 3
    assert {record["endpoint"] for record in records(store, "d")} == {MINI if older else FLARE}
    assert ("model" in about(store)) is not older


def test_first_runs_that_start_at_once_agree(fal: Fal, table: Path, store: Path) -> None:
    named = ("--store", str(store), "--dataset", "d", "--id-column", "id", *LOW, "--json")
    running = [begin(fal, "generate", str(table), *named) for _ in range(3)]
    for process in running:
        process.join(120)
    assert {process.exitcode for process in running} <= {0, 3}
    assert sorted(row["arguments"]["prompt"] for row in fal.charged()) == [row["prompt"] for row in ROWS]
    assert {row["endpoint_id"] for row in fal.charged()} == {FLARE}
    assert about(store)["model"]["name"] == "gpt-image-2.5-flare"


@pytest.mark.parametrize("other", [FirstModel("gpt-image-2", "openai/gpt-image-2"), None])
def test_whoever_comes_second_with_another_default_stops_before_anything_is_sent(
    other: FirstModel | None, fal: Fal, store: Path
) -> None:
    """Between the reading of the table and the opening of the dataset another run has begun it."""
    dataset, origin = Dataset(Store(str(store)), "d"), f"emulator:{fal_id(fal)}"
    model, why = choose(None, dataset)
    Dataset(Store(str(store)), "d").open(origin, other)
    rows = read_rows(ROWS, PromptSpec(model, id_column="id", chosen=why))
    settings = FalSettings("test-key", FalUrls.at(fal.url))
    name = "gpt-image-1-mini" if other is None else other.name
    with pytest.raises(UsageError, match=f"has just begun dataset 'd' with {name}. .* Nothing was sent"):
        operations.run(rows, model, dataset, settings, options=Options(is_model_chosen=True))
    assert not fal.bill()["rows"]
    said = read_rows(ROWS, PromptSpec(model, id_column="id"))  # a model that was said is taken as it is
    assert operations.run(said, model, dataset, settings).summary.bought == 3


def fal_id(fal: Fal) -> str:
    import httpx

    return str(httpx.get(f"{fal.url}/v1/meta").json()["emulator"]["id"])


def test_a_model_that_the_registry_does_not_have_must_be_said(
    fal: Fal, table: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtin, "_REGISTRY", dict(builtin._REGISTRY))
    mine = replace(get_model("gpt-image-1-mini"), name="mine")
    settings = FalSettings("test-key", FalUrls.at(fal.url))
    more: dict[str, Any] = {"store": store, "dataset": "d", "id_column": "id", "arguments": ARGUMENTS}
    more |= {"settings": settings, "progress": False}
    assert generate(ROWS, model=mine, **more).summary.bought == 3
    assert about(store)["model"] == {"name": "mine", "endpoint": MINI}
    told = call(fal, "generate", table)
    assert told.status == 2
    assert "was with the model mine, which the registry does not have" in told.stderr
    with pytest.raises(UsageError, match="Name the model"):
        generate(ROWS, **more)
    register(replace(mine, endpoint="me/elsewhere"))
    with pytest.raises(UsageError, match="the registry has at me/elsewhere, not at fal-ai/gpt-image-1-mini"):
        generate(ROWS, **more)
    register(mine)
    assert generate(ROWS, **more).summary.reused == 3
    assert len(fal.charged()) == 3


@pytest.mark.parametrize("model", ["gpt-image-2", 3, {}, {"name": "gpt-image-2"}])
def test_a_model_that_cannot_be_read_is_not_taken_for_none(model: object, store: Path) -> None:
    (store / "d").mkdir(parents=True)
    written = {"version": 1, "origin": "fal", "salt": "0" * 32, "receipts": 2, "model": model}
    (store / "d" / "dataset.json").write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(UnreadableError, match="cannot be read"):
        choose(None, Dataset(Store(str(store)), "d"))


MINIS: dict[str, list[object]] = {
    "image_size": ["auto", "1024x1024", "1536x1024", "1024x1536"],
    "background": ["auto", "transparent", "opaque"],
    "quality": ["auto", "low", "medium", "high"],
    "num_images": [1, 4, 1000],
    "output_format": ["jpeg", "png", "webp"],
    "sync_mode": [False],
    "image_urls": ["https://example.com/a.png"],
}


def test_the_default_takes_everything_that_the_former_one_took() -> None:
    """Or else an asset that says no model would not load any more."""
    before, now = get_model(builtin.MODEL_BEFORE), get_model(builtin.DEFAULT_MODEL)
    assert before.input_names == {"prompt", *MINIS}
    assert before.input_names <= now.input_names
    for name, values in MINIS.items():
        for value in values:
            assert name in before.check({name: value})
            assert name in now.check({name: value})


def asset_of(**more: Any) -> dg.AssetSpec:
    [spec] = build_gptimg_asset("d", prompts=ROWS, id_column="id", **more).specs
    return spec


def test_no_asset_gets_stale_by_another_default() -> None:
    unsaid = asset_of(arguments=ARGUMENTS)
    assert unsaid.code_version == asset_of(arguments=ARGUMENTS, model="gpt-image-1-mini").code_version
    assert unsaid.code_version != asset_of(arguments=ARGUMENTS, model="gpt-image-2.5-flare").code_version
    assert unsaid.code_version != asset_of(arguments={"quality": "high"}).code_version
    assert asset_of(arguments={"quality": "max"}).code_version != asset_of(arguments={"quality": "xhigh"}).code_version
    assert unsaid.metadata["model"] == "gpt-image-2.5-flare, unless the dataset has another"


def test_arguments_of_the_default_alone_are_refused_where_the_dataset_has_another_model(
    fal: Fal, table: Path, store: Path
) -> None:
    begun_before(table, fal)
    bill = fal.bill()
    with pytest.raises(dg.Failure, match="'max' is not one of auto, low, medium, high"):
        run_asset(fal, store, arguments={"quality": "max"})
    assert fal.bill() == bill


def test_a_move_reads_the_arguments_as_they_were_given(
    fal: Fal, store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`1024x1024` is width and height to one model, and a word to the other."""
    assert run_asset(fal, store).success
    asset = build_gptimg_asset("d", prompts=ROWS, id_column="id", arguments=ARGUMENTS)
    resources = {"fal": fal.resource, "image_store": ImageStoreResource(root=str(store))}
    config = {"ops": {"d": {"config": {"plan_model": "gpt-image-1-mini"}}}}
    assert dg.materialize([asset], resources=resources, run_config=config).success
    said = capfd.readouterr().err
    assert "3 images to buy for $0.03" in said
    assert "does not carry over" not in said


def test_a_dataset_of_your_own_model_says_so_in_its_plan(fal: Fal, store: Path) -> None:
    """A `FalModel` that is given is as good as a name."""
    mine = FalModel.from_openapi(json.dumps(document(fal)), price=unknown_price)
    more: dict[str, Any] = {"store": store, "dataset": "d", "id_column": "id", "progress": False}
    settings = FalSettings("test-key", FalUrls.at(fal.url))
    assert generate(ROWS, model=mine, settings=settings, **more).summary.bought == 3
    assert about(store)["model"] == {"name": FLARE, "endpoint": FLARE}
    assert generate(ROWS, settings=settings, **more).summary.reused == 3  # the registry has this endpoint, too


def document(fal: Fal) -> Any:
    import httpx

    return httpx.get(f"{fal.url}/api/openapi/queue/openapi.json", params={"endpoint_id": FLARE}).json()
