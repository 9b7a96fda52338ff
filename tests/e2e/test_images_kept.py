"""What was paid for is kept byte for byte; only a transfer that is provably incomplete is fetched again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cdn import chunked, gone, reset, shop, until_it_closes, whole
from tests.harness import Ran, cli, records
from tests.pictures import cut, pictures

if TYPE_CHECKING:
    from tests.cdn import Cdn, Shop

LOW = ("--set", "quality=low", "--set", "image_size=1024x1024")


def generate(fal: Shop, cdn: Cdn, tmp_path: Path, *more: str) -> Ran:
    """Buy one image for each file."""
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": str(number)}) for number in range(len(fal.named))))
    where = ("--store", str(tmp_path / "store"), "--dataset", "d", "--json", *LOW)
    return cli(None, "generate", str(path), *where, *more, env={**fal.env, "FAL_CDN_URL": cdn.url})


def kept(tmp_path: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """The image table's records by the names of the files; each with its bytes under `data`."""
    found = {names[int(record["prompt"])]: record for record in records(tmp_path / "store", "d")}
    for record in found.values():
        uri = record["uri"]
        record["data"] = Path(uri.removeprefix("file://")).read_bytes() if uri else None
    return found


def test_every_picture_that_viewers_open_is_kept_byte_for_byte_at_the_first_download(tmp_path: Path) -> None:
    files = pictures()
    answers = {name: [whole(picture.data, picture.told)] for name, picture in files.items()}
    with shop(answers, {name: {"content_type": picture.told} for name, picture in files.items()}) as (fal, cdn):
        ran = generate(fal, cdn, tmp_path)
    assert (ran.status, ran.summary["images"], len(fal.posts)) == (0, len(files), len(files)), ran.stderr
    assert set(cdn.seen.values()) == {1}
    found = kept(tmp_path, list(files))
    for name, picture in files.items():
        record = found[name]
        assert record["data"] == picture.data, name
        assert record["uri"].endswith(f".{picture.ending}"), name
        assert picture.odd in (record["notes"] or ""), name
        if not picture.odd:
            assert "pixels instead of 1024 x 1024" in (record["notes"] or "pixels instead of 1024 x 1024")
    assert "; they are stored unchanged" in ran.stderr  # some are odd, and somebody is told


def test_what_fal_says_wrongly_of_an_image_is_noted_and_it_is_kept(tmp_path: Path) -> None:
    data = pictures()["png rgb"].data
    told: list[dict[str, Any]] = [
        {"file_size": 5},
        {"file_size": len(data) * 3, "width": 1, "height": 1},
        {"content_type": "image/webp", "file_name": "a.webp"},
        {"content_type": "application/json"},
        {"file_size": len(data), "content_type": "application/octet-stream"},
    ]
    names = [str(number) for number in range(len(told))]
    answers = {name: [whole(data, "binary/octet-stream")] for name in names}
    with shop(answers, dict(zip(names, told, strict=True))) as (fal, cdn):
        ran = generate(fal, cdn, tmp_path)
        again = generate(fal, cdn, tmp_path)
    assert (ran.status, again.status, len(fal.posts), set(cdn.seen.values())) == (0, 0, len(told), {1}), ran.stderr
    found = kept(tmp_path, names)
    assert {record["data"] for record in found.values()} == {data}
    assert f"fal says that it has 5 bytes, but it has {len(data)}" in found["0"]["notes"]
    assert f"fal says that it has {len(data) * 3} bytes" in found["1"]["notes"]
    assert "fal calls it image/webp, and its bytes are image/png" in found["2"]["notes"]
    assert "fal calls it application/json" in found["3"]["notes"]
    assert found["4"]["notes"] == "it has 96 x 96 pixels instead of 1024 x 1024"
    receipt = next((tmp_path / "store" / "d" / "receipts").rglob("*.outcome.*.json"))
    assert "instead of" in json.dumps(json.loads(receipt.read_text())["images"][0]["notes"])
    assert "is odd" not in again.stderr  # told by the run that has fetched it


