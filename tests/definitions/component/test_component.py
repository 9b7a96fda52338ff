"""The component: a `defs.yaml` is the factory in other words, reads no table to load, and never holds a secret."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from dagster.components.testing import create_defs_folder_sandbox
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from dagster_gptimg import (
    FalResource,
    GptImgComponent,
    ImageStoreResource,
    RequestSettings,
    SqlTable,
    build_gptimg_asset,
    build_prompt_table,
    by_hash,
)
from dagster_gptimg.definitions.assets import definition_of
from dagster_gptimg.definitions.component.misspelt_attributes import hints, known_of
from dagster_gptimg.definitions.component.scaffolder import TABLE
from dagster_gptimg.errors import UsageError
from tests.definitions.support import LOW, dagster_instance
from tests.harness import Fal

PHOTOS: dict[str, Any] = {
    "asset": {"key": "team/photos", "group_name": "creative", "owners": ["team:creative"], "tags": {"tier": "gold"}},
    "prompts": "catalog.csv",
    "template": "Studio photo of {product}",
    "id_column": "sku",
    "arguments": LOW,
    "fal": {"api_key_env": "FAL_KEY"},
    "store": {"root": "s3://bucket/images", "storage_options": {"secret": {"env": "STORE_SECRET"}}},
}


TEXTS = [
    "template", "prompt_column", "id_column", "model", "table_format", "webhook_url", "dataset", "prompts",
]  # fmt: skip
"""Attributes that are texts."""

NUMBERS = ["max_cost_usd", "max_failed", "max_refused", "max_in_flight"]


@contextmanager
def loaded(*components: dict[str, Any], kind: str = "dagster_gptimg.GptImgComponent") -> Iterator[dg.Definitions]:
    """The definitions of a folder with these components, each in its own `defs.yaml`."""
    with create_defs_folder_sandbox() as sandbox:
        for number, attributes in enumerate(components):
            sandbox.scaffold_component(
                GptImgComponent, f"c{number}", defs_yaml_contents={"type": kind, "attributes": attributes}
            )
        with sandbox.build_all_defs() as defs:
            yield defs


def image_asset(defs: dg.Definitions) -> dg.AssetsDefinition:
    """The image asset itself, without what it needs around it."""
    [found] = [a for a in defs.assets or () if isinstance(a, dg.AssetsDefinition) and "fal" in a.required_resource_keys]
    return found


def refused(**attributes: Any) -> str:
    """Why a component does not load."""
    with pytest.raises(Exception) as told, loaded({**PHOTOS, **attributes}):  # noqa: PT011 - Dagster wraps it
        pass
    words, error = [], told.value
    while error is not None:
        words.append(str(error))
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return "\n".join(words)


def test_attributes_are_the_arguments_of_the_factory() -> None:
    more: dict[str, Any] = {
        "model": "gpt-image-1.5",
        "partitions": {"by_hash": "sku", "buckets": 2},
        "max_cost_usd": 2.5,
        "max_failed": 0.1,
        "max_refused": 0.2,
        "max_in_flight": 7,
        "dataset": "photos",
        "storage_options": {"anon": True},
        "image_columns": ["picture"],
        "references_from": ["s3://bucket/references"],
        "request": {"priority": "low", "tags": {"team": "ads"}},
    }
    with loaded({**PHOTOS, **more}) as defs:
        asset = image_asset(defs)
        made = definition_of(asset)
        source = str(made.source)
        assert source.endswith("/c0/catalog.csv")
        same = build_gptimg_asset(
            "photos",
            key=["team", "photos"],
            prompts=build_prompt_table(["team", "photos_prompts"], source),
            template="Studio photo of {product}",
            id_column="sku",
            arguments=LOW,
            **{
                **more,
                "partitions": by_hash("sku", 2),
                "request": RequestSettings(priority="low", tags={"team": "ads"}),
            },
        )
    assert made.generation == definition_of(same).generation
    assert asset.partitions_def == same.partitions_def
    spec, other = asset.get_asset_spec(), same.get_asset_spec()
    assert (spec.code_version, spec.kinds) == (other.code_version, other.kinds)
    assert (spec.group_name, spec.owners, spec.tags["tier"]) == ("creative", ["team:creative"], "gold")
    assert asset.asset_deps == same.asset_deps


def test_what_dagster_says_of_an_asset_and_its_op_is_passed_on() -> None:
    said = {
        "key": "photos",
        "description": "Words.",
        "metadata": {"mine": 1},
        "kinds": ["webp"],
        "deps": ["other"],
        "code_version": "v7",
        "automation_condition": "{{ dg.AutomationCondition.on_missing() }}",
    }
    op = {"pool": "fal", "tags": {"dagster/priority": "3"}, "backfill_policy": {"type": "single_run"}}
    parts = {"by_column": "category", "keys": ["bags"]}
    with loaded({**PHOTOS, "asset": said, "op": op, "partitions": parts}) as defs:
        asset = defs.resolve_assets_def("photos")
    spec = asset.get_asset_spec()
    assert (spec.description, spec.kinds, spec.code_version) == ("Words.", {"webp"}, "v7")
    assert spec.metadata["mine"] == 1
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {"other", "photos_prompts"}
    assert spec.automation_condition == dg.AutomationCondition.on_missing()
    assert (asset.op.pool, asset.op.tags["dagster/priority"]) == ("fal", "3")
    assert asset.backfill_policy == dg.BackfillPolicy.single_run()
    assert "name and description cannot be set, they are the asset's" in refused(op={"name": "x"})
    fixed = {"key": "photos", "partitions_def": {"type": "static", "partition_keys": ["a"]}}
    assert "use the attribute `partitions` instead" in refused(asset=fixed)


def test_the_table_is_an_asset_upstream_and_nothing_is_read_to_load() -> None:
    with loaded({**PHOTOS, "prompts": "s3://no-such-bucket/catalog.csv"}) as defs:
        graph = defs.resolve_asset_graph()
    node = graph.get(dg.AssetKey(["team", "photos_prompts"]))
    assert (node.is_observable, node.group_name, node.automation_condition) == (True, "creative", None)
    said = {**PHOTOS["asset"], "automation_condition": "{{ dg.AutomationCondition.on_missing() }}"}
    with loaded({**PHOTOS, "asset": said}) as defs:
        graph = defs.resolve_asset_graph()
    hourly = dg.AutomationCondition.on_cron("@hourly")
    assert graph.get(dg.AssetKey(["team", "photos_prompts"])).automation_condition == hourly


def test_prompts_are_rows_an_asset_or_a_query() -> None:
    rows = [{"sku": "1.0", "product": "{{ tote }}"}]  # as they stand: neither a number nor a template
    with loaded({**PHOTOS, "prompts": rows}) as defs:
        made = definition_of(image_asset(defs))
        assert (made.source, made.prompts_key) == (rows, None)
    with loaded({**PHOTOS, "prompts": {"asset": "raw/products"}}) as defs:
        asset = image_asset(defs)
        assert asset.asset_deps[asset.key] == {dg.AssetKey(["raw", "products"])}
        assert definition_of(asset).inputs(asset) == {"table": dg.AssetKey(["raw", "products"])}
    query = {"url": {"env": "DATABASE_URL"}, "query": "SELECT 1", "text_columns": ["category"]}
    with loaded({**PHOTOS, "prompts": query}) as defs:
        made = definition_of(image_asset(defs))
        assert made.source == SqlTable({"env": "DATABASE_URL"}, "SELECT 1", ("category",))


def test_files_of_keys_and_tables_lie_beside_the_yaml(tmp_path: Path) -> None:
    with create_defs_folder_sandbox() as sandbox:
        attributes = {**PHOTOS, "partitions": {"by_column": "style", "keys_file": TABLE}}
        contents = {"type": "dagster_gptimg.GptImgComponent", "attributes": attributes}
        sandbox.scaffold_component(GptImgComponent, "photos", defs_yaml_contents=contents)
        with sandbox.build_all_defs() as defs:
            asset = image_asset(defs)
    assert asset.partitions_def is not None
    assert "on linen, soft daylight" in asset.partitions_def.get_partition_keys()


def test_partition_keys_stay_as_they_are_written() -> None:
    with loaded({**PHOTOS, "partitions": {"by_column": "category", "keys": ["1e3", "1.0", 2024, "True"]}}) as defs:
        partitions_def = image_asset(defs).partitions_def
    assert partitions_def is not None
    assert partitions_def.get_partition_keys() == ["1e3", "1.0", "2024", "True"]


def test_checks_a_schedule_and_a_sensor_come_with_a_word() -> None:
    more = {
        "partitions": {"by_column": "category", "keys": ["bags"]},
        "checks": {"include": ["failure_rate", "prompts_valid"], "severity": {"failure_rate": "WARN"}},
        "schedule": {"cron_schedule": "0 6 * * *", "default_status": "RUNNING", "config": {"max_cost_usd": 1}},
        "sensor": {"minimum_interval_seconds": 30},
    }
    with loaded({**PHOTOS, **more}) as defs:
        names = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
        schedule = defs.resolve_schedule_def("team__photos_schedule")
        sensor = defs.resolve_sensor_def("team__photos_sensor")
    assert names == {"failure_rate", "no_row_in_doubt", "team__photos_prompts_valid"}
    assert (schedule.cron_schedule, schedule.default_status) == ("0 6 * * *", dg.DefaultScheduleStatus.RUNNING)
    assert sensor.minimum_interval_seconds == 30
    with loaded({**PHOTOS, "checks": {}}) as defs:
        assert len(defs.resolve_asset_graph().asset_check_keys) == 12


# -- resources and secrets


def test_resources_are_built_from_the_names_of_variables() -> None:
    with loaded(PHOTOS, {**PHOTOS, "asset": {"key": "other"}}) as defs:
        resources = defs.resources or {}
    fal, store = resources["fal"], resources["image_store"]
    assert isinstance(fal, FalResource)
    assert isinstance(store, ImageStoreResource)
    assert (store.root, store.storage_options) == ("s3://bucket/images", {"secret": {"env": "STORE_SECRET"}})
    emulated = {"fal": {"emulated": True}, "store": {"root": "images"}}
    with loaded({**PHOTOS, **emulated}) as defs:
        assert (defs.resources or {})["fal"] == FalResource.emulated()
    with loaded({name: value for name, value in PHOTOS.items() if name not in {"fal", "store"}}) as defs:
        assert not defs.resources  # the code location has them


def test_no_secret_is_in_what_dagster_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"FAL_KEY": "topsecret-1", "STORE_SECRET": "topsecret-2", "DATABASE_URL": "sqlite:///topsecret-3"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    query = {"url": {"env": "DATABASE_URL"}, "query": "SELECT 1"}
    with loaded({**PHOTOS, "prompts": query, "storage_options": {"token": {"env": "STORE_SECRET"}}}) as defs:
        kept = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
    assert "STORE_SECRET" in kept
    assert '"FAL_KEY"' in kept
    assert "topsecret" not in kept


@pytest.mark.parametrize(
    "attributes",
    [
        {"storage_options": {"token": "{{ env.A_SECRET }}"}},
        {"storage_options": "{{ {'token': env.A_SECRET} }}"},
        {"store": {"root": "s3://b", "storage_options": {"client_kwargs": {"token": "{{env.A_SECRET}}"}}}},
        {"prompts": {"url": "{{ env.A_SECRET }}", "query": "SELECT 1"}},
    ],
)
def test_a_secret_that_dagster_would_keep_is_refused(
    monkeypatch: pytest.MonkeyPatch, attributes: dict[str, Any]
) -> None:
    monkeypatch.setenv("A_SECRET", "topsecret")
    told = refused(**attributes)
    assert "Write {env: NAME} instead" in told
    assert "topsecret" not in told


def test_the_environment_is_looked_at_by_no_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster makes the word "None" of a variable that is not set: images would go into a folder of that name."""
    monkeypatch.delenv("NOT_SET", raising=False)
    text, nested = "{{ env.NOT_SET }}/images", {"a": ["{{ {'x': {}, 'y': env['NOT_SET']} }}"]}
    attributes: dict[str, Any] = dict.fromkeys((*TEXTS, *NUMBERS), text) | {
        "watch": text,
        "asset": {"key": "photos", "description": text},
        "arguments": {"quality": text},
        "inputs": [text],
        "image_columns": [text],
        "references_from": [text],
        "partitions": {"by_column": text, "keys": ["a"]},
        "request": {"tags": {"team": text}},
        "op": {"tags": nested},
        "checks": {"include": [text]},
        "schedule": {"cron_schedule": text},
        "sensor": {"watermark": text},
        "store": {"root": text},
        "fal": {"base_url": text},
        "storage_options": nested,
    }
    missing = set(GptImgComponent.model().model_fields) - set(attributes)
    assert missing == set(), "a new attribute: may it look at the environment?"
    for name, value in attributes.items():
        told = refused(**{name: value})
        assert "Write {env: NAME} instead" in told, name
        assert f"{name}" in told


