"""What a result says beside its images is kept, censored and repeated images are told, and nothing is bought for it."""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from starlette.responses import JSONResponse

from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.image_record import records_of
from dagster_gptimg.store.manifest import read_manifest
from dagster_gptimg.store.manifest_columns import DETAILS
from dagster_gptimg.store.root import Store
from tests.harness import Ran, cli, records
from tests.recorded_fal import HERE, KEY, Post, Recorded, RecordedFal, picture, serving

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.requests import Request

SEEDREAM = {"seed": 2**53 + 1}
QWEN = {"timings": {"inference": 1.25}, "seed": 7, "has_nsfw_concepts": [False], "prompt": "as it was sent"}
NANO = {"description": "A red cup, as you wished."}
GROK = {"revised_prompt": "A red cup on a blue table, at noon"}
"""As public recordings show fal to answer, but for the values."""

EMPTY = {**dict.fromkeys(DETAILS), "black": False, "c2pa": False}


class Results(RecordedFal):
    """fal that answers the prompt `n` with what the n-th of these says, and with the images of `pictures`.

    Attributes:
        said: the result of each prompt, but for its images.
        pictures: by prompt, the bytes of its images.
    """

    def __init__(self, *said: Mapping[str, Any], pictures: Mapping[int, list[bytes]] | None = None) -> None:
        super().__init__({}, {})
        self.said, self.pictures = said, pictures or {}

    def accept(self, post: Post) -> Recorded:
        known, number = super().accept(post), int(post.prompt)
        names = [f"{post.request_id}_{index}.png" for index in range(int(post.arguments.get("num_images", 1)))]
        self.files |= dict(zip(names, self.pictures.get(number, []), strict=False))
        files = [{"url": f"{HERE}/files/lion/{name}", "content_type": "image/png"} for name in names]
        output = {"images": files, **self.said[number]}
        known.result = {**known.result, "body": output}
        known.history = {**(known.history or {}), "json_output": output}
        return known


def generate(fal: Results, tmp_path: Path, *more: str) -> Ran:
    """Buy what fal has for each prompt."""
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": str(number)}) for number in range(len(fal.said))))
    where = ("--store", str(tmp_path / "store"), "--dataset", "d", "--json")
    return cli(None, "generate", str(path), *where, "--set", "quality=low", *more, env=fal.env)


def details(tmp_path: Path) -> list[dict[str, Any]]:
    """The columns that hold what results say, of all images in the order of their prompts."""
    found = sorted(records(tmp_path / "store", "d"), key=lambda record: (int(record["prompt"]), record["image_index"]))
    return [{name: record[name] for name in DETAILS} for record in found]


def outcomes(tmp_path: Path) -> list[dict[str, Any]]:
    files = (tmp_path / "store" / "d" / "receipts").rglob("*.outcome.*.json")
    return [json.loads(file.read_text()) for file in files]


def black(mode: str = "RGB", kind: str = "PNG", side: int = 1024) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), (0, 0, 0, 255) if mode == "RGBA" else 0).save(buffer, kind)
    return buffer.getvalue()


def test_what_results_say_is_in_receipts_image_table_and_records(tmp_path: Path) -> None:
    fal = Results(SEEDREAM, QWEN, NANO, GROK, {})
    with serving(fal):
        ran = generate(fal, tmp_path)
        assert (ran.status, len(fal.posts)) == (0, 5), ran.stderr
        expected = [
            {**EMPTY, "seed": 2**53 + 1},
            {**EMPTY, "seed": 7, "timings": {"inference": 1.25}, "nsfw": False},
            {**EMPTY, **NANO},
            {**EMPTY, **GROK},
            EMPTY,
        ]
        assert details(tmp_path) == expected
        assert "as it was sent" not in json.dumps(outcomes(tmp_path))
        told = {json.dumps(outcome["details"]) for outcome in outcomes(tmp_path)}
        empty: dict[str, Any] = {"seed": None, "description": None, "revised_prompt": None, "timings": {}}
        assert told == {
            *(json.dumps({**empty, **said}) for said in (SEEDREAM, NANO, GROK)),
            json.dumps({**empty, "seed": 7, "timings": {"inference": 1.25}}),
            "null",
        }
        dataset = Dataset(Store(str(tmp_path / "store")), "d")
        every = {record.prompt: record for record in records_of(read_manifest(dataset, None), dataset)}
        assert (every["1"].timings, every["1"].nsfw, every["4"].timings) == ({"inference": 1.25}, False, {})

        shutil.rmtree(tmp_path / "store" / "d" / "settled")
        shutil.rmtree(tmp_path / "store" / "d" / "manifests")
        assert cli(None, "rebuild", "--store", str(tmp_path / "store"), "--dataset", "d").status == 0
        assert details(tmp_path) == expected
        again = generate(fal, tmp_path)
        assert (again.summary["reused"], len(fal.posts)) == (5, 5)
        assert details(tmp_path) == expected


def test_what_the_history_keeps_of_a_result_is_kept(tmp_path: Path) -> None:
    def gone(request: Request) -> JSONResponse | None:
        before, _, last = request.url.path.rpartition("/")
        is_result = request.method == "GET" and before.endswith("/requests") and not before.startswith("/v1")
        return JSONResponse({"status": "NOT_FOUND"}, 404) if is_result and last else None

    fal = Results({**SEEDREAM, "has_nsfw_concepts": [True]})
    with serving(fal):
        fal.steer = gone
        ran = generate(fal, tmp_path)
    assert ran.status == 0, ran.stderr
    assert details(tmp_path) == [{**EMPTY, **SEEDREAM, "nsfw": True}]


