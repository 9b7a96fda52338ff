"""Who may call the server of a review, decided call by call."""

from __future__ import annotations

import socket

import pytest

from dagster_gptimg.cli.review_server.access import Access, is_every_address, is_loopback

JSON = {"content-type": "application/json"}


def code(access: Access, host: str, method: str = "GET", path: str = "/changes", **headers: str) -> int:
    told = {name.replace("_", "-"): text for name, text in headers.items()}
    refused = access.why_not(method, path, told, [host])
    return 200 if refused is None else refused[0]


@pytest.mark.parametrize(
    ("host", "own", "foreign"),
    [
        (
            "127.0.0.1",
            ["127.0.0.1:8190", "localhost", "LOCALHOST:1", "[::1]:8190", "127.0.0.1"],
            ["evil.example", "evil.example:8190", "127.0.0.1.evil.example", "192.168.0.7", "", "a b", "localhost:x",
             "localhost@evil.example", "[::1", "127.0.0.1:8190:1", "localhost.", "0x7f.1", "2130706433"],
        ),
        ("desk.example", ["desk.example:8190", "Desk.Example", "localhost"], ["evil.example", "10.0.0.1"]),
        ("0.0.0.0", ["10.0.0.7:8190", "[fe80::1]", "localhost", socket.gethostname()], ["evil.example", "1.2.3"]),
        ("::", ["10.0.0.7", "[2001:db8::1]:80"], ["evil.example:8190"]),
    ],
)  # fmt: skip
def test_only_names_of_its_own_are_answered(host: str, own: list[str], foreign: list[str]) -> None:
    access = Access(host, 8190)
    assert [name for name in own if code(access, name) != 200] == []
    assert [name for name in foreign if code(access, name) != 421] == []


def test_a_call_without_a_host_or_with_two_is_refused() -> None:
    access = Access("127.0.0.1", 8190)
    assert access.why_not("GET", "/", {}, []) is not None
    assert access.why_not("GET", "/", {}, ["localhost", "localhost"]) is not None


@pytest.mark.parametrize(
    ("expected", "method", "path", "headers"),
    [
        (200, "GET", "/changes", {"sec_fetch_site": "same-origin"}),
        (200, "GET", "/images/x", {"sec_fetch_site": "none"}),
        (200, "POST", "/verdicts", {"sec_fetch_site": "same-origin", "origin": "http://localhost:8190"}),
        (200, "POST", "/verdicts", {"origin": "https://localhost:8190"}),
        (403, "POST", "/verdicts", {"sec_fetch_site": "cross-site", "origin": "http://evil.example"}),
        (403, "POST", "/verdicts", {"sec_fetch_site": "same-origin", "origin": "http://evil.example"}),
        (403, "POST", "/verdicts", {"origin": "http://localhost:3000"}),
        (403, "POST", "/verdicts", {"origin": "null"}),
        (403, "POST", "/verdicts", {"sec_fetch_site": "same-site"}),
        (403, "GET", "/about.js", {"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors"}),
        (403, "GET", "/thumbnails/x", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}),
        (403, "GET", "/changes", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}),
        (200, "GET", "/", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}),
        (403, "GET", "/", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "cors"}),
        (403, "POST", "/", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}),
        (403, "GET", "/", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "origin": "null"}),
    ],
)  # fmt: skip
def test_no_page_of_another_origin_is_answered(expected: int, method: str, path: str, headers: dict[str, str]) -> None:
    given = {**headers, **({"content_type": "application/json"} if method == "POST" else {})}
    assert code(Access("127.0.0.1", 8190), "localhost:8190", method, path, **given) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/json", 200), ("Application/JSON; charset=utf-8", 200), ("text/plain", 415), ("", 415),
        ("application/x-www-form-urlencoded", 415), ("multipart/form-data; boundary=application/json", 415),
        ("text/plain; application/json", 415),
    ],
)  # fmt: skip
def test_what_a_form_can_send_is_not_taken(kind: str, expected: int) -> None:
    assert code(Access("127.0.0.1", 8190), "localhost", "POST", "/verdicts", content_type=kind) == expected


def test_the_cookie_is_this_servers_own_and_neither_a_script_nor_another_site_has_it() -> None:
    access, other = Access("127.0.0.1", 8190), Access("127.0.0.1", 8191)
    given, kinds = access.set_cookie().partition("; ")[::2]
    assert kinds == "HttpOnly; SameSite=Strict; Path=/"
    assert access.token not in given
    assert given.partition("=")[0] != other.set_cookie().partition("=")[0], "browsers share cookies between ports"
    assert access.has_cookie({"cookie": f"a=b; {given}"})
    name = given.partition("=")[0]
    for cookie in (
        "",
        "a=b",
        f"{name}=",
        f"{name}=x",
        f"{name}={access.token}",
        f"{name}=\xff",
        ";;=;",
        other.set_cookie(),
    ):
        assert not access.has_cookie({"cookie": cookie}), cookie
    assert access.is_token(access.token)
    for token in ("", access.token[:-1], other.token, "\xff", "\ud83d"):
        assert not access.is_token(token)


@pytest.mark.parametrize(
    ("host", "loopback", "every"),
    [
        ("127.0.0.1", True, False), ("127.8.8.8", True, False), ("localhost", True, False), ("::1", True, False),
        ("0.0.0.0", False, True), ("::", False, True), ("", False, True), ("10.0.0.1", False, False),
        ("desk.example", False, False),
    ],
)  # fmt: skip
def test_addresses_that_others_reach_are_told_apart(host: str, loopback: bool, every: bool) -> None:  # noqa: FBT001
    assert (is_loopback(host), is_every_address(host)) == (loopback, every)