def test_a_variable_is_named_and_fails_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    for name in (*TEXTS, *NUMBERS):
        given = {"env": "NOT_SET"}
        told = refused(**{name: given})
        assert "the environment variable NOT_SET is not set" in told, name
    for attributes in (
        {"arguments": {"quality": {"env": "NOT_SET"}}},
        {"references_from": [{"env": "NOT_SET"}]},
        {"fal": {"base_url": {"env": "NOT_SET"}}},
    ):
        assert "the environment variable NOT_SET is not set" in refused(**attributes)
    assert "{env: NAME} takes the name of an environment variable" in refused(template={"env": "a b"})


def test_attributes_are_read_from_the_variables_that_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "T": "Photo of {product}",
        "ID": "sku",
        "Q": "low",
        "COST": "2.5",
        "URL": "s3://b/{{x}}.csv",
        "M": "gpt-image-1",
    }
    for name, value in {**given, "ROOT": "s3://user:secret-word@bucket/images"}.items():
        monkeypatch.setenv(name, value)
    attributes = {
        "template": {"env": "T"},
        "id_column": {"env": "ID"},
        "model": {"env": "M"},
        "arguments": {"quality": {"env": "Q"}, "image_size": "1024x1024"},
        "max_cost_usd": {"env": "COST"},
        "prompts": {"env": "URL"},
        "store": {"root": {"env": "ROOT"}},
    }
    with loaded({**PHOTOS, **attributes}) as defs:
        made, store = definition_of(image_asset(defs)), (defs.resources or {})["image_store"]
        kept = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
    spec = made.generation.spec
    assert (spec.template, spec.id_column, spec.model.name) == ("Photo of {product}", "sku", "gpt-image-1")
    assert made.generation.max_cost_usd == 2.5
    assert str(made.source) == "s3://b/{{x}}.csv"
    assert isinstance(store.root, dg.EnvVar)
    assert "secret-word" not in kept


