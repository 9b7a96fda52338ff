"""The result of an ended request: status code, body, headers, as in fal's documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from dagster_gptimg.emulator.account.account import checked, inputs_of
from dagster_gptimg.emulator.account.records import Outcome, Record, status_code
from dagster_gptimg.emulator.faults import draw
from dagster_gptimg.emulator.http.replies import retry_hint
from dagster_gptimg.emulator.models.model import DOLLARS, Unit
from dagster_gptimg.emulator.models.models import MODELS
from dagster_gptimg.emulator.models.one_image import MOST_SIDE
from dagster_gptimg.emulator.models.policy import refused_word
from dagster_gptimg.emulator.settings import Settings

ERROR_DOCS = "https://docs.fal.ai/errors#"
ANIMALS = ("elephant", "kangaroo", "koala", "lion", "monkey", "panda", "penguin", "rabbit", "tiger", "zebra")
"""Animals in the paths of the CDN: fal has one in every path, for an unknown reason."""

DataUri = Callable[[int], str]
"""Image index -> the image as a data URI."""


@dataclass(frozen=True)
class Ending:
    """A result in HTTP form, and the matching fields of the status."""

    status_code: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    """The status's `error`: infrastructure failures, and others by setting (docs/fal-wire.md#status)."""
    error_type: str | None = None


_REQUEST_ERRORS = {
    Outcome.RUNNER_LOST: ("runner_disconnected", "Runner disconnected while the request was in progress"),
    Outcome.START_TIMEOUT: ("request_timeout", "Request did not start within the requested start timeout"),
    Outcome.CANCELLED: ("client_cancelled", "Request was cancelled by the client"),
    Outcome.CANCELLED_RUNNING: ("client_cancelled", "Request was cancelled by the client"),
}


_NOT_LOADED = "Failed to load the image. Please check the URL."
_TOO_LARGE = f"Image is too large. Maximum size is {MOST_SIDE}x{MOST_SIDE}."
_MOST = {"max_height": MOST_SIDE, "max_width": MOST_SIDE}
_RETRYABLE = frozenset({Outcome.RUNNER_LOST, Outcome.DOWNSTREAM, Outcome.FAILED})


def ending(record: Record, base_url: str, settings: Settings, data_uri: DataUri | None = None) -> Ending:
    """Return how this request ended. Image URLs start with `base_url`, or are made by `data_uri` (`sync_mode`)."""
    headers = _headers(record, settings)
    if record.outcome in _REQUEST_ERRORS:
        return _request_error(record, headers, settings)
    if record.outcome is Outcome.OK:
        names = file_names(record)
        files = [image(record, index, base_url, data_uri) for index in range(len(names))]
        seed = int(draw(settings.seed, "seed", record.draw_key) * 2**31)
        model = MODELS[record.endpoint_id]
        told = {"image": None, **dict(zip(names, files, strict=True))} if model.has_one_image else {"images": files}
        return Ending(200, {**told, **model.more(inputs_of(record), seed, record.images)}, headers)
    return _model_error_ending(record, headers, settings)


def file_names(record: Record) -> tuple[str, ...]:
    """Return the names of a result's files, in the order of their indices on the CDN."""
    model = MODELS[record.endpoint_id]
    if not model.has_one_image:
        return ("images",) * record.images
    return model.files(inputs_of(record)) if record.images else ()


def file_urls(body: dict[str, Any]) -> list[str]:
    """Return the URLs of all files in a result."""
    files = body.get("images") or [body.get(name) for name in ("image", "mask_image")]
    return [file["url"] for file in files if file is not None]


def _headers(record: Record, settings: Settings) -> dict[str, str]:
    told = settings.units_told == "all" or (settings.units_told == "successes" and record.outcome is Outcome.OK)
    units_ = {"X-Fal-Billable-Units": unit_of(record).billed(record.cost)} if told else {}
    failed = status_code(record.outcome, settings) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return {**units_, **(retry_hint(settings, again=record.outcome in _RETRYABLE) if failed else {})}


def _request_error(record: Record, headers: dict[str, str], settings: Settings) -> Ending:
    """The shape of infrastructure failures (docs/fal-wire.md#error-bodies, 2)."""
    kind, text = _REQUEST_ERRORS[record.outcome]
    headers = {**headers, "X-Fal-Error-Type": kind}
    if record.outcome is Outcome.START_TIMEOUT:
        headers["X-Fal-Request-Timeout-Type"] = "user"
    body = {"detail": text, "error_type": kind}
    return Ending(status_code(record.outcome, settings), body, headers, error=text, error_type=kind)


