"""Edits show what they were made from; uploads come back as they went in."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.emulator.harness import Emulator, until

EDIT = "fal-ai/gpt-image-1-mini/edit"
CHEAP = {"prompt": "a red bag", "quality": "low", "image_size": "1024x1024"}


def picture(color: str, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), color).save(file, form)
    return file.getvalue()


def data_uri(color: str) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture(color)).decode()}"


def ended(emulator: Emulator, endpoint: str, arguments: dict[str, Any]) -> httpx.Response:
    handle = emulator.http.post(f"/{endpoint}", json=arguments).raise_for_status().json()
    until(lambda: emulator.http.get(handle["status_url"]).json()["status"] == "COMPLETED")
    return emulator.http.get(handle["response_url"])


def corner(emulator: Emulator, result: httpx.Response) -> tuple[int, int, int]:
    """The colour where the first reference is shown."""
    data = emulator.http.get(result.json()["images"][0]["url"]).content
    with Image.open(io.BytesIO(data)) as image:
        found = image.convert("RGB").getpixel((1024 - 42 - 60, 42 + 60))
    assert isinstance(found, tuple)
    return int(found[0]), int(found[1]), int(found[2])


def test_an_edit_shows_its_references(quick: Emulator) -> None:
    for color, rgb in (("red", (255, 0, 0)), ("lime", (0, 255, 0))):
        result = ended(quick, EDIT, {**CHEAP, "image_urls": [data_uri(color)]})
        assert corner(quick, result) == rgb


def test_an_edit_of_an_image_of_its_own(quick: Emulator) -> None:
    first = ended(quick, "fal-ai/gpt-image-1-mini", CHEAP)
    again = ended(quick, EDIT, {**CHEAP, "image_urls": [first.json()["images"][0]["url"]]})
    assert again.status_code == 200


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/none.png", "data:image/png;base64,aGVsbG8=", "nonsense"])
def test_a_reference_that_cannot_be_loaded_is_a_free_422(url: str, quick: Emulator) -> None:
    result = ended(quick, EDIT, {**CHEAP, "image_urls": [url]})
    assert (result.status_code, result.json()["detail"][0]["type"]) == (422, "image_load_error")
    assert quick.bill()["rows"][-1]["cost_usd"] == "0.00"


@pytest.mark.parametrize(
    ("endpoint", "wrong"),
    [
        (EDIT, {"image_urls": []}),
        (EDIT, {"image_urls": "x"}),
        (EDIT, {"image_urls": [1]}),
        (EDIT, {"image_urls": ["x"] * 17}),
        (EDIT, {}),
        ("openai/gpt-image-2", {"image_size": {"width": 1000, "height": 1000}}),
        ("openai/gpt-image-2", {"image_size": {"width": 4096, "height": 1024}}),
        ("openai/gpt-image-2", {"image_size": {"width": 512, "height": 512}}),
        ("openai/gpt-image-2", {"image_size": "1024x1024"}),
        ("fal-ai/gpt-image-1.5", {"quality": "auto"}),
    ],
)
def test_wrong_inputs_are_refused_and_free(endpoint: str, wrong: dict[str, Any], quick: Emulator) -> None:
    result = ended(quick, endpoint, {"prompt": "x", **wrong})
    assert result.status_code == 422
    assert quick.bill()["rows"][-1]["cost_usd"] == "0.00"


@pytest.mark.parametrize(
    ("endpoint", "arguments", "dollars"),
    [
        ("fal-ai/gpt-image-1-mini/edit", CHEAP, "0.01"),
        ("fal-ai/gpt-image-1/text-to-image", {"quality": "medium", "image_size": "1024x1024"}, "0.05"),
        ("fal-ai/gpt-image-1/edit-image", {"quality": "low", "image_size": "1024x1024"}, "0.03"),
        ("fal-ai/gpt-image-1.5", {}, "0.13306"),
        ("fal-ai/gpt-image-1.5/edit", {"quality": "low", "image_size": "1536x1024"}, "0.03746"),
        ("openai/gpt-image-2", {"image_size": "square_hd"}, "0.21078"),
        ("openai/gpt-image-2", {"image_size": {"width": 1024, "height": 1024}, "quality": "low"}, "0.00594"),
        ("openai/gpt-image-2/edit", {"image_size": "square_hd", "num_images": 2}, "0.42258"),
    ],
)
def test_each_family_has_its_own_price(endpoint: str, arguments: dict[str, Any], dollars: str, quick: Emulator) -> None:
    more = {"image_urls": [data_uri("red")]} if "edit" in endpoint else {}
    result = ended(quick, endpoint, {**arguments, "prompt": "a red bag", **more})
    assert quick.bill()["rows"][-1]["cost_usd"] == dollars
    assert float(result.headers["x-fal-billable-units"]) == pytest.approx(float(dollars))


SCRIPT = """
import io, sys, json, fal_client
from PIL import Image
from fal_client import client as module
base = sys.argv[1]
module.QUEUE_URL_FORMAT, module.REST_URL, module.CDN_URL = base + "/", base, base
fal = fal_client.SyncClient(key="id:secret")
file = io.BytesIO()
Image.new("RGB", (64, 64), "blue").save(file, "PNG")
data = file.getvalue()
"""


def official(emulator: Emulator, code: str) -> Any:
    """What fal's own Python client does, in a process of its own: it never closes what it uploads with."""
    script = f"{SCRIPT}{code}\nprint(json.dumps(answer))"
    ran = subprocess.run([sys.executable, "-c", script, emulator.url], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_fals_own_client_uploads_and_edits(quick: Emulator) -> None:
    url = official(quick, "answer = fal.upload(data, 'image/png', 'blue bag.png')")
    assert url.startswith(f"{quick.url}/files/u/")
    found = httpx.get(url)
    assert (found.content, found.headers["content-type"]) == (picture("blue"), "image/png")
    edit = {**CHEAP, "image_urls": [url]}
    assert len(official(quick, f"answer = fal.subscribe({EDIT!r}, {edit!r})")["images"]) == 1
    image = official(quick, "answer = fal.upload_image(Image.new('RGB', (8, 8)), format='png')")
    assert httpx.get(image).headers["content-type"] == "image/png"


def test_fals_own_client_goes_round_a_broken_cdn(quick: Emulator) -> None:
    quick.set(faults={"upload_503": 1.0})
    url = official(quick, "module.MAX_ATTEMPTS = 1; answer = fal.upload(data, 'image/png', 'b.png')")
    assert httpx.get(url).content == picture("blue")


def test_fals_own_client_uploads_in_parts(quick: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(range(256)) * 10)
    code = (
        f"module.MULTIPART_THRESHOLD, module.MULTIPART_CHUNK_SIZE = 1000, 400; answer = fal.upload_file({str(path)!r})"
    )
    assert httpx.get(official(quick, code)).content == path.read_bytes()


def test_a_file_ends_when_its_lifecycle_says(quick: Emulator) -> None:
    token = quick.http.post("/storage/auth/token", json={}).json()
    headers = {
        "Authorization": f"Bearer {token['token']}",
        "X-Fal-Object-Lifecycle": '{"expiration_duration_seconds": 0}',
    }
    url = quick.http.post("/files/upload", content=b"x", headers=headers).json()["access_url"]
    assert quick.http.get(url).status_code == 404
    assert quick.http.post("/files/upload", content=b"x").status_code == 401


def test_uploads_outlive_the_process(start: Any) -> None:
    emulator = start(latency=0.02)
    initiated = emulator.http.post("/storage/upload/initiate", json={"file_name": "a.png"}).json()
    emulator.http.put(initiated["upload_url"], content=picture("red"))
    handle = emulator.http.post(f"/{EDIT}", json={**CHEAP, "image_urls": [initiated["file_url"]]}).json()
    emulator.kill()
    emulator.start()
    assert emulator.http.get(initiated["file_url"]).content == picture("red")
    until(lambda: emulator.http.get(handle["status_url"]).json()["status"] == "COMPLETED")
    assert corner(emulator, emulator.http.get(handle["response_url"])) == (255, 0, 0)


@pytest.mark.parametrize("path", ["/files/u/x/y", "/files/u/..%2f..%2femulator/a", "/storage/put/nope"])
def test_names_from_outside_are_no_paths(path: str, quick: Emulator) -> None:
    assert quick.http.get(path).status_code in {404, 405}
    assert quick.http.put(path, content=b"x").status_code in {404, 405}