@pytest.mark.parametrize(
    "said",
    [
        {"seed": "7", "has_nsfw_concepts": True, "description": ["a"], "revised_prompt": {"a": 1}, "timings": [1]},
        {"seed": True, "has_nsfw_concepts": [], "description": None, "revised_prompt": 5, "timings": {"a": "1"}},
        {"seed": 2**64, "has_nsfw_concepts": [True, True], "timings": {"a": -1, "b": 1e300, "": 1, "c": True}},
        {"seed": -1, "has_nsfw_concepts": ["yes"], "description": "", "revised_prompt": " \0 ", "timings": {}},
        {"seed": 1.5, "has_nsfw_concepts": {"0": True}, "timings": {"a": {"b": 1}}},
    ],
)
def test_what_is_of_another_type_is_left_out_and_the_image_is_stored(said: dict[str, Any], tmp_path: Path) -> None:
    fal = Results(said)
    with serving(fal):
        ran = generate(fal, tmp_path)
    assert (ran.status, len(fal.posts)) == (0, 1), ran.stderr
    assert details(tmp_path) == [EMPTY]


def test_hostile_words_are_plain_bounded_and_without_the_key(tmp_path: Path) -> None:
    words = f"\x1b[2J{KEY} \u202eevil\n| <b>" + "x" * 100_000
    timings = {f"{number}\x07{'n' * 500}": number for number in range(500)}
    fal = Results({"description": words, "revised_prompt": words, "timings": timings})
    with serving(fal):
        ran = generate(fal, tmp_path)
    assert ran.status == 0, ran.stderr
    [found] = details(tmp_path)
    for name in ("description", "revised_prompt"):
        assert found[name].isprintable()
        assert len(found[name]) == 4000
    assert len(found["timings"]) == 16
    assert all(len(name) <= 40 and name.isprintable() for name in found["timings"])
    everything = "".join(path.read_text() for path in (tmp_path / "store" / "d").rglob("*.json"))
    assert KEY not in everything + ran.stderr + ran.stdout
    assert len(everything) < 40_000


def test_censored_images_are_told_once_with_their_count_and_never_bought_again(tmp_path: Path) -> None:
    said = [{"has_nsfw_concepts": [True]}, {"has_nsfw_concepts": [False]}, {}, {}, {}, {"has_nsfw_concepts": [True]}]
    clear = io.BytesIO()
    Image.new("RGBA", (1024, 1024), (0, 0, 0, 0)).save(clear, "PNG")
    pictures = {1: [black()], 2: [black("RGBA")], 3: [black("L", "JPEG")], 4: [clear.getvalue()], 5: [black()]}
    fal = Results(*said, pictures=pictures)
    with serving(fal):
        ran = generate(fal, tmp_path)
        again = generate(fal, tmp_path)
        assert (ran.status, again.status, len(fal.posts)) == (0, 0, 6), ran.stderr
    found = details(tmp_path)
    assert [(one["nsfw"], one["black"]) for one in found] == [
        (True, False), (False, True), (None, True), (None, True), (None, False), (True, True),
    ]  # fmt: skip
    told = "5 images may be censored: fal flags 2 as not safe for work, and 3 more are black all over"
    assert ran.stderr.count(told) == 1
    assert "may be censored" not in again.stderr
    notes = {record["prompt"]: record["notes"] or "" for record in records(tmp_path / "store", "d")}
    assert ["fal flags it as not safe for work" in notes[str(n)] for n in range(6)] == [True, *[False] * 4, True]
    assert ["it is black all over" in notes[str(n)] for n in range(6)] == [False, True, True, True, False, True]


def test_images_that_a_request_brought_twice_are_told_and_counted(tmp_path: Path) -> None:
    same, other = picture(5), picture(6)
    fal = Results({"seed": 3}, {}, pictures={0: [same, other, same, same], 1: [same]})
    with serving(fal):
        ran = generate(fal, tmp_path, "--set", "num_images=4", "--set", "image_size=1024x1024")
        again = generate(fal, tmp_path, "--set", "num_images=4", "--set", "image_size=1024x1024")
        assert (ran.status, ran.summary["images"], len(fal.posts)) == (0, 8, 2), ran.stderr
    assert ran.stderr.count("2 images came with the same bytes as another one of the same request") == 1
    assert "the same bytes" not in again.stderr
    found = [record for record in records(tmp_path / "store", "d") if record["prompt"] == "0"]
    note = "it has the same bytes as image 0 of its request, and fal bills both"
    assert [record["notes"] for record in found] == [None, None, note, note]
    assert {record["seed"] for record in found} == {3}


def test_what_a_model_said_of_a_prompt_is_erased_with_it(tmp_path: Path) -> None:
    said = {"description": "words of mine", "revised_prompt": "words of yours"}
    fal = Results(said)
    with serving(fal):
        assert generate(fal, tmp_path).status == 0
        [row] = [record["row_id"] for record in records(tmp_path / "store", "d")]
        erased = cli(None, "forget", row, "--yes", "--store", str(tmp_path / "store"), "--dataset", "d", env=fal.env)
        assert erased.status == 0, erased.stderr
    assert "words of" not in "".join(path.read_text() for path in (tmp_path / "store" / "d").rglob("*.json"))
    assert not any(b"words of" in path.read_bytes() for path in (tmp_path / "store" / "d").rglob("*.parquet"))
    [found] = records(tmp_path / "store", "d")
    assert (found["status"], found["description"], found["revised_prompt"]) == ("erased", None, None)
