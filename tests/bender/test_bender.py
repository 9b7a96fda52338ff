"""The small fal against docs/fal-wire.md, and the bends against what they say of themselves."""

from __future__ import annotations

import asyncio
import json
import random
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from tests.bender.answers import Answer, Call
from tests.bender.bends import VALUES, About
from tests.bender.cells import Cell, all_cells
from tests.bender.face import Face
from tests.bender.fal import ENDPOINT, KEY, Fal, Habits
from tests.bender.hands import CHUNKS, hands, run_cells
from tests.bender.histories import Lead, lay
from tests.bender.routes import route_of, routes
from tests.bender.texts import Raw, decode, encode
from tests.bender.weather import _bend_in, _places
from tests.bender.world import Row, World
from tests.fal.wire_page import read_endpoints, read_fields

if TYPE_CHECKING:
    from tests.fal.wire_page import Field

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,), "any": (object,),
}  # fmt: skip
AUTHORIZED = {"authorization": f"Key {KEY}"}


class Clock:
    now = 0.0


def faces() -> dict[str, Answer]:
    """One answer of each endpoint while all is well."""
    clock = Clock()
    face = Face(Fal(random.Random(1), Habits(is_verbose=True, latency=(1.0, 1.0))), lambda: clock.now)
    face.jwks, face.emulator = [{"kty": "OKP", "crv": "Ed25519", "x": "abc"}], "emulator-1"
    hosts, found = face.hosts, {}

    def ask(name: str, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
        endpoint, parts = route_of(method, url)
        assert endpoint == name, url
        answer = face.answer(Call(endpoint, method, url, headers or AUTHORIZED, body, parts))
        found[name] = answer
        return decode(answer.body()) if answer.stream is None else None

    told = ask("submit", "POST", f"{hosts.queue}/{ENDPOINT}", b'{"prompt": "a"}')
    clock.now = 30.0
    ask("status", "GET", f"{told['status_url']}?logs=1")
    ask("status stream", "GET", f"{told['status_url']}/stream?logs=1")
    images = ask("result", "GET", told["response_url"])
    ask("file download", "GET", images["images"][0]["url"])
    other = face.fal.accept(KEY, ENDPOINT, {"prompt": "b"}, 30.0)
    ask("cancel", "PUT", told["cancel_url"].replace(told["request_id"], other.id))
    history = f"{hosts.api}/v1/models/requests/by-endpoint?endpoint_id={ENDPOINT}"
    ask("history", "GET", f"{history}&start=2026-11-24T00:00:00%2B00:00")
    ask("lookup", "GET", f"{history}&request_id={told['request_id']}")
    ask("models", "GET", f"{hosts.api}/v1/models?endpoint_id={ENDPOINT}")
    ask("models with documents", "GET", f"{hosts.api}/v1/models?endpoint_id={ENDPOINT}&expand=openapi-3.0")
    ask("pricing", "GET", f"{hosts.api}/v1/models/pricing?endpoint_id={ENDPOINT}")
    ask("meta", "GET", f"{hosts.api}/v1/meta")
    ask("payload deletion", "DELETE", f"{hosts.api}/v1/models/requests/{told['request_id']}/payloads")
    ask("JWKS", "GET", f"{hosts.rest}/.well-known/jwks.json")
    token = ask("upload token", "POST", f"{hosts.rest}/storage/auth/token?storage_type=fal-cdn-v3", b"{}")
    bearer = {"authorization": f"{token['token_type']} {token['token']}"}
    uploaded = ask("direct upload", "POST", f"{hosts.cdn}/files/upload", b"bytes", bearer)
    assert face.answer(Call("file download", "GET", uploaded["access_url"], {})).value == b"bytes"
    begun = ask("initiate", "POST", f"{hosts.rest}/storage/upload/initiate?storage_type=fal-cdn-v3", b"{}")
    ask("upload PUT", "PUT", begun["upload_url"], b"other bytes")
    assert face.answer(Call("file download", "GET", begun["file_url"], {})).value == b"other bytes"
    parts = ask("multipart create", "POST", f"{token['base_url']}/files/upload/multipart", b"", bearer)
    where = f"{parts['access_url']}/multipart/{parts['uploadId']}"
    for number in (2, 1):
        ask("multipart part", "PUT", f"{where}/{number}", str(number).encode(), bearer)
    ask("multipart complete", "POST", f"{where}/complete", b"{}", bearer)
    assert face.answer(Call("file download", "GET", parts["access_url"], {})).value == b"12"
    return found


FACES = faces()


def test_every_endpoint_of_fals_is_served() -> None:
    assert FACES.keys() == {route.name for route in routes()}
    assert FACES.keys() == {endpoint.name for endpoint in read_endpoints()} - {"webhook"}
    assert all(200 <= answer.status < 300 and "Date" in answer.headers for answer in FACES.values())


@pytest.mark.parametrize("endpoint", sorted(FACES.keys() - {"file download", "status stream"}))
def test_answers_are_those_of_the_page(endpoint: str) -> None:
    body = json.loads(FACES[endpoint].body())
    for field in (field for field in read_fields() if field.endpoint == endpoint):
        if field.where == "body":
            for parent, name in _places(body, field.steps):
                _check(field, parent, name)
        elif field.where == "header" and field.required:
            assert field.path.lower() in {name.lower() for name in FACES[endpoint].headers}


def _check(field: Field, parent: dict[str, Any], name: str) -> None:
    value = parent.get(name)
    if value is None:
        assert not field.required or field.nullable or not any(parent.values()), field
    else:
        assert any(isinstance(value, KINDS[kind]) for kind in field.types), (field, value)


OF_BODIES = [field for field in read_fields() if field.where == "body" and field.endpoint in FACES]


@pytest.mark.parametrize("field", OF_BODIES, ids=[f"{field.endpoint} {field.path}" for field in OF_BODIES])
def test_every_field_of_an_answer_stands_in_one(field: Field) -> None:
    """A field that stands in no answer can be taken out of none: no seed would strike its cell `absent`."""
    world = World(1, [Row("thing 0")], Habits(is_verbose=True, latency=(1.0, 1.0)))
    lay(world, 0, Lead(Cell(field.endpoint, "body", field.path, "absent"), inf))
    bodies = [decode(FACES[field.endpoint].body()), *_of_requests(world, field.endpoint)]
    assert any(name in parent for body in bodies for parent, name in _places(body, field.steps))


def _of_requests(world: World, endpoint: str) -> list[Any]:
    """What an endpoint answers about a request of the world's that waits, runs, and has ended."""
    world.fal.accept(KEY, ENDPOINT, {"prompt": "before it"}, 0.0)
    request, found = world.fal.accept(KEY, ENDPOINT, {"prompt": "thing 0"}, 0.0), list[Any]()
    for now in (0.0, 1.5, 30.0):
        world.now = now
        found += [world.face.status_of(request, with_logs=True)] if endpoint == "status" else []
    return [*found, *([world.face.output(request)] if endpoint == "result" else [])]


async def test_a_stream_tells_each_state_once_and_ends() -> None:
    async def statuses() -> list[str]:
        stream = FACES["status stream"].stream
        assert stream is not None
        return [status["status"] async for status in stream() if status is not None]

    assert await asyncio.wait_for(statuses(), 5.0) == ["COMPLETED"]


def test_every_cell_of_runs_is_dealt_once() -> None:
    dealt = [cell for chunk in range(CHUNKS) for hand in hands(chunk) for cell in hand]
    assert sorted(dealt) == sorted(run_cells())
    assert set(run_cells()) < set(all_cells())


@pytest.mark.parametrize("bend", sorted(VALUES.keys() - {"another's"}))
def test_a_bend_of_a_field_changes_that_field_alone(bend: str) -> None:
    cell = Cell("result", "body", "images[].width", bend)
    value = {"images": [{"url": "u", "width": 16}, {"url": "v", "width": 16}]}
    assert _bend_in(value, cell, About(call=Call("result", "GET", "", {})), None)
    first = value["images"].pop(0)
    assert value == {"images": [{"url": "v", "width": 16}]}
    assert first.pop("url") == "u"
    assert first.get("width", "absent") != 16


def test_bytes_that_no_library_writes_are_written() -> None:
    assert encode({"a": Raw(b"1e999"), "b": [Raw(b"NaN"), "\ud83d"]}) == b'{"a":1e999,"b":[NaN,"\\ud83d"]}'
    assert encode({"key \0 1": Raw(b"[[[")}).endswith(b":[[[}")


def test_the_bill_follows_slots_and_ends() -> None:
    fal = Fal(random.Random(1), Habits(latency=(5.0, 5.0)), slots=1)
    fal.ends["b"] = "failed"
    first, second = (fal.accept(KEY, ENDPOINT, {"prompt": prompt}, 0.0) for prompt in "ab")
    assert (first.begins_at, first.ends_at, second.begins_at) == (0.0, 5.0, None)
    assert fal.cancel(second, 1.0)
    third = fal.accept(KEY, ENDPOINT, {"prompt": "b"}, 2.0)
    fal.advance(6.0)
    assert (third.begins_at, third.ends_at) == (5.0, 10.0)
    assert [(r.end, str(r.billed)) for r in (first, second, third)] == [
        ("ok", "0.01"),
        ("cancelled", "0"),
        ("failed", "0.00"),
    ]
