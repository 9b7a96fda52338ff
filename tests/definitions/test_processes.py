"""Dagster's own processes: terminating a run, loading the definitions, the demo as a new user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.harness import Fal, until
from tests.support import ROOT

pytestmark = pytest.mark.dagster
DAGSTER = [sys.executable, "-m", "dagster"]

CODE = """
import os
import dagster as dg
from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset

images = build_gptimg_asset(
    "images",
    prompts=[{"id": str(n), "prompt": f"thing {n}"} for n in range(40)],
    id_column="id",
    arguments={"quality": "low", "image_size": "1024x1024"},
)
defs = dg.Definitions(
    assets=[images],
    resources={
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY")),
        "image_store": ImageStoreResource(root=os.environ["STORE"]),
    },
    executor=dg.in_process_executor if os.environ["EXECUTOR"] == "in_process" else dg.multiprocess_executor,
)
"""


def environment(fal: Fal, tmp_path: Path, executor: str) -> dict[str, str]:
    home = tmp_path / "dagster"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    more = {"DAGSTER_HOME": str(home), "STORE": str(tmp_path / "store"), "EXECUTOR": executor}
    return {**fal.env, **more}


@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_a_terminated_run_ends_within_ten_seconds_and_the_next_one_pays_nothing_twice(
    fal: Fal, tmp_path: Path, executor: str
) -> None:
    (tmp_path / "pipeline.py").write_text(CODE, encoding="utf-8")
    env = environment(fal, tmp_path, executor)
    job = ["job", "execute", "-f", str(tmp_path / "pipeline.py"), "-j", "__ASSET_JOB"]
    fal.set(latency=20.0, slots=5)  # long enough that none of the five ends before the run does, on any machine
    with (tmp_path / "log.txt").open("w", encoding="utf-8") as log:
        run = subprocess.Popen([*DAGSTER, *job], env=env, stdout=log, stderr=log, cwd=tmp_path)
        until("40 requests at fal", lambda: len(fal.bill()["rows"]) == 40)
        began = time.monotonic()
        run.send_signal(signal.SIGTERM)
        run.wait(20)
    assert time.monotonic() - began < 10
    states = [row["outcome"] for row in fal.bill()["rows"]]
    assert states.count("cancelled") == 35, (tmp_path / "log.txt").read_text(encoding="utf-8")[-3000:]
    fal.set(latency=0.2, slots=20)
    again = subprocess.run([*DAGSTER, *job], env=env, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert len(fal.charged()) == 40
    assert len({row["prompt"] for row in fal.charged()}) == 40


def test_the_definitions_load(tmp_path: Path) -> None:
    env = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    command = [*DAGSTER, "definitions", "validate", "-f", "definitions.py"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_demo_shows_every_partition_as_materialized_and_buys_once(tmp_path: Path) -> None:
    env = {**os.environ, "EXAMPLE_HOME": str(tmp_path / ".demo"), "PYTHONPATH": str(ROOT)}
    env.pop("FAL_KEY", None)
    command = [sys.executable, "-m", "example_project.demo"]
    first, second = (
        subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path, check=False) for _ in range(2)
    )
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + first.stderr[-3000:]
    assert "shoes: 15 bought, 0 reused, $0.09" in first.stdout
    assert "shoes: 0 bought, 15 reused, $0.00" in second.stdout
    assert first.stderr == ""
    images = list((tmp_path / ".demo").glob("images/catalog_images/images/*/*.png"))
    assert len(images) == 50
    home = {**env, "DAGSTER_HOME": str(tmp_path / ".demo" / "dagster")}
    told = subprocess.run([sys.executable, "-c", SHOWN], env=home, capture_output=True, text=True, check=True)
    shown = json.loads(told.stdout)
    assert shown.pop("catalog_images") == ["bags", "lamps", "mugs", "shoes"]
    for name in ("cutouts", "upscaled_cutouts", "approved_photos", "published_photos"):
        assert shown.pop(name) == ["bags"], name
    stored = list((tmp_path / ".demo").glob("images/catalog_images/images/*/*.png"))
    published = list((tmp_path / ".demo/published/bags").iterdir())
    assert len(published) == 12
    assert {file.read_bytes() for file in published} < {file.read_bytes() for file in stored}
    assert "images of bags approved: 12 new verdicts" in first.stdout
    assert "images of bags approved: 0 new verdicts" in second.stdout
    program = Path(sys.executable).with_name("dagster-gptimg")
    typed = f"{program} review import verdicts.csv --store .demo/images --dataset catalog_images"
    assert first.stdout.count(typed) == 1
    exported = pq.read_table(tmp_path / ".demo/training-set/train/metadata.parquet")["file_name"].to_pylist()
    assert len(exported) == len(set(exported)) == 12
    unpartitioned = [
        "products",
        "contact_sheet",
        "lifestyle_images",
        "banners",
        "catalog_images_gallery",
        "training_set",
    ]
    assert shown == dict.fromkeys(unpartitioned, True)
    assert first.stdout.count("the gallery    file://") == 1
    assert (tmp_path / ".demo/images/catalog_images/gallery/index.html").is_file()
    edits = pq.read_table(tmp_path / ".demo/images/lifestyle_images/manifests/_whole/manifest.parquet").to_pylist()
    assert {edit["endpoint"] for edit in edits} == {"openai/gpt-image-2.5/flare/edit"}
    sent = [json.loads(edit["arguments"])["image_urls"] for edit in edits]
    assert [len(urls) for urls in sent] == [3] * 4
    assert len({url for urls in sent for url in urls}) == 4 + 2  # four photos; the marble and the mark are the same


SHOWN = """
import json, warnings
warnings.simplefilter("ignore")
import dagster as dg
from example_project.definitions import defs
instance, graph, shown = dg.DagsterInstance.get(), defs.resolve_asset_graph(), {}
for key in graph.materializable_asset_keys:
    parts = sorted(instance.get_materialized_partitions(key))
    shown[key.to_user_string()] = parts or instance.get_latest_materialization_event(key) is not None
print(json.dumps(shown))
"""
