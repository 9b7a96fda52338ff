"""A store that is not known to keep two runs apart is used at the user's word only, wherever that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dagster_gptimg import ImageStoreResource, UsageError, build_gptimg_asset, generate
from dagster_gptimg.definitions.component.attributes import StoreAttributes
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from dagster_gptimg.store.exclusive_create import Exclusivity
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Fal

LOW = {"quality": "low", "image_size": "1024x1024"}


@pytest.fixture(autouse=True)
def not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "exclusivity", lambda _: Exclusivity("not known", "is not known to create in one step"))


def test_a_call_is_refused_before_anything_is_sent_or_made(fal: Fal, tmp_path: Path) -> None:
    settings, store = FalSettings("test-key", FalUrls.at(fal.url)), tmp_path / "store"

    def call(**more: Any) -> Any:
        return generate(["a cup"], store=store, dataset="d", arguments=LOW, settings=settings, progress=False, **more)

    with pytest.raises(UsageError, match=r"not known to create in one step .* Nothing was sent\. .*alone=True"):
        call()
    assert not store.exists()
    assert not fal.bill()["rows"]
    assert call(alone=True).summary.bought == 1


@pytest.mark.parametrize(
    ("resource", "config", "is_made"), [({}, {}, False), ({"alone": True}, {}, True), ({}, {"alone": True}, True)]
)
def test_an_asset_takes_the_word_from_its_run_config_or_its_store(
    fal: Fal, tmp_path: Path, resource: dict[str, Any], config: dict[str, Any], *, is_made: bool
) -> None:
    asset = build_gptimg_asset("cups", prompts=[{"prompt": "a cup"}], arguments=LOW)
    made = dg.materialize(
        [asset],
        resources={"fal": fal.resource, "image_store": ImageStoreResource(root=str(tmp_path / "store"), **resource)},
        run_config={"ops": {"cups": {"config": config}}},
        raise_on_error=False,
    )
    assert made.success == is_made
    assert len(fal.bill()["rows"]) == is_made


def test_the_components_store_passes_the_word_on() -> None:
    assert StoreAttributes(root="images", alone=True).resource().alone
    assert not StoreAttributes(root="images").resource().alone