def test_rows_are_taken_as_they_are_written() -> None:
    with loaded({**PHOTOS, "prompts": [{"sku": "1", "product": "the words {{ env.X }}"}]}) as defs:
        assert definition_of(image_asset(defs)).source == [{"sku": "1", "product": "the words {{ env.X }}"}]


@pytest.mark.parametrize("given", ["{{ env.FAL_KEY }}", "123-abc:topsecret"])
def test_a_key_in_place_of_a_variables_name_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, given: object
) -> None:
    monkeypatch.setenv("FAL_KEY", "topsecret")
    assert "api_key_env takes the name of an environment variable" in refused(fal={"api_key_env": given})
    told = refused(fal={"api_key": "{{ env.FAL_KEY }}"})
    assert "name its environment variable, api_key_env: FAL_KEY" in told
    assert "topsecret" not in told


def test_a_misspelt_value_is_told() -> None:
    assert "did you mean high" in refused(arguments={"quality": "hihg"})
    assert "partitions: give exactly one of" in refused(partitions={"by_column": "x", "by_hash": "y"})


MISSPELT: list[tuple[dict[str, Any], str]] = [
    ({"promt_column": "x"}, "this component has no attribute 'promt_column'; did you mean prompt_column?"),
    ({"tempalte": "x"}, "did you mean template?"),
    ({"max_cost": 3}, "did you mean max_cost_usd?"),
    ({"storee": {"root": "x"}}, "did you mean store?"),
    ({"fal": {"api_key_en": "X"}}, "fal has no attribute 'api_key_en'; did you mean api_key_env?"),
    ({"asset": {"key": "a", "group_nam": "x"}}, "asset has no attribute 'group_nam'; did you mean group_name?"),
    ({"op": {"pol": "x"}}, "did you mean pool?"),
    ({"checks": {"blockin": []}}, "did you mean blocking?"),
    ({"prompts": {"urll": "sqlite://", "query": "x"}}, "did you mean url?"),
    ({"template": {"enf": "x"}}, "did you mean env?"),
    ({"partitions": {"by_colum": "x"}}, "did you mean by_column?"),
    (
        {"partitions": {"by_dimensions": {"day": {"by_dat": "x"}}}},
        "day has no attribute 'by_dat'; did you mean by_date?",
    ),
]


