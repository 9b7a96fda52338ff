"""The server of a review over real HTTP: who gets in, which files there are, and that no verdict is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from dagster_gptimg.cli.commands import main
from dagster_gptimg.engine.maintain.review import review_rows
from dagster_gptimg.store.gallery_layout import thumbnail_name
from dagster_gptimg.store.layout import VERDICTS, image_in
from dagster_gptimg.store.manifest import read_manifest
from dagster_gptimg.store.verdicts.verdicts import Verdicts, image_of, text_of
from dagster_gptimg.testing import NO_TLS
from tests import galleries
from tests.harness import cli, until
from tests.review_server import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.store.dataset import Dataset

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def brisk() -> None:
    """`main`, with a look at the store at each question of a page."""
    from dagster_gptimg.cli.review_server import session as module

    module.NEAR_SECONDS, module.SHARE = 0.0, 0
    main()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Rows r0 to r39 with an image each, and another dataset beside it."""
    folder = tmp_path_factory.mktemp("store")
    other = galleries.dataset_in(folder, "other")
    galleries.write(other, [galleries.Row("secret", "p", (galleries.picture(77),))], has_thumbnails=True)
    made = galleries.dataset_in(folder, "d")
    rows = [galleries.Row(f"r{n}", "p", (galleries.picture(n),)) for n in range(40)]
    galleries.write(made, rows, has_thumbnails=True)
    return made


@pytest.fixture(scope="module")
def server(dataset: Dataset) -> Iterator[Serving]:
    with serving(dataset, program=brisk) as found:
        yield found


def record(dataset: Dataset, row: int) -> dict[str, Any]:
    return dict(read_manifest(dataset, None).slice(row, 1).to_pylist()[0])


def image(dataset: Dataset, row: int) -> str:
    found = image_of(record(dataset, row))
    assert found is not None
    return text_of(found)


def given(dataset: Dataset, row: int, verdict: str = "approved", seen: int = 0, note: str = "") -> dict[str, Any]:
    return {"image": image(dataset, row), "verdict": verdict, "seen": seen, "note": note}


def test_the_token_opens_the_page_and_nothing_else_does(server: Serving) -> None:
    def code(path: str, **headers: str) -> int:
        return httpx.get(f"{server.base}{path}", headers=headers, verify=NO_TLS).status_code

    assert code("/") == code("/?token=") == code(f"/?token={server.token[:-1]}") == 403
    assert code("/about.js") == code(f"/about.js?token={server.token}") == code("/changes") == 403
    assert code("/about.js", cookie=f"{server.cookie()['cookie'][:-1]}") == 403
    answer = httpx.get(server.url, verify=NO_TLS)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert server.token not in answer.text
    page = server.call("/")
    assert page.status_code == 200
    assert "<h1" in page.text
    assert server.token not in page.text
    assert server.token not in server.errors.read_text("utf-8")


def test_every_answer_has_the_headers_that_keep_it_to_itself(server: Serving, dataset: Dataset) -> None:
    path = f"/{image_in(record(dataset, 0)['uri'])}"
    answers = [server.call(where) for where in ("/", "/about.js", path, "/nothing", "/changes")]
    answers += [httpx.get(server.base, verify=NO_TLS), httpx.get(server.url, verify=NO_TLS)]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 200, 403, 200]


def test_names_of_strangers_and_pages_of_other_origins_are_refused_before_anything_else(
    server: Serving, dataset: Dataset
) -> None:
    body = {"json": {"by": "eve", "verdicts": [given(dataset, 30)]}}
    assert server.call("/", headers={"host": f"evil.example:{server.port}"}).status_code == 421
    assert server.call("/changes", headers={"origin": "http://evil.example"}).status_code == 403
    assert server.call("/about.js", headers={"sec-fetch-site": "same-site"}).status_code == 403
    for headers, code in (
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"cookie": "a=b"}, 403),
        ({"content-type": "text/plain"}, 415),
    ):
        assert server.call("/verdicts", "POST", headers=headers, **body).status_code == code, headers
    assert server.call("/verdicts", "OPTIONS", headers={"origin": "http://evil.example"}).status_code == 403
    assert Verdicts(dataset).names(image(dataset, 30)) == []


