"""Endpoints that take one image and need no prompt: inputs, prices, results, images as pages and recordings say.

Pages: https://fal.ai/models/<id>/llms.txt, in copies read on 2026-11-30.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import fal_client
import httpx
import pytest
from PIL import Image, ImageDraw

from tests.emulator.account.test_edits_and_storage import ended
from tests.emulator.harness import ADMIN, Emulator, until
from tests.emulator.receiver import receiving
from tests.emulator.test_fal_client import _closing

BIREFNET, BRIA = "fal-ai/birefnet/v2", "fal-ai/bria/background/remove"
CLARITY, TOPAZ = "fal-ai/clarity-upscaler", "topaz/upscale/image/precision"
ONE_IMAGE = (BIREFNET, BRIA, CLARITY, TOPAZ)


def product(width: int = 64, height: int = 48, form: str = "PNG") -> bytes:
    """A red thing in the middle of a white ground."""
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).rectangle((width // 4, height // 4, width * 3 // 4, height * 3 // 4), fill="red")
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def made(quick: Emulator, endpoint_id: str, data: bytes | None = None, **more: Any) -> httpx.Response:
    return ended(quick, endpoint_id, {"image_url": uri(product() if data is None else data), **more})


def opened(file: dict[str, Any]) -> Image.Image:
    reply = httpx.get(file["url"])
    image = Image.open(io.BytesIO(reply.content))
    assert reply.headers["content-type"] == f"image/{str(image.format).lower()}"
    return image


def charged(quick: Emulator) -> Decimal:
    return Decimal(quick.bill()["rows"][-1]["cost_usd"])


# -- prices


@pytest.mark.parametrize(
    ("endpoint_id", "size", "arguments", "dollars", "units"),
    [
        (BRIA, (64, 48), {}, "0.018", "1"),  # the page: $0.018 a generation
        (BRIA, (1024, 1024), {}, "0.018", "1"),
        (BIREFNET, (2048, 1072), {}, "0.00296", "2.666667"),  # as one was billed on 2026-09-07
        (CLARITY, (512, 512), {}, "0.03", "1"),  # the page: $0.03 a megapixel; of output, by people's tables
        (CLARITY, (1024, 1024), {}, "0.12", "4"),
        (CLARITY, (1920, 1080), {"upscale_factor": 2}, "0.24", "8"),  # 4K, as people tell of it
        (CLARITY, (100, 100), {"upscale_factor": 1}, "0.03", "1"),
        (TOPAZ, (400, 225), {"upscale_factor": 2}, "0.08", "8"),  # as it was recorded on 2026-08-28
        (TOPAZ, (1600, 1000), {"upscale_factor": 4}, "0.16", "16"),  # the page: above 24 megapixels
        (TOPAZ, (2048, 1600), {"upscale_factor": 4}, "0.24", "24"),  # the page: above 48 megapixels
    ],
)
def test_units_times_their_price_are_what_is_billed(
    endpoint_id: str, size: tuple[int, int], arguments: dict[str, Any], dollars: str, units: str, quick: Emulator
) -> None:
    result = made(quick, endpoint_id, product(*size), **arguments)
    assert (result.status_code, charged(quick)) == (200, Decimal(dollars))
    assert result.headers["x-fal-billable-units"] == units
    (price,) = quick.http.get("/v1/models/pricing", params={"endpoint_id": endpoint_id}).json()["prices"]
    billed = Decimal(units) * Decimal(str(price["unit_price"]))
    assert billed == pytest.approx(Decimal(dollars), abs=Decimal("0.000001"))


@pytest.mark.parametrize(
    ("reading", "endpoint_id", "arguments", "size", "dollars"),
    [
        ({"megapixel": 1_048_576}, TOPAZ, {"upscale_factor": 4}, (1550, 1000), "0.08"),
        ({"megapixel": 1_000_000}, TOPAZ, {"upscale_factor": 4}, (1550, 1000), "0.16"),
        ({"megapixel": 1_000_000}, CLARITY, {}, (512, 512), "0.06"),
        ({"megapixels_rounded": False}, CLARITY, {}, (100, 100), "0.001145"),
        ({"compute_seconds_billed": False}, BIREFNET, {}, (64, 48), "0"),
    ],
)
def test_prices_by_each_reading(
    reading: dict[str, Any],
    endpoint_id: str,
    arguments: dict[str, Any],
    size: tuple[int, int],
    dollars: str,
    quick: Emulator,
) -> None:
    quick.set(**reading)
    result = made(quick, endpoint_id, product(*size), **arguments)
    assert charged(quick) == Decimal(dollars)
    (price,) = quick.http.get("/v1/models/pricing", params={"endpoint_id": endpoint_id}).json()["prices"]
    billed = Decimal(result.headers["x-fal-billable-units"]) * Decimal(str(price["unit_price"]))
    assert billed == pytest.approx(Decimal(dollars), abs=Decimal("0.00001"))


def test_what_is_free_has_no_price_in_the_list_either(quick: Emulator) -> None:
    def listed() -> float:
        prices = quick.http.get("/v1/models/pricing", params={"endpoint_id": BIREFNET}).json()["prices"]
        return float(prices[0]["unit_price"])

    assert listed() == 0.00111
    quick.set(compute_seconds_billed=False)
    assert listed() == 0


# -- results


def test_results_have_one_image_and_the_fields_of_the_pages(quick: Emulator) -> None:
    for endpoint_id in (BIREFNET, BRIA, TOPAZ):
        assert set(made(quick, endpoint_id).json()) == {"image"}
    assert set(made(quick, BIREFNET, output_mask=True).json()) == {"image", "mask_image"}
    clarity = made(quick, CLARITY, seed=7).json()
    assert (set(clarity), clarity["seed"]) == ({"image", "seed", "timings"}, 7)
    assert isinstance(made(quick, CLARITY).json()["seed"], int)


def test_topaz_tells_no_sides_as_it_was_recorded(quick: Emulator) -> None:
    files = [made(quick, TOPAZ).json()["image"] for _ in range(3)]
    assert set().union(*files) <= {"url", "content_type", "file_name", "file_size"}


def test_sides_are_those_of_the_image(quick: Emulator) -> None:
    told = [made(quick, CLARITY, upscale_factor=1.5).json()["image"] for _ in range(8)]
    assert {(file["width"], file["height"]) for file in told} - {(None, None)} == {(96, 72)}


# -- images


def alpha(image: Image.Image, x: int, y: int) -> int:
    found = image.convert("RGBA").getpixel((x, y))
    assert isinstance(found, tuple)
    return int(found[3])


@pytest.mark.parametrize(
    ("endpoint_id", "form"), [(BIREFNET, "png"), (BIREFNET, "webp"), (BIREFNET, "gif"), (BRIA, "")]
)
def test_a_cut_out_is_the_image_without_its_background(endpoint_id: str, form: str, quick: Emulator) -> None:
    more: dict[str, Any] = {"output_format": form} if form else {}
    image = opened(made(quick, endpoint_id, **more).json()["image"])
    assert (image.format, image.size) == ((form or "png").upper(), (64, 48))
    assert [alpha(image, *at) for at in ((0, 0), (63, 47), (32, 24))] == [0, 0, 255]
    red, green, blue = image.convert("RGB").getpixel((32, 24))  # type: ignore[misc]
    assert red > 240
    assert max(green, blue) < 20


def test_what_is_transparent_already_stays_so(quick: Emulator) -> None:
    image = Image.new("RGBA", (64, 48), "red")
    image.paste((255, 0, 0, 0), (0, 0, 32, 48))
    file = io.BytesIO()
    image.save(file, "PNG")
    for endpoint_id in (BIREFNET, BRIA):
        again = opened(made(quick, endpoint_id, file.getvalue()).json()["image"])
        assert [alpha(again, *at) for at in ((0, 0), (20, 24), (40, 24), (63, 47))] == [0, 0, 255, 255]


@pytest.mark.parametrize("colors", ["white", "black"])
def test_an_image_of_one_colour_is_not_cut_out_to_nothing(colors: str, quick: Emulator) -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), colors).save(file, "PNG")
    image = opened(made(quick, BRIA, file.getvalue()).json()["image"])
    assert [alpha(image, *at) for at in ((0, 0), (20, 20))] == [0, 255]


def test_masks_beside_the_image_or_instead_of_it(quick: Emulator) -> None:
    result = made(quick, BIREFNET, output_mask=True).json()
    mask, image = opened(result["mask_image"]), opened(result["image"])
    assert (mask.mode, mask.size) == ("L", (64, 48))
    assert [mask.getpixel(at) for at in ((0, 0), (32, 24))] == [0, 255]
    assert image.mode == "RGBA"
    assert quick.bill()["rows"][-1]["images"] == 1, "a mask is no image that was asked for"
    only = made(quick, BIREFNET, output_mask=True, mask_only=True, output_format="webp").json()
    assert set(only) == {"image"}
    assert opened(only["image"]).convert("L").getpixel((0, 0)) < 10  # type: ignore[operator]


@pytest.mark.parametrize(
    ("endpoint_id", "arguments", "size", "form"),
    [
        (CLARITY, {}, (128, 96), "PNG"),
        (CLARITY, {"upscale_factor": 1}, (64, 48), "PNG"),
        (CLARITY, {"upscale_factor": 1.5}, (96, 72), "PNG"),
        (TOPAZ, {"upscale_factor": 4}, (256, 192), "JPEG"),
        (TOPAZ, {"output_format": "png"}, (128, 96), "PNG"),
    ],
)
def test_upscaling_makes_width_and_height_larger_by_the_factor(
    endpoint_id: str, arguments: dict[str, Any], size: tuple[int, int], form: str, quick: Emulator
) -> None:
    image = opened(made(quick, endpoint_id, **arguments).json()["image"])
    assert (image.size, image.format) == (size, form)
    middle = image.convert("RGB").getpixel((size[0] // 2, size[1] // 2))
    assert middle == pytest.approx((255, 0, 0), abs=8)


def test_a_chain_from_drawn_to_cut_out_to_upscaled(quick: Emulator) -> None:
    asked = {"prompt": "a red bag", "quality": "low", "image_size": "1024x1024"}
    drawn = ended(quick, "fal-ai/gpt-image-1-mini", asked).json()["images"][0]["url"]
    cut = ended(quick, BRIA, {"image_url": drawn}).json()["image"]["url"]
    large = opened(ended(quick, CLARITY, {"image_url": cut}).json()["image"])
    assert (large.size, alpha(large, 0, 0)) == ((2048, 2048), 0)
    assert [row["cost_usd"] for row in quick.bill()["rows"][-2:]] == ["0.018", "0.12"]


# -- the image that is sent


def test_a_file_of_the_storage_and_a_data_uri_are_the_same_image(quick: Emulator) -> None:
    begun = quick.http.post("/storage/upload/initiate", json={"file_name": "a.png"}).json()
    quick.http.put(begun["upload_url"], content=product())
    by_url = ended(quick, BRIA, {"image_url": begun["file_url"]}).json()["image"]["url"]
    assert httpx.get(by_url).content == httpx.get(made(quick, BRIA).json()["image"]["url"]).content


@pytest.mark.parametrize("endpoint_id", ONE_IMAGE)
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/none.png", "data:image/png;base64,aGVsbG8=", "nonsense"])
def test_an_image_that_cannot_be_loaded_is_a_free_422(url: str, endpoint_id: str, quick: Emulator) -> None:
    result = ended(quick, endpoint_id, {"image_url": url})
    (entry,) = result.json()["detail"]
    assert (result.status_code, entry["loc"], entry["type"]) == (422, ["body", "image_url"], "image_load_error")
    assert charged(quick) == 0


def said_to_be(width: int, height: int) -> bytes:
    """An image whose header names these sides, and which has hardly any pixels."""
    data = product(1, 1)
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def blank(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("endpoint_id", "size", "arguments"),
    [
        (BRIA, (8193, 4), {}),
        (BIREFNET, (4, 8193), {}),
        (BRIA, (30_000, 30_000), {}),  # Pillow calls it a bomb
        (CLARITY, (4097, 4), {}),
        (TOPAZ, (4, 2049), {"upscale_factor": 4}),
    ],
)
def test_an_image_that_is_or_would_become_too_large_is_a_free_422(
    endpoint_id: str, size: tuple[int, int], arguments: dict[str, Any], quick: Emulator
) -> None:
    data = said_to_be(*size) if max(size) > 8192 else blank(*size)
    result = made(quick, endpoint_id, data, **arguments)
    (entry,) = result.json()["detail"]
    assert (result.status_code, entry["loc"], entry["type"]) == (422, ["body", "image_url"], "image_too_large")
    assert entry["ctx"] == {"max_height": 8192, "max_width": 8192}
    assert charged(quick) == 0


@pytest.mark.parametrize(
    ("endpoint_id", "wrong", "name", "kind"),
    [
        (BIREFNET, {"model": "General"}, "model", "literal_error"),
        (BIREFNET, {"operating_resolution": "512x512"}, "operating_resolution", "literal_error"),
        (BIREFNET, {"output_format": "jpeg"}, "output_format", "literal_error"),
        (BIREFNET, {"output_mask": "perhaps"}, "output_mask", "bool_parsing"),
        (BRIA, {"sync_mode": "perhaps"}, "sync_mode", "bool_parsing"),
        (CLARITY, {"upscale_factor": 4.5}, "upscale_factor", "less_than_equal"),
        (CLARITY, {"creativity": -0.1}, "creativity", "greater_than_equal"),
        (CLARITY, {"num_inference_steps": 3}, "num_inference_steps", "greater_than_equal"),
        (CLARITY, {"seed": -1}, "seed", "greater_than_equal"),
        (CLARITY, {"prompt": 7}, "prompt", "string_type"),
        (TOPAZ, {"upscale_factor": 0.5}, "upscale_factor", "greater_than_equal"),
        (TOPAZ, {"strength": 0}, "strength", "greater_than_equal"),
        (TOPAZ, {"output_format": "webp"}, "output_format", "literal_error"),
        *((endpoint_id, {"image_url": 7}, "image_url", "string_type") for endpoint_id in ONE_IMAGE),
    ],
)
def test_wrong_inputs_are_refused_and_free(
    endpoint_id: str, wrong: dict[str, Any], name: str, kind: str, quick: Emulator
) -> None:
    result = made(quick, endpoint_id, **wrong)
    assert result.status_code == 422
    assert [(entry["loc"][-1], entry["type"]) for entry in result.json()["detail"]] == [(name, kind)]
    assert charged(quick) == 0


@pytest.mark.parametrize("endpoint_id", ONE_IMAGE)
def test_the_image_is_required_and_nothing_else(endpoint_id: str, quick: Emulator) -> None:
    missing = ended(quick, endpoint_id, {})
    assert [(entry["loc"][-1], entry["type"]) for entry in missing.json()["detail"]] == [("image_url", "missing")]
    assert made(quick, endpoint_id).status_code == 200
    schemas = quick.http.get("/api/openapi/queue/openapi.json", params={"endpoint_id": endpoint_id}).json()
    inputs = next(found for name, found in schemas["components"]["schemas"].items() if name.endswith("Input"))
    assert inputs["required"] == ["image_url"]


# -- the document


def outputs(quick: Emulator, endpoint_id: str) -> dict[str, Any]:
    document = quick.http.get("/api/openapi/queue/openapi.json", params={"endpoint_id": endpoint_id}).json()
    found = document["components"]["schemas"]
    return dict(next(schema for name, schema in found.items() if name.endswith("Output")))


def test_documents_name_what_results_have(quick: Emulator) -> None:
    assert list(outputs(quick, BIREFNET)["properties"]) == ["image", "mask_image"]
    assert outputs(quick, BIREFNET)["required"] == ["image"]
    assert list(outputs(quick, BRIA)["properties"]) == ["image"]
    clarity = outputs(quick, CLARITY)
    assert clarity["required"] == ["image", "seed", "timings"]
    assert [clarity["properties"][name]["type"] for name in ("seed", "timings")] == ["integer", "object"]
    assert outputs(quick, TOPAZ)["properties"]["image"]["allOf"] == [{"$ref": "#/components/schemas/File"}]
    assert outputs(quick, "fal-ai/flux-2")["required"] == ["images", "timings", "seed", "has_nsfw_concepts", "prompt"]


def test_levels_of_topaz_may_be_null(quick: Emulator) -> None:
    assert made(quick, TOPAZ, sharpen=None, denoise=None, fix_compression=None, strength=None).status_code == 200
    document = quick.http.get("/api/openapi/queue/openapi.json", params={"endpoint_id": TOPAZ}).json()
    strength = document["components"]["schemas"]["UpscaleImagePrecisionInput"]["properties"]["strength"]
    assert strength["anyOf"] == [{"type": "number", "minimum": 0.01, "maximum": 1}, {"type": "null"}]


# -- the rest of fal


def test_sync_mode_puts_image_and_mask_into_the_result(quick: Emulator) -> None:
    result = made(quick, BIREFNET, output_mask=True, sync_mode=True).json()
    for name, mode in (("image", "RGBA"), ("mask_image", "L")):
        head, _, body = result[name]["url"].partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(body))).mode == mode
    ignored = made(quick, TOPAZ, sync_mode=True).json()
    assert ignored["image"]["url"].startswith("http"), "the page has no such input"


def test_webhook_history_and_deletion_know_image_and_mask(quick: Emulator) -> None:
    with receiving() as receiver:
        body = {"image_url": uri(product()), "output_mask": True}
        handle = quick.http.post(f"/{BIREFNET}", params={"fal_webhook": f"{receiver.url}/hook"}, json=body).json()
        (came,) = receiver.wait()
    assert set(came.told["payload"]) == {"image", "mask_image"}
    until(lambda: quick.row(handle)["webhook"]["ended"])
    listed = quick.history(endpoint_id=BIREFNET, request_id=handle["request_id"], expand="payloads")["items"]
    assert listed[0]["json_output"] == came.told["payload"]
    links = [came.told["payload"][name]["url"] for name in ("image", "mask_image")]
    assert [httpx.get(link).status_code for link in links] == [200, 200]
    gone = quick.http.delete(f"/v1/models/requests/{handle['request_id']}/payloads", headers=ADMIN).json()
    assert [entry["link"] for entry in gone["cdn_delete_results"]] == links
    assert [httpx.get(link).status_code for link in links] == [404, 404]


def test_there_is_never_more_than_one_image(quick: Emulator) -> None:
    quick.fault("more_images")
    assert set(made(quick, BRIA).json()) == {"image"}
    assert (charged(quick), quick.bill()["rows"][-1]["images"]) == (Decimal("0.018"), 1)
    quick.fault("fewer_images")
    assert made(quick, BRIA, product(20, 20)).json() == {"image": None}


def test_what_was_sent_outlives_the_process(start: Any) -> None:
    emulator = start(latency=0.02)
    handle = emulator.http.post(f"/{CLARITY}", json={"image_url": uri(product())}).json()
    emulator.kill()
    emulator.start()
    first = opened(emulator.finished(handle).json()["image"])
    assert first.size == (128, 96)


@pytest.mark.long
def test_many_large_images_at_once_take_the_memory_of_one(start: Any) -> None:
    emulator = start(latency=0.02)
    asked = [made(emulator, CLARITY, blank(2048, 2048), upscale_factor=4, seed=seed) for seed in range(3)]
    urls = [result.json()["image"]["url"] for result in asked]
    with ThreadPoolExecutor(len(urls)) as pool:
        found = list(pool.map(lambda url: httpx.get(url, timeout=120).status_code, urls))
    assert found == [200, 200, 200]
    said = Path(f"/proc/{emulator.process.pid}/status").read_text()
    most = next(line.split()[1] for line in said.splitlines() if line.startswith("VmHWM"))
    assert int(most) < 600_000, "kB; an image of 8192x8192 takes 268,000"


def test_fals_own_python_client_gets_each_image(quick: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{quick.url}/")
    with _closing(fal_client.SyncClient(key="id:secret")) as fal:
        for endpoint_id in ONE_IMAGE:
            handle = fal.submit(endpoint_id, {"image_url": uri(product())})
            app = "/".join(endpoint_id.split("/")[:2])
            assert f"/{app}/requests/{handle.request_id}" in handle.status_url
            result = handle.get()
            assert opened(result["image"]).size in ((64, 48), (128, 96))
            assert fal.result(endpoint_id, handle.request_id) == result
            with pytest.raises(fal_client.FalClientHTTPError) as caught:
                fal.subscribe(endpoint_id, {})
            assert caught.value.response.json()["detail"][0]["loc"] == ["body", "image_url"]
