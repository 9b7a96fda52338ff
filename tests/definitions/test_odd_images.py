"""Images that cannot be shown or decoded here are kept like all others, and fail nothing."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_checks
from tests.definitions.support import images
from tests.pictures import HOSTILE, Picture, large_png, pictures, undecodable
from tests.recorded_fal import Post, Recorded, RecordedFal, serving

ODD = {
    "rubbish": undecodable(),
    "900 million pixels": large_png(30_000, 30_000),
    "svg": pictures()["svg"].data,
    "a hostile svg": HOSTILE["everything"],
    "an svg with an entity": HOSTILE["an entity"],
    "no kind that is known": pictures()["a kind that nobody knows"].data,
    "a trailer": pictures()["png and a line feed"].data,
    "good": pictures()["png rgb"].data,
}


class Odd(RecordedFal):
    """fal that answers each prompt with the odd image of that name."""

    def accept(self, post: Post) -> Recorded:
        known = super().accept(post)
        self.files[f"{post.request_id}_0.png"] = ODD[post.prompt]
        return known


pytestmark = pytest.mark.xdist_group("odd images")  # one process makes the run, once


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of a run with checks, and where its store is."""
    folder = tmp_path_factory.mktemp("odd")
    rows = [{"id": str(n), "prompt": name} for n, name in enumerate(ODD)]
    asset = images(prompts=rows, template=None, id_column="id", partitions=None)
    defs = dg.Definitions(assets=[asset], asset_checks=build_gptimg_checks(asset, max_cost_usd=1.0))
    with serving(Odd({}, {})) as fal:
        store = ImageStoreResource(root=str(folder / "store"))
        resources = {"fal": FalResource(api_key="test-key", base_url=fal.url), "image_store": store}
        job = dg.Definitions.merge(defs, dg.Definitions(resources=resources)).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(raise_on_error=False), folder / "store"


def test_a_run_with_images_that_do_not_decode_materializes_and_shows_the_others(ran: Any) -> None:
    result, store = ran
    assert result.success
    [event] = result.asset_materializations_for_node("images")
    kept = {file.read_bytes() for file in Path(store, "images", "images").rglob("*.*")}
    assert kept == set(ODD.values())
    preview = event.metadata["preview"].value
    assert preview.count("data:image/webp;base64,") == 2
    assert preview.count("not drawn") == 3
    assert not re.search(r"<|javascript|onload|\]\((?!data:image/webp;base64,)", preview)
    odd = event.metadata["odd_images"].value
    assert "no kind that is known" in odd
    assert "1 byte stands behind its end" in odd
    lines = odd.replace("\\", "").splitlines()
    svgs = [line for line in lines if "its bytes are image/svg+xml" in line]
    assert len(svgs) == 3
    assert not any("instead of" in line for line in svgs)  # one is 96 x 96, and 1024 x 1024 was asked for
    assert any("it has 96 x 96 pixels instead of 1024 x 1024" in line for line in lines)


def test_checks_tell_what_does_not_decode_and_raise_nothing(ran: Any) -> None:
    result, _ = ran
    found = {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
    assert not found["images_decode"].passed
    broken = [str(list(ODD).index(name)) for name in ("rubbish", "900 million pixels", "an svg with an entity")]
    unknown = str(list(ODD).index("no kind that is known"))
    assert set(found["images_decode"].metadata["row_ids"].value) == {*broken, unknown}
    assert "2 of them are too large" in found["images_decode"].description
    assert set(found["image_dimensions"].metadata["row_ids"].value).isdisjoint(
        str(number) for number, name in enumerate(ODD) if "svg" in name
    )
    assert found["files_as_recorded"].passed
    assert found["rows_settled"].passed
    assert found["no_blank_images"].passed


def test_every_kind_of_picture_is_looked_at_without_an_error(tmp_path: Path) -> None:
    """Whatever a preview makes of them: the words of a picture that cannot be shown, or the picture."""
    from dagster_gptimg.definitions.metadata import thumbnails
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.images.image_files import store_image
    from dagster_gptimg.store.root import Store

    dataset = Dataset(Store(str(tmp_path)), "d")
    every = {**pictures(), "rubbish": Picture(undecodable(), "png", "image/png")}
    for number, picture in enumerate(every.values()):
        stored = store_image(dataset.store, "d", f"ab{number}-R-0", picture.data)
        size = {name: getattr(stored, name) for name in ("width", "height", "content_type", "bytes")}
        record = {"row_id": "r", "uri": dataset.uri(stored.path), "prompt": "p", "arguments": "{}", **size}
        shown = thumbnails([record], dataset)
        assert shown.startswith("|") or not shown