def test_only_files_of_the_page_and_of_the_datasets_images_are_there(server: Serving, dataset: Dataset) -> None:
    here = record(dataset, 0)
    path, small = f"/{image_in(here['uri'])}", f"/{thumbnail_name(here['sha256'])}"
    assert server.call(path).content == server.call(small).content == galleries.picture(0)
    assert server.call(path).headers["content-type"] == "image/webp"
    for name in ("gallery.css", "data.js", "server.js", "about.js"):
        assert server.call(f"/{name}").status_code == 200
    Path(dataset.store.root, "d", *path.strip("/").split("/")[:2], "notes.txt").write_text("x")
    raw = (
        "/dataset.json", "/images", "/images/", "/images/notes.txt", "/verdicts/x",
        "/manifests/_whole/manifest.parquet", "/index.html", "/../dataset.json", "/%2e%2e/dataset.json",
        "/images/../dataset.json", "/images/%2e%2e/dataset.json",
        "/images/..%2fdataset.json", "/images/..%5cdataset.json", "/data/../about.js", "/data/../../etc/passwd",
        "/data/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "//etc/passwd", "/etc/passwd", "/.lock", "/data/0123456789abcdef.js",
        f"{path}%00.png", f"{path}/", f"/d{path}", path.replace("/images/", "/images//"),
        small.replace(".webp", ".svg"),
        path.replace(".webp", ".svg"), "/thumbnails/zz/" + small.rpartition("/")[2], "/images/" + "a" * 70_000,
        "/other/images/x", "/.%2e/other/dataset.json",
    )  # fmt: skip
    connection = HTTPConnection("127.0.0.1", server.port)  # httpx would tidy the paths up
    for odd in raw:
        connection.request("GET", odd, headers=server.cookie())
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert (answer.status, len(body) < 100) in {(404, True), (400, True), (431, True)}, (odd, answer.status)
    for odd in ("/other/images/x", f"/{image_in(record_of_other(dataset))}"):
        assert server.call(odd).status_code == 404


def record_of_other(dataset: Dataset) -> str:
    other = galleries.dataset_in(dataset.store.root, "other")
    return str(read_manifest(other, None)["uri"][0])


def test_an_svg_is_no_page_of_this_origin(server: Serving, dataset: Dataset) -> None:
    path = image_in(record(dataset, 1)["uri"])
    assert path is not None
    for ending, kind in (("svg", None), ("png", "image/png"), ("html", "application/octet-stream")):
        name = path.replace(".webp", f".{ending}")
        dataset.store.write(f"d/{name}", SVG)
        answer = server.call(f"/{name}")
        assert answer.headers["x-content-type-options"] == "nosniff"
        if kind is None:
            assert answer.status_code == 404
        else:
            assert answer.headers["content-type"] == kind
            assert ("attachment" in answer.headers.get("content-disposition", "")) == (ending == "html")


@pytest.mark.parametrize(
    ("asked", "code", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)), ("bytes=10-", 206, slice(10, None)), ("bytes=-7", 206, slice(-7, None)),
        ("bytes=5-999999999", 206, slice(5, None)), ("bytes=0-", 200, slice(None)), ("bytes=9-5", 200, slice(None)),
        ("bytes=0-1,3-4", 200, slice(None)), ("lines=1-2", 200, slice(None)), ("bytes=-", 200, slice(None)),
        ("bytes=999999999-", 416, None), ("bytes=-0", 416, None),
    ],
)  # fmt: skip
def test_a_range_of_a_file_is_sent_as_it_is_asked_for(
    server: Serving, dataset: Dataset, asked: str, code: int, part: slice | None
) -> None:
    whole = galleries.picture(2)
    answer = server.call(f"/{image_in(record(dataset, 2)['uri'])}", headers={"range": asked})
    assert answer.status_code == code
    if part is not None:
        assert answer.content == whole[part]
        assert ("content-range" in answer.headers) == (code == 206)
    else:
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"


