"""docs/fal-wire.md against the client and the emulator, in both directions: its tables are what both are held to."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest

from dagster_gptimg.fal.http.client import FalClient
from tests.fal.wire_calls import CALL_NOTHING, DRIVES, NOBODY, RECEIVER, all_calls
from tests.fal.wire_page import read_endpoints, read_error_types, read_fields
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.fal.recorded import Call
    from tests.fal.wire_page import Endpoint, Field

pytestmark = pytest.mark.xdist_group("wire page")
"""One process drives for all of them."""

ENDPOINTS = read_endpoints()
FIELDS = read_fields()

READ_NOTHING = {
    "addresses", "inputs", "model", "builtin", "overview", "openai", "google", "bytedance", "black_forest_labs",
    "birefnet", "bria", "clarity", "topaz", "portal",
    "price_formulas", "proxies", "request_settings", "resolver", "settings",
}  # fmt: skip
"""Modules of `fal/` that read no answer of fal's. One that is new is looked at."""

NEVER_TOLD = {
    "detail.message",  # the client reads it, and no document names it
    "image.file_size",  # told by some models; those that the calls read leave it out
    "revised_prompt",  # told by models that it does not have
    "models[].openapi.components.schemas.*.properties.*.oneOf",  # in documents of other models
}
"""Fields that the emulator never answers with."""

OURS = ("x-", "authorization", "idempotency-key")
"""Beginnings of the headers that the client means, and no HTTP library makes."""

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "any": (object,),
}


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Call]]:
    """All calls of one drive through everything, by endpoint of the page; what is none of them, under ""."""
    with pytest.MonkeyPatch.context() as patch:
        found = asyncio.run(all_calls(tmp_path_factory.mktemp("world"), patch))
    known: dict[str, set[str]] = defaultdict(set)
    known["webhook_url"] = {call.url for call in found if call.is_fals}
    for call in found:
        for body in call.fals_json:
            for name, url in _urls(body):
                known[name].add(url.partition("?")[0])
    patterns = [(endpoint, _pattern(endpoint.path.partition("?")[0], known)) for endpoint in ENDPOINTS]
    by_endpoint: dict[str, list[Call]] = defaultdict(list)
    for call in found:
        fit, name = max((_fit(endpoint, pattern, call), endpoint.name) for endpoint, pattern in patterns)
        by_endpoint[name if fit else ""].append(call)
    return by_endpoint


def _urls(value: Any) -> Iterator[tuple[str, str]]:
    """Every URL in a body, with its name."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _urls(item)
    if isinstance(value, dict):
        yield from ((name, item) for name, item in value.items() if name.endswith("url") and isinstance(item, str))


def _pattern(path: str, known: dict[str, set[str]]) -> re.Pattern[str]:
    """A path of the page as a pattern: of a URL's path, or of the whole URL when it begins with one that was told."""
    pattern = ""
    for number, part in enumerate(re.split(r"\{(\w+)\}", path)):
        if number == 1 and not pattern:
            pattern = "(?:" + "|".join(map(re.escape, sorted(known[part]))) + ")"
        elif part == "endpoint_id":
            pattern += "[^/]+/[^/]+(?:/[^/]+)*"
        else:
            pattern += "[^/]+" if number % 2 else re.escape(part)
    return re.compile(pattern)


def _fit(endpoint: Endpoint, pattern: re.Pattern[str], call: Call) -> int:
    """How much of a call an endpoint's path says: 0 when it is another's, more for each literal character."""
    told, query = endpoint.path.startswith("{"), dict(parse_qsl(endpoint.path.partition("?")[2]))
    if call.method != endpoint.method or not pattern.fullmatch(call.url if told else call.path):
        return 0
    if not told and call.service != endpoint.service:
        return 0
    if not all(name in call.query and text in {call.query[name], f"{{{name}}}"} for name, text in query.items()):
        return 0
    return 1 + len(re.sub(r"\{\w+\}", "", endpoint.path))


def fields(endpoint: str, *where: str) -> list[Field]:
    return [field for field in FIELDS if field.endpoint == endpoint and field.where in where]


# -- endpoints


def test_every_public_method_of_the_client_is_driven() -> None:
    public = {name for kind in (FalClient, *FalClient.__bases__) for name in vars(kind) if not name.startswith("_")}
    assert public - CALL_NOTHING == set(DRIVES)


def test_every_call_is_to_an_endpoint_of_the_page(calls: dict[str, list[Call]]) -> None:
    assert not {(call.by, call.method, call.url) for call in calls[""]}


def test_each_endpoint_is_called_by_whom_the_page_says(calls: dict[str, list[Call]]) -> None:
    found = {name: {call.by for call in calls[name]} - {NOBODY} for name in calls if name}
    # fal posts webhooks and the receiver asks for keys whenever they like; and a submit that is received is nobody's.
    found["webhook"], found["JWKS"] = {"fal"}, {RECEIVER}
    found["submit"] -= {RECEIVER}
    assert found == {endpoint.name: set(endpoint.called_by) for endpoint in ENDPOINTS}


def test_every_field_belongs_to_an_endpoint_and_stands_there_once() -> None:
    assert {field.endpoint for field in FIELDS} == {endpoint.name for endpoint in ENDPOINTS}
    places = [(field.endpoint, field.where, field.path.lower()) for field in FIELDS]
    assert len(places) == len(set(places))


# -- statuses


def test_just_the_statuses_of_the_page_occur(calls: dict[str, list[Call]]) -> None:
    found = {(name, str(call.status)) for name in calls if name for call in calls[name] if call.status}
    assert found == {(field.endpoint, field.path) for field in FIELDS if field.where == "status code"}


