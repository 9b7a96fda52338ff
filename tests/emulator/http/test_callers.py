"""The emulator answers programs of this machine, and no web page: neither by its address nor by another name."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.emulator.harness import ENDPOINT, Emulator

PAGE = "https://page.example"
RULE = json.dumps({"match": "", "fault": "submit_500", "times": 1})
STEER = ("/emulator/faults", "/emulator/settings")


def ask(emulator: Emulator, method: str, path: str, **given: Any) -> httpx.Response:
    return emulator.http.request(method, path, **given)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8000", "[::1]:8000"])
def test_it_answers_to_the_names_of_this_machine_with_any_port(host: str, quick: Emulator) -> None:
    assert ask(quick, "GET", "/emulator/bill", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/emulator/bill", "/v1/meta", "/files/b/cat/x.png", "/v1/models", f"/{ENDPOINT}"])
@pytest.mark.parametrize(
    "host", ["page.example", "127.0.0.1.page.example", "localhost.page.example:80", "192.0.2.7", "localhost:8000:1", ""]
)
def test_a_name_that_leads_here_is_not_answered(host: str, path: str, quick: Emulator) -> None:
    for method in ("GET", "POST"):
        reply = ask(quick, method, path, headers={"Host": host}, json={"prompt": "x"} if method == "POST" else None)
        assert reply.status_code == 421
        assert "127.0.0.1" in reply.json()["error"]


@pytest.mark.parametrize(
    "said",
    [
        {"Origin": PAGE},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": PAGE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_origin_can_neither_steer_nor_buy_nor_upload(said: dict[str, str], quick: Emulator) -> None:
    before = (quick.bill(), ask(quick, "GET", "/emulator/faults").json())
    settings = ask(quick, "GET", "/emulator/settings").json()
    for path in (*STEER, f"/{ENDPOINT}", "/storage/upload/initiate", "/files/upload"):
        for kind in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
            assert ask(quick, "POST", path, content=RULE, headers={"Content-Type": kind, **said}).status_code == 403
    for method in ("DELETE", "PUT", "OPTIONS", "PATCH"):
        assert ask(quick, method, "/emulator/faults", headers=said).status_code == 403
    assert ask(quick, "GET", "/emulator/bill", headers=said).status_code == 403
    assert (quick.bill(), ask(quick, "GET", "/emulator/faults").json()) == before
    assert ask(quick, "GET", "/emulator/settings").json() == settings


def test_a_link_to_a_picture_can_be_followed_and_no_page_can_embed_it(quick: Emulator) -> None:
    url = quick.finished(quick.submit()).json()["images"][0]["url"]
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(quick, "GET", url, headers=followed).status_code == 200
    assert ask(quick, "GET", url, headers={**followed, "Sec-Fetch-Mode": "no-cors"}).status_code == 403


def test_its_own_pages_and_the_person_at_the_browser_are_answered(quick: Emulator) -> None:
    own = {"Origin": quick.url, "Sec-Fetch-Site": "same-origin"}
    assert ask(quick, "POST", "/emulator/settings", json={}, headers=own).status_code == 200
    assert ask(quick, "GET", "/emulator/bill", headers={"Sec-Fetch-Site": "none"}).status_code == 200


def test_it_is_steered_with_json_only(quick: Emulator) -> None:
    for path in STEER:
        for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""):
            assert ask(quick, "POST", path, content=b"{}", headers={"Content-Type": kind}).status_code == 415
        assert (
            ask(quick, "POST", path, content=b"[" * 100_000, headers={"Content-Type": "application/json"}).status_code
            == 400
        )
    assert ask(quick, "GET", "/emulator/faults").json() == {"rules": []}


def test_curl_steers_it_as_people_type_it(quick: Emulator) -> None:
    """`curl -d` calls a body a form, whatever it is."""
    said = {"User-Agent": "curl/8.5.0", "Accept": "*/*", "Content-Type": "application/x-www-form-urlencoded"}
    told = ask(quick, "POST", "/emulator/faults", content=RULE, headers=said)
    assert told.json()["rules"] == [json.loads(RULE)]