@pytest.mark.parametrize(("attributes", "words"), MISSPELT)
def test_a_misspelt_attribute_is_told_with_the_one_that_is_meant(attributes: dict[str, Any], words: str) -> None:
    assert words in refused(**attributes)
    [named] = [error for error in schema_errors(attributes) if error.endswith("was expected")]
    assert words.rpartition("did you mean ")[2] in named, "dg check yaml says it, too"


def schema_errors(attributes: dict[str, Any]) -> list[str]:
    """What `dg check yaml` finds in attributes."""
    validator = Draft202012Validator(GptImgComponent.model().model_json_schema())
    return [error.message for error in validator.iter_errors({**PHOTOS, **attributes})]


def test_what_looks_like_no_attribute_is_told_with_all_that_there_are_and_a_value_is_not_shown() -> None:
    told = refused(zzz="topsecret")
    assert "this component has no attribute 'zzz'; there are arguments, asset, checks" in told
    assert "input_value='topsecret'" not in told
    assert schema_errors({"zzz": 1}) == ["Additional properties are not allowed ('zzz' was unexpected)"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"arguments": {"enw": "low", "qualit": "x"}},
        {"store": {"root": "x", "storage_options": {"enc": "utf-8"}}},
        {"prompts": [{"promp": "a bell", "asse": "x"}]},
        {"asset": {"key": "a", "metadata": {"kez": "x"}, "tags": {"onwers": "x"}}},
        {"schedule": {"cron_schedule": "0 6 * * *", "config": {"limt": 1}}},
        {},
    ],
)
def test_names_of_the_users_own_are_none_that_is_misspelt(attributes: dict[str, Any]) -> None:
    assert schema_errors(attributes) == []
    GptImgComponent.model().model_validate({**PHOTOS, **attributes})