def test_images_are_kept_by_the_browser_and_the_page_is_not(server: Serving, dataset: Dataset) -> None:
    path = f"/{image_in(record(dataset, 3)['uri'])}"
    first = server.call(path)
    assert first.headers["cache-control"] == "private, max-age=3600, immutable"
    again = server.call(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = server.call(path, "HEAD")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(first.content)), b"")
    assert server.call("/").headers["cache-control"] == "no-store"
    assert server.call("/about.js").headers["cache-control"] == "no-cache"


def test_a_verdict_is_on_record_when_it_is_answered_and_a_second_one_follows_it(
    server: Serving, dataset: Dataset
) -> None:
    before = server.changes()["after"]
    answer = server.judge(given(dataset, 4, note="good\x1b"), by="ann")
    assert answer.json()["results"] == [
        {"state": "recorded", "number": 1, "verdict": "approved", "note": "good", "by": "ann"}
    ]
    assert record(dataset, 4)["verdict_by"] == "ann"
    assert server.judge(given(dataset, 4, note="good\x1b")).json()["results"][0]["state"] == "unchanged"
    assert server.judge(given(dataset, 4, "cleared", 1)).json()["results"][0]["number"] == 2
    assert (record(dataset, 4)["verdict"], record(dataset, 4)["verdict_number"]) == (None, 2)
    found = server.changes(before)
    assert found["changes"] == [[image(dataset, 4), 2, "cleared", None, "ann"]]
    assert server.changes(found["after"])["changes"] == []


def test_what_others_have_judged_since_stands_and_is_told_with_their_name(server: Serving, dataset: Dataset) -> None:
    ran = cli(None, "review", "reject", "r5", "--by", "ben", "--store", dataset.store.root, "--dataset", "d")
    assert ran.status == 0, ran.stderr
    assert [image(dataset, 5), 1, "rejected", None, "ben"] in server.changes()["changes"]
    [told] = server.judge(given(dataset, 5)).json()["results"]
    assert told == {"state": "stale", "number": 1, "verdict": "rejected", "note": None, "by": "ben"}
    [told] = server.judge(given(dataset, 5, seen=1)).json()["results"]
    assert (told["state"], told["number"], told["by"]) == ("recorded", 2, "ann")


def test_a_verdict_on_an_image_that_is_not_in_the_table_is_not_recorded(server: Serving, dataset: Dataset) -> None:
    other = galleries.dataset_in(dataset.store.root, "other")
    strange = image(other, 0)
    assert server.judge({**given(dataset, 6), "image": strange}).json() == {"results": [{"state": "replaced"}]}
    assert not Path(dataset.store.root, "d", VERDICTS, strange[:2]).exists()