def test_bytes_of_no_kind_that_fal_calls_a_png_are_read_twice_and_kept_when_they_stay_so(tmp_path: Path) -> None:
    png, other = pictures()["png rgb"].data, pictures()["a kind that nobody knows"].data
    with shop({"stays": [whole(other)], "a blip": [whole(b"\x88" + png[1:]), whole(png)]}) as (fal, cdn):
        ran = generate(fal, cdn, tmp_path)
    assert (ran.status, len(fal.posts)) == (0, 2), ran.stderr
    found = kept(tmp_path, ["stays", "a blip"])
    assert found["stays"]["data"] == other
    assert "fal calls it image/png, and its bytes are of no kind that is known here" in found["stays"]["notes"]
    assert found["a blip"]["data"] == png
    assert cdn.seen["stays"] > 1
    assert cdn.seen["a_blip"] == 2


def test_a_transfer_that_is_provably_incomplete_is_fetched_again_and_then_kept_whole(tmp_path: Path) -> None:
    png = pictures()["png rgb"].data
    part, size = png[:-30], len(png)
    flipped = bytearray(png)
    flipped[size // 2] ^= 8
    broken = {
        "length not reached": whole(part, length=size),
        "reset": reset(part, size),
        "no last chunk": chunked(png, b""),
        "cut within a chunk": chunked(part, b"%x\r\n" % size + png[:40]),
        "compression cut off": whole(gzip.compress(png)[:-9], Content_Encoding="gzip"),
        "a flipped bit": whole(bytes(flipped)),
        "nothing": whole(b""),
        "a page": whole(b"<html><body>502 Bad Gateway</body></html>", "text/html"),
        "a wrong turn": whole(b'{"error": "try again"}', "application/json"),
    }
    answers = {name: [answer, whole(png)] for name, answer in broken.items()}
    wholes = dict.fromkeys(answers, png)
    for name, (data, rest) in cut().items():
        answers[f"{name} cut"] = [until_it_closes(rest), until_it_closes(data)]
        wholes[f"{name} cut"] = data
    with shop(answers) as (fal, cdn):
        ran = generate(fal, cdn, tmp_path)
    assert (ran.status, len(fal.posts)) == (0, len(answers)), ran.stderr
    assert set(cdn.seen.values()) == {2}, cdn.seen
    for name, record in kept(tmp_path, list(answers)).items():
        assert record["data"] == wholes[name], name
        assert "cut off" not in (record["notes"] or ""), name


@pytest.mark.parametrize("left", ["cut", "emptied", "gone", "longer"])
def test_a_stored_file_of_another_size_does_not_count_as_reused_and_is_not_bought(tmp_path: Path, left: str) -> None:
    png = pictures()["png rgb"].data
    with shop({"0": [whole(png)], "1": [whole(png), gone]}) as (fal, cdn):
        assert generate(fal, cdn, tmp_path).status == 0
        uri = next(record["uri"] for record in records(tmp_path / "store", "d") if record["prompt"] == "1")
        file = Path(uri.removeprefix("file://"))
        if left == "gone":
            file.unlink()
        else:
            file.write_bytes({"emptied": b"", "cut": png[:-5], "longer": png + b"x"}[left])
        again = generate(fal, cdn, tmp_path)
        assert (again.summary["reused"], again.summary["missing"], len(fal.posts)) == (1, 1, 2)
        file.write_bytes(png)
        last = generate(fal, cdn, tmp_path)
    assert (last.status, last.summary["reused"], last.summary["missing"]) == (0, 2, 0)


def test_a_download_that_breaks_off_once_adds_nothing_to_what_programs_read(tmp_path: Path) -> None:
    png = pictures()["png rgb"].data
    with shop({"0": [reset(png[:-5], len(png)), whole(png)]}) as (fal, cdn):
        ran = generate(fal, cdn, tmp_path)
    assert (ran.status, cdn.seen) == (0, {"0": 2}), ran.stderr
    assert json.loads(ran.stdout)["images"] == 1
    assert "stamina" not in ran.stdout + ran.stderr
