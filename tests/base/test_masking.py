"""What is hidden, where, and what stays readable."""

from __future__ import annotations

import ast
import base64
import io
import logging
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.base.masking import (
    Secrets,
    harmless,
    hide_in,
    is_secret_name,
    masked,
    without_credentials,
    without_secrets,
    without_values,
)
from dagster_gptimg.base.plain_text import plain, plain_lines, shown
from dagster_gptimg.errors import GptImgError, StoreError
from dagster_gptimg.fal.http.texts import Texts
from tests.support import ROOT

PRINTS = {"output.py", "progress.py", "doctor.py", "manifest_output.py"}
"""Modules that print, all of them through `plain`."""


@given(st.text(), st.text(max_size=3), st.text(max_size=3))
def test_a_secret_is_found_in_every_form(around: str, before: str, after: str) -> None:
    secret = "s3cr3t/+ä&value"
    found = Secrets(secret)
    for form in (secret, secret.upper(), quote(secret, safe=""), quote(secret, safe="").lower()):
        assert form not in found.masked(f"{around}{form}{around}")
    encoded = base64.b64encode(f"{before}{secret}{after}".encode("utf-8", "replace")).decode()
    assert len(found.masked(encoded)) < len(encoded) - len(secret)


def test_a_key_is_taken_out_before_anything_is_cut_off() -> None:
    texts = Texts("the-key-id:the-key-secret")
    for before in range(9_980, 10_020):
        for filler in ("x", "\0"):
            assert "the-key" not in texts.clean(filler * before + "the-key-secret" + "y" * 50, 10_100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no table at s3://user:pw@host/b?sig=abc#token=x", "no table at s3://host/b"),
        ("zip://a.csv::https://h/b.zip?sig=1 is none", "zip://a.csv::https://h/b.zip is none"),
        ("at abfs://container@account.dfs.core.windows.net/x", "at abfs://container@account.dfs.core.windows.net/x"),
        ("cannot read file:///tmp/a#b?c/d", "cannot read file:///tmp/a#b?c/d"),
        ("is https://fal.ai/x right? yes", "is https://fal.ai/x right? yes"),
        ("h/x.xlsx#Sheet s3://b/x.xlsx#Sheet1", "h/x.xlsx#Sheet s3://b/x.xlsx#Sheet1"),
        ("fal_webhook=https%3A%2F%2Fh%2Fd%3Fsig%3D0123456789abcdef0123", "fal_webhook=https%3A%2F%2Fh%2Fd%3Fsig%3D***"),
        ("{'Authorization': 'Key abc:def'}", "{'Authorization': 'Key ***'}"),
        ("the request key 0123456789abcdef0123456789abcdef", "the request key 0123456789abcdef0123456789abcdef"),
    ],
)
def test_urls_in_messages_lose_what_may_be_secret_and_nothing_else(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert str(StoreError(text)) == expected


def test_a_password_of_a_url_is_hidden_wherever_somebody_repeats_it() -> None:
    hide_in("sftp://me:pass%2Fword-1@host/x?sv=1&sig=signature-2#access_token=token-33")
    assert masked("login as me with pass/word-1 or pass%2Fword-1, signature-2, token-33") == (
        "login as me with *** or ***, ***, ***"
    )


def test_stores_are_called_by_uris_without_credentials() -> None:
    assert without_credentials("sftp://me:pw@host:22/x") == "sftp://host:22/x"
    assert without_credentials("abfs://c@a.dfs/x?sig=abc") == "abfs://c@a.dfs/x"
    assert without_credentials("x://host/y#token=abc") == "x://host/y"
    assert without_credentials("s3://bucket/odd?name#here") == "s3://bucket/odd?name#here"
    assert without_secrets("https://h/t.csv?code=1") == "https://h/t.csv"


def test_names_of_secrets() -> None:
    secret = ["key", "secret", "token", "password", "account_key", "sas_token", "connection_string", "client_secret"]
    secret += ["aws_secret_access_key", "passwd", "PWD", "X-Amz-Signature", "sig", "credential", "Authorization"]
    assert [name for name in secret if not is_secret_name(name)] == []
    plain_names = ["anon", "endpoint_url", "region", "keyfile", "key_file", "token_url", "monkey", "compass"]
    assert [name for name in plain_names if is_secret_name(name)] == []
    options = {"secret": "x", "client_kwargs": {"token": {"env": "T"}, "password": "y", "region": "eu"}, "anon": False}
    assert without_values(options) == {
        "secret": "********",
        "client_kwargs": {"token": {"env": "T"}, "password": "********", "region": "eu"},
        "anon": False,
    }


def test_an_error_is_a_cause_only_when_it_shows_no_secret() -> None:
    hide_in("x://me:top-secret-9@host")
    inner, outer = ValueError("with top-secret-9"), OSError("it failed")
    assert harmless(outer) is outer
    outer.__context__ = inner
    assert harmless(outer) is None


def test_an_error_prints_as_it_is_and_has_no_addresses_of_objects() -> None:
    error = GptImgError(f"a\n  b\x1b[2J \u202ec {io.BytesIO()!r} {Path!r} \U0001f469\u200d\U0001f680 \u3000x")
    assert str(error) == (
        "a\n  b\\x1b[2J \\u202ec <_io.BytesIO> <class 'pathlib.Path'> \U0001f469\u200d\U0001f680 \u3000x"
    )
    assert shown(f"cannot identify {io.BytesIO()!r}") == "cannot identify <_io.BytesIO>"
    assert plain("a\nb") == "a\\nb"


@given(st.text())
def test_what_is_printed_moves_no_cursor(text: str) -> None:
    moving = {*map(chr, range(32)), *map(chr, range(127, 160)), *map(chr, range(0x202A, 0x202F)), "\u2028", "\ufeff"}
    assert not moving & set(plain(text))
    assert not (moving - {"\n"}) & set(plain_lines(text))
    assert not moving & set(shown(text))


def test_every_face_prints_through_the_one_place() -> None:
    """`click.echo`, `print`, `sys.stdout` and rich's consoles stand in no other module."""
    package = ROOT / "dagster_gptimg"
    found = list[str]()
    for path in sorted(package.rglob("*.py")):
        if "emulator" in path.parts or path.name in PRINTS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}:
                found.append(f"{path.name}: {ast.unparse(node)}")
    assert found == ["http_server.py: sys.stdout.write(f'{self._words(host, port)}\\n')"]


def test_httpx_logs_no_signature(caplog: pytest.LogCaptureFixture) -> None:
    from dagster_gptimg.fal.http.client import FalClient
    from dagster_gptimg.fal.settings import FalSettings

    FalClient(FalSettings("some-key-1:some-key-2"))
    with caplog.at_level(logging.INFO, logger="httpx"):
        logging.getLogger("httpx").info(
            "HTTP Request: POST %s %d", "https://q/x?fal_webhook=h%3Fsig%3D" + "a" * 64, 200
        )
        logging.getLogger("httpx").info("some-key-2")
        logging.getLogger("httpx").info("HTTP Request: GET %s", "https://h/x?page=2")
    assert caplog.messages == [
        "HTTP Request: POST https://q/x?fal_webhook=h%3Fsig%3D*** 200",
        "***",
        "HTTP Request: GET https://h/x?page=2",
    ]