def test_many_reviewers_at_once_lose_nothing_and_each_sees_the_others(server: Serving, dataset: Dataset) -> None:
    """Three pages and a command judge the same ten images, each again until it was first or has seen the others."""
    rows, before = range(10, 20), server.changes()["after"]
    won: list[tuple[int, int, str]] = []
    server.cookie()

    def page(name: str) -> None:
        for row in rows:
            seen = 0
            while True:
                [told] = server.judge(given(dataset, row, "approved", seen, name), by=name).json()["results"]
                if told["state"] == "recorded":
                    won.append((row, told["number"], name))
                    break
                seen = told["number"]

    def command() -> None:
        found = review_rows(dataset, [f"r{row}" for row in rows], "rejected", "dee", "dee")
        assert found.recorded == len(rows)

    threads = [threading.Thread(target=page, args=(name,)) for name in ("ann", "ben", "cat")]
    threads.append(threading.Thread(target=command))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdicts = Verdicts(dataset)
    for row in rows:
        names = sorted(verdicts.names(image(dataset, row)), key=lambda name: name.number)
        assert [name.number for name in names] == [1, 2, 3, 4]
        by = [verdicts.read(name[:3], name.number).by for name in names]  # type: ignore[arg-type]
        assert sorted(filter(None, by)) == ["ann", "ben", "cat", "dee"]
        assert [(row, number, who) for number, who in enumerate(by, 1) if who != "dee"] == sorted(
            one for one in won if one[0] == row
        )
    shown: dict[str, Any] = {}
    for told, number, verdict, _, by_whom in server.changes(before)["changes"]:
        shown[told] = number, verdict, by_whom
    assert {row: shown[image(dataset, row)][0] for row in rows} == dict.fromkeys(rows, 4)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b'{"by": "ann", "verdicts": []}', b'{"verdicts": [{}]}', b"[" * 100_000,
        b'{"by": "a\\ud83d", "verdicts": []}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_call_is_refused(server: Serving, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    assert server.call("/verdicts", "POST", headers=headers, content=body).status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "perfect"}, {"seen": -1}, {"seen": True}, {"seen": "1"}, {"seen": None}, {"image": "../../x"},
        {"image": 7}, {"note": "n" * 2001}, {"note": None}, {"more": 1}, {"__proto__": {}},
    ],
)  # fmt: skip
def test_a_bad_verdict_is_refused_with_all_of_its_call(server: Serving, dataset: Dataset, change: Any) -> None:
    good = given(dataset, 21)
    assert server.judge(good, {**given(dataset, 22), **change}).status_code == 400
    assert Verdicts(dataset).names(image(dataset, 21)) == []


def test_large_calls_many_verdicts_and_calls_without_a_name_are_refused(server: Serving, dataset: Dataset) -> None:
    good = given(dataset, 23)
    headers = {"content-type": "application/json"}
    large = json.dumps({"by": "ann", "verdicts": [good]}).encode() + b" " * 512 * 1024
    assert server.call("/verdicts", "POST", headers=headers, content=large).status_code == 413
    assert server.judge(*[good] * 101).status_code == 400
    assert server.judge(good, good).status_code == 400
    assert server.judge(good, by=" ").status_code == server.judge(good, by="n" * 201).status_code == 400
    assert server.call("/verdicts").status_code == 404
    assert server.call("/changes", "POST", json={}).status_code == 405
    for after in ("x", "-1", "1e3", "٣", "9" * 16, ""):
        assert server.call("/changes", params={"after": after}).status_code == 400
    assert Verdicts(dataset).names(image(dataset, 23)) == []


def test_a_store_that_is_away_is_told_and_the_call_can_be_made_again(server: Serving, dataset: Dataset) -> None:
    folder = Path(dataset.store.root, "d", VERDICTS, image(dataset, 24)[:2])
    folder.parent.mkdir(exist_ok=True)
    folder.rename(folder.with_name("kept")) if folder.exists() else None
    folder.write_text("in the way")
    try:
        answer = server.judge(given(dataset, 24))
        assert (answer.status_code, server.token in answer.text) == (503, False)
    finally:
        folder.unlink()
        if folder.with_name("kept").exists():
            folder.with_name("kept").rename(folder)
    assert server.judge(given(dataset, 24)).json()["results"][0]["state"] == "recorded"


