"""What is derived can be thrown away: one command makes it anew, and nothing is bought for it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.harness import Fal, cli, records

if TYPE_CHECKING:
    from pathlib import Path


def test_index_and_manifest_come_back_from_receipts(fal: Fal, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [{"id": f"r{n}", "prompt": f"thing {n}", "shop": "north", "num_images": 1 + 5 * (n == 0)} for n in range(6)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    place = ("--store", str(store), "--dataset", "d")
    call = (
        "generate",
        str(path),
        *place,
        "--id-column",
        "id",
        "--set",
        "quality=low",
        "--model",
        "gpt-image-1-mini",
        "--json",
    )
    fal.fail("thing 3", "refused")
    assert cli(fal, *call).summary["refused"] == 1
    before = records(store, "d")
    shutil.rmtree(store / "d" / "settled")
    (store / "d" / "settled").mkdir()
    (store / "d" / "settled" / "x.parquet").write_bytes(b"torn")
    (store / "d" / "manifests" / "_whole" / "manifest.parquet").write_bytes(b"torn")

    ran = cli(None, "rebuild", *place)
    assert ran.status == 0, ran.stderr
    assert "7 requests on record, 7 of them settled" in ran.stderr
    after = records(store, "d")
    lost: dict[str, object] = {"columns": {}, "image_index": None}
    assert sorted(str({**r, **lost}) for r in after) == sorted(str({**r, **lost}) for r in before)
    assert len(list((store / "d" / "settled").glob("*.parquet"))) == 1

    sent = len(fal.bill()["rows"])
    again = cli(fal, *call)
    assert (again.summary["bought"], again.summary["reused"], len(fal.bill()["rows"])) == (0, 10, sent)
    shutil.rmtree(store / "d" / "manifests")
    cli(fal, *call)
    assert records(store, "d") == before

    ran = cli(None, "rebuild", "--store", str(store), "--dataset", "nothing")
    assert (ran.status, "there is no dataset" in ran.stderr) == (2, True)