def _model_error_ending(record: Record, headers: dict[str, str], settings: Settings) -> Ending:
    """The shape of model errors (docs/fal-wire.md#error-bodies, 1)."""
    detail = _detail(record, settings.seed)
    text, kind = (detail, None) if isinstance(detail, str) else (str(detail[0]["msg"]), str(detail[0]["type"]))
    # The schema's errors are FastAPI's own, and always a list.
    plain = settings.error_details == "text" and record.outcome is not Outcome.INVALID
    told = (text, kind) if settings.status_tells_model_errors else (None, None)
    return Ending(status_code(record.outcome, settings), {"detail": text if plain else detail}, headers, *told)


def _detail(record: Record, seed: int) -> str | list[dict[str, Any]]:
    if record.outcome is Outcome.UNKNOWN_PATH:
        return f"Path /{'/'.join(record.endpoint_id.split('/')[2:])} not found"
    if record.outcome is Outcome.INVALID:
        return checked(record.endpoint_id, json.loads(record.arguments))[1]
    if record.outcome is Outcome.REFUSED:
        return [_refusal(record)]
    if record.outcome is Outcome.BAD_REFERENCE:
        return [_model_error(_image_input(record), _NOT_LOADED, "image_load_error")]
    if record.outcome is Outcome.TOO_LARGE:
        return [{**_model_error(_image_input(record), _TOO_LARGE, "image_too_large"), "ctx": _MOST}]
    return [_failure(record, seed)]


def _image_input(record: Record) -> str:
    return "image_url" if MODELS[record.endpoint_id].has_one_image else "image_urls"


def _refusal(record: Record) -> dict[str, Any]:
    message = "The content could not be processed because it was flagged by a content checker."
    categories = {"categories": ["violence"]} if refused_word(record.prompt) else {}
    entry = _model_error("prompt", message, "content_policy_violation")
    return {**entry, "input": {"prompt": record.prompt}, **categories}


def _failure(record: Record, seed: int) -> dict[str, Any]:
    kinds = ("internal_server_error", "downstream_service_unavailable")
    kind = kinds[int(draw(seed, "failure", record.draw_key) * len(kinds))]
    kind = "downstream_service_error" if record.outcome is Outcome.DOWNSTREAM else kind
    return _model_error(None, "The request could not be processed.", kind)


def _model_error(name: str | None, message: str, kind: str) -> dict[str, Any]:
    return {"loc": ["body", *([name] if name else [])], "msg": message, "type": kind, "url": ERROR_DOCS + kind}


def image(record: Record, index: int, base_url: str, data_uri: DataUri | None = None) -> dict[str, Any]:
    """One ImageFile. All but the URL is optional in fal's schema, so some of it is missing or null now and then."""
    model = MODELS[record.endpoint_id]
    width, height = model.size(inputs_of(record))
    name = image_name(record, index)
    shape = int(draw(0, "shape", record.request_id, index) * 8)
    file: dict[str, Any] = {"url": data_uri(index) if data_uri else f"{base_url}/files/{animal(record)}/{name}"}
    if shape != 0:
        file["content_type"] = content_type(record)
    if shape != 1:
        file["file_name"] = name
    if model.untold:
        return {**file, **dict.fromkeys(model.untold)}
    size = (None, None) if shape in (2, 3) else (width, height)
    sides = {"width": size[0], "height": size[1]}
    return {**file, **{name: side for name, side in sides.items() if name not in model.left_out}}


def output_format(record: Record) -> str:
    """`png`, `jpeg`, `webp`, `gif` or `svg`."""
    return MODELS[record.endpoint_id].form(inputs_of(record))


def content_type(record: Record) -> str:
    """The content type of a request's images."""
    form = output_format(record)
    return "image/svg+xml" if form == "svg" else f"image/{form}"


def unit_of(record: Record) -> Unit:
    """Return the unit in which a request is billed; for an unknown path, the unit of OpenAI's models."""
    model = MODELS.get(record.endpoint_id)
    return DOLLARS if model is None else model.unit


def image_name(record: Record, index: int) -> str:
    """The file name of an image on the CDN."""
    ending_ = {"jpeg": "jpg"}.get(output_format(record), output_format(record))
    return f"{record.request_id}_{index}.{ending_}"


def animal(record: Record) -> str:
    """The animal in the path of this request's images."""
    return ANIMALS[int(record.request_id[:8], 16) % len(ANIMALS)]