def test_new_images_are_there_when_the_page_is_loaded_again(tmp_path: Path) -> None:
    dataset = galleries.dataset_in(tmp_path)
    rows = [galleries.Row(f"r{n}", "p", (galleries.picture(n),)) for n in range(3)]
    galleries.write(dataset, rows[:2], has_thumbnails=True)
    with serving(dataset, "--by", "ann", program=brisk) as server:
        old, about = image(dataset, 1), server.call("/about.js").text
        assert server.changes()["tables"] in about
        galleries.write(dataset, [rows[0], galleries.Row("r1", "p", (galleries.picture(9),)), rows[2]])
        assert server.changes()["tables"] not in about
        assert server.call("/about.js").text == about, "an open page stays as it is"
        assert server.judge({"image": old, "verdict": "approved", "seen": 0}).json() == {
            "results": [{"state": "replaced"}]
        }
        assert server.judge(given(dataset, 2), by="").json()["results"][0]["by"] == "ann"
        assert server.call("/").status_code == 200
        assert server.changes()["tables"] in server.call("/about.js").text
        data = next(part for part in server.call("/about.js").text.split('"') if part.startswith("data/"))
        assert '"r2"' in server.call(f"/{data}").text
        first = next(part for part in about.split('"') if part.startswith("data/"))
        assert server.call(f"/{first}").status_code == 200, "an open page may still ask for its files"


def test_one_partition_is_reviewed_alone(tmp_path: Path) -> None:
    dataset = galleries.dataset_in(tmp_path)
    galleries.write(dataset, [galleries.Row("a", "p", (galleries.picture(1),))], "north")
    galleries.write(dataset, [galleries.Row("b", "p", (galleries.picture(2),))], "south")
    with serving(dataset, "--partition", "north") as server:
        assert '"north"' in server.call("/about.js").text
        south = image_of(read_manifest(dataset, "south").to_pylist()[0])
        north = image_of(read_manifest(dataset, "north").to_pylist()[0])
        assert south is not None
        assert north is not None
        told = [{"image": text_of(one), "verdict": "approved", "seen": 0} for one in (south, north)]
        assert server.changes()["changes"] == []  # the next look at the store is seconds away
        assert [one["state"] for one in server.judge(*told).json()["results"]] == ["replaced", "recorded"]
        assert [one[0] for one in server.changes()["changes"]] == [text_of(north)]
    ran = cli(None, "review", "serve", "--partition", "west", "--store", str(tmp_path), "--dataset", "d", "--port", "0")
    assert (ran.status, "has no image table" in ran.stderr) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_also_while_pages_are_connected(
    dataset: Dataset, number: signal.Signals, tmp_path: Path
) -> None:
    with serving(dataset) as server, socket.create_connection(("127.0.0.1", server.port)) as idle:
        head = f"POST /verdicts HTTP/1.1\r\nHost: localhost\r\nCookie: {server.cookie()['cookie']}\r\n"
        idle.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        kept = HTTPConnection("127.0.0.1", server.port)
        kept.request("GET", "/changes", headers=server.cookie())
        assert kept.getresponse().read()
        assert server.process.pid is not None
        os.kill(server.process.pid, number)
        server.process.join(4)
        assert server.process.exitcode == 130
        kept.close()


def test_a_port_that_is_taken_is_told_before_anything_is_written(server: Serving, dataset: Dataset) -> None:
    ran = cli(
        None, "review", "serve", "--store", dataset.store.root, "--dataset", "d", "--port", str(server.port)
    )  # fmt: skip
    assert (ran.status, ran.stdout) == (2, "")
    assert f"port {server.port} of 127.0.0.1 is taken" in ran.stderr
    assert "--port" in ran.stderr
    ran = cli(None, "review", "serve", "--store", dataset.store.root, "--dataset", "d", "--host", "203.0.113.7")
    assert (ran.status, "cannot listen on 203.0.113.7" in ran.stderr) == (2, True)


def test_an_address_that_others_reach_says_what_that_means(dataset: Dataset) -> None:
    with serving(dataset, "--host", "0.0.0.0") as server:
        said = server.errors.read_text("utf-8")
        assert "all addresses of this machine" in said
        assert "Nothing is encrypted" in said
        assert server.token not in said
        assert httpx.get(f"http://127.0.0.1:{server.port}/", verify=NO_TLS).status_code == 403
    with serving(dataset) as server:
        assert "encrypted" not in server.errors.read_text("utf-8")


def test_it_needs_no_key(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAL_KEY", raising=False)
    with serving(dataset) as server:
        until("it answers", lambda: server.call("/").status_code == 200)