def test_error_types_come_with_their_statuses(calls: dict[str, list[Call]]) -> None:
    known = {kind.name: kind.status_codes for kind in read_error_types()}
    found = {(kind, call.status) for call in calls["result"] for body in call.fals_json for kind in _error_types(body)}
    assert {kind for kind, _ in found} >= {"content_policy_violation", "runner_disconnected", "request_timeout"}
    assert {(kind, status) for kind, status in found if kind in known and status not in known[kind]} == set()
    assert {kind for kind, _ in found if kind not in known} == {"literal_error"}  # pydantic's own


def _error_types(body: Any) -> list[str]:
    detail = body.get("detail")
    return (
        [item["type"] for item in detail] if isinstance(detail, list) else [body[n] for n in body if n == "error_type"]
    )


# -- fields that come


@pytest.mark.parametrize("endpoint", [endpoint.name for endpoint in ENDPOINTS])
def test_answers_have_the_fields_of_the_page(calls: dict[str, list[Call]], endpoint: str) -> None:
    for call in calls[endpoint]:
        if call.status == 200 or (endpoint != "result" and 200 < call.status < 300):
            _check(call.fals_json, fields(endpoint, "body", "event"))
            assert _required(endpoint, "header") <= call.fals_headers.keys()
        else:
            _check(call.fals_json, fields(endpoint, "error body"))


def _check(bodies: list[Any], expected: list[Field]) -> None:
    """Each field has its type; what is required is there, wherever what it is part of is."""
    for body in bodies:
        for field in expected:
            for parent, name in _places([body], field.steps):
                if name not in parent:
                    assert not field.required, (field, body)
                elif parent[name] is None:
                    assert field.nullable, (field, body)
                else:
                    assert any(_is(parent[name], kind) for kind in field.types), (field, parent[name])


def _places(values: list[Any], steps: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects that a field is looked for in, and its name there."""
    for number, step in enumerate(steps):
        objects = [value for value in values if isinstance(value, dict)]
        if number == len(steps) - 1:
            yield from ((value, name) for value in objects for name in (value if step == "*" else [step]))
        elif step == "[]":
            values = [item for value in values if isinstance(value, list) for item in value]
        elif step == "*":
            values = [item for value in objects for item in value.values()]
        else:
            values = [value[step] for value in objects if step in value]


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind not in {"integer", "number"} or not isinstance(value, bool))


def test_every_field_comes_but_for_those_that_the_emulator_never_tells(calls: dict[str, list[Call]]) -> None:
    """A name that is misspelt on the page comes nowhere."""
    answered = [field for field in FIELDS if field.where in {"body", "error body", "event", "header"}]
    come = {field.path for field in answered for call in calls[field.endpoint] if _comes(field, call)}
    assert {field.path for field in answered} - come == NEVER_TOLD


def _comes(field: Field, call: Call) -> bool:
    if field.where == "header":
        return field.path.lower() in call.fals_headers
    return any(name in parent for parent, name in _places(call.fals_json, field.steps))


# -- fields that are read, and sent


HTTPS_OWN = {"content-encoding", "content-type", "date"}
"""Headers of every HTTP answer, and of no service in particular."""


def test_every_name_that_the_client_reads_is_on_the_page() -> None:
    listed = {step.lower() for field in FIELDS for step in re.split(r"\.|\[\]", field.path)}
    modules = [path for path in (ROOT / "dagster_gptimg" / "fal").rglob("*.py") if path.stem not in READ_NOTHING]
    read = {name for path in modules for name in _names_read(ast.parse(path.read_text(encoding="utf-8")))}
    assert read >= {"request_id", "images", "next_cursor", "access_url", "retry-after", "crv", "x-fal-metadata"}
    assert {name for name in read if name.lower() not in listed | HTTPS_OWN} == set()


def _names_read(tree: ast.AST) -> Iterator[str]:
    """Names that are looked up: `body.get(name)`, `body[name]`, `name in body`, `_word(body, name)`, a list of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"get", "pop"}:
            yield from _names(node.args[:1])
        elif isinstance(node, ast.Call) and _is_reader(node.func):
            yield from _names(node.args[1:])
        elif isinstance(node, ast.Subscript):
            yield from _names([node.slice])
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            yield from _names([node.left])
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Tuple | ast.List):
            yield from _names(node.iter.elts)


def _is_reader(function: ast.expr) -> bool:
    """Whether a call may look a name up in an answer: a function, or the method that reads a URL."""
    return isinstance(function, ast.Name) or (isinstance(function, ast.Attribute) and function.attr == "_url_in")


def _names(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(r"[A-Za-z$][\w$/-]*", text) and text not in {"GET", "POST"}:
            yield text


def test_everything_that_the_client_sends_is_on_the_page(calls: dict[str, list[Call]]) -> None:
    for endpoint in ENDPOINTS:
        query = {field.path for field in fields(endpoint.name, "query")}
        headers = {field.path.lower() for field in fields(endpoint.name, "request header")}
        for call in _by_client(calls[endpoint.name]):
            assert call.query.keys() <= query, endpoint.name
            assert {name for name in call.sent_headers if name.startswith(OURS)} <= headers, endpoint.name


def test_everything_that_must_be_sent_is_sent(calls: dict[str, list[Call]]) -> None:
    for endpoint in ENDPOINTS:
        for call in _by_client(calls[endpoint.name]):
            assert _required(endpoint.name, "request header") <= call.sent_headers.keys(), endpoint.name
            assert _required(endpoint.name, "query") <= call.query.keys(), endpoint.name
            if fields(endpoint.name, "request body"):
                _check([json.loads(call.sent)], fields(endpoint.name, "request body"))


def _by_client(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.by in DRIVES]


def _required(endpoint: str, where: str) -> set[str]:
    return {field.path.lower() for field in fields(endpoint, where) if field.required}