def test_every_attribute_passes_for_itself_and_none_for_another_one() -> None:
    known = known_of(GptImgComponent.model())
    assert known is not None
    for name in known.names:
        assert not any(re.match(pattern, name) for pattern in hints(known)["patternProperties"]), name


# -- subclasses, and what runs


class OwnComponent(GptImgComponent):
    """What users write: another key, and a look at the table before it is used."""

    def get_asset_spec(self) -> dg.AssetSpec:
        return super().get_asset_spec().replace_attributes(key="renamed", owners=["team:own"])

    def execute(self, generation: Any, context: Any, config: Any, prompts: Any) -> Iterator[Any]:
        context.log.info("own words")
        yield from super().execute(generation, context, config, prompts[:1])


def test_a_subclass_says_what_the_asset_is_and_what_a_run_does(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    rows = [{"sku": str(n), "product": f"thing {n}"} for n in range(3)]
    plain = {name: value for name, value in PHOTOS.items() if name not in {"fal", "store"}}
    with loaded({**plain, "prompts": rows}, kind="tests.definitions.component.test_component.OwnComponent") as defs:
        asset = image_asset(defs)
    assert (asset.key, asset.get_asset_spec().owners) == (dg.AssetKey("renamed"), ["team:own"])
    instance = dagster_instance(tmp_path)
    result = dg.materialize([asset], resources=resources, instance=instance)
    assert result.success
    [event] = result.asset_materializations_for_node("renamed")
    assert event.metadata["images"].value == 1
    messages = [r.event_log_entry.user_message for r in instance.get_records_for_run(result.run_id).records]
    assert "own words" in messages


def different(number: int, **more: Any) -> dict[str, Any]:
    """A component of another name."""
    return {**PHOTOS, "asset": {"key": f"team/photos{number}"}, **more}


def test_two_components_with_the_same_resources_or_with_none_of_their_own_load_together() -> None:
    plain = {name: value for name, value in different(2).items() if name not in {"fal", "store"}}
    with loaded(different(0), different(1), plain) as defs:
        assert len(list(defs.assets or ())) == 6
        assert set(defs.resources or {}) == {"fal", "image_store"}


@pytest.mark.parametrize(
    ("name", "value"), [("store", {"root": "other"}), ("fal", {"api_key_env": "OTHER"}), ("fal", {"emulated": True})]
)
def test_two_components_with_different_resources_say_what_to_do(name: str, value: dict[str, Any]) -> None:
    with (
        pytest.raises(Exception, match="Error while building definitions") as told,
        loaded(different(0), different(1, **{name: value})),
    ):
        pass
    error: BaseException = told.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert isinstance(error, UsageError)
    words = str(error)
    assert f"the components of team/photos0 and team/photos1 have different `{name}:`" in words
    assert f"remove `{name}:` from the others" in words


def test_a_component_is_made_in_python_too() -> None:
    component = GptImgComponent(
        asset=dg.AssetSpec("icons"), prompts=[{"prompt": "a bell"}], arguments={"quality": "low"}
    )
    asset = component.build_asset(Path())
    assert (asset.key, definition_of(asset).source) == (dg.AssetKey("icons"), [{"prompt": "a bell"}])


def test_what_is_scaffolded_loads_and_names_its_table() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(GptImgComponent, "icons")
        assert (path / TABLE).read_text(encoding="utf-8").startswith("id,product,style\n")
        (path / TABLE).write_text("mine", encoding="utf-8")
        sandbox.scaffold_component(GptImgComponent, "icons")
        assert (path / TABLE).read_text(encoding="utf-8") == "mine"
        text = (path / "defs.yaml").read_text(encoding="utf-8")
        text = text.replace(
            "dagster_gptimg.definitions.component.component.GptImgComponent", "dagster_gptimg.GptImgComponent"
        )
        (path / "defs.yaml").write_text(text, encoding="utf-8")
        with sandbox.build_all_defs() as defs:
            made = definition_of(defs.resolve_assets_def("icons"))
    assert made.source == str(path / TABLE)
    assert made.generation.spec.given == LOW


def test_the_images_of_another_asset_are_the_rows_in_yaml_as_in_code() -> None:
    photos = {**PHOTOS, "partitions": {"by_column": "category", "keys": ["bags"]}}
    cutouts = {
        "asset": {"key": "team/cutouts"},
        "prompts": {"images": "team/photos"},
        "model": "fal-ai/birefnet/v2",
        "partitions": {"by_column": "category", "keys": ["bags"]},
    }
    with loaded(photos, cutouts) as defs:
        found = {
            asset.key.to_user_string(): asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)
        }
        asset = found["team/cutouts"]
        made = definition_of(asset)
        code = definition_of(
            build_gptimg_asset("cutouts", prompts=found["team/photos"], model="fal-ai/birefnet/v2")
        ).generation.spec
        assert asset.asset_deps[asset.key] == {dg.AssetKey(["team", "photos"])}
        assert asset.partitions_def == found["team/photos"].partitions_def
        spec = made.generation.spec
        assert (spec.image_columns, spec.id_column, spec.inputs) == (code.image_columns, code.id_column, code.inputs)
        assert made.images_key == dg.AssetKey(["team", "photos"])
