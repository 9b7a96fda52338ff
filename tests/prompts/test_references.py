"""What a table may name as a reference image, and what it may not."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest
from PIL import Image

from dagster_gptimg.errors import ImageReferenceError, TableError, UsageError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptRow, PromptSpec, ReferenceRoot, References, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def picture(color: str = "red", form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, form)
    return file.getvalue()


RED = picture()
TOKEN = f"sha256:{hashlib.sha256(RED).hexdigest()}"
DATA_URI = f"data:image/png;base64,{base64.b64encode(RED).decode()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "refs"
    (root / "sub").mkdir(parents=True)
    (root / "a.png").write_bytes(RED)
    (root / "sub" / "b.jpg").write_bytes(picture("blue", "JPEG"))
    (root / "notes.txt").write_text("secret")
    (tmp_path / "outside.png").write_bytes(RED)
    return root


@pytest.fixture
def memory() -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/refs/a.png", RED)
    yield "memory://refs"
    fs.rm("/refs", recursive=True)


@pytest.mark.parametrize(
    "url", ["https://example.com/a.png", "http://93.184.216.34/a.png", "HTTPS://v3.fal.media/files/x.png?sig=1"]
)
def test_a_public_url_goes_as_it_stands(url: str) -> None:
    found = References().resolve(url)
    assert (found.token, found.source) == (url, "")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/a.png",
        "http://127.0.0.1:8000/a.png",
        "http://127.1/a.png",
        "http://2130706433/a.png",
        "http://0x7f.0.0.0x1/a.png",
        "http://[::1]/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.8/a.png",
        "https://intranet/a.png",
        "https://db.internal/a.png",
        "https://printer.local./a.png",
        "https://user:word@example.com/a.png",
        "https://",
    ],
)
def test_a_url_of_ones_own_network_is_refused(url: str) -> None:
    with pytest.raises(ImageReferenceError, match=r"not a public address|a user name or a password|no URL"):
        References().resolve(url)


def test_a_file_below_a_root_is_known_by_its_content(folder: Path) -> None:
    references = References([ReferenceRoot(str(folder))])
    for text in ("a.png", "./a.png", "sub/../a.png", str(folder / "a.png"), (folder / "a.png").as_uri()):
        found = references.resolve(text)
        assert found.token == TOKEN
        assert references.read(found.source) == (RED, "image/png")
    assert references.read("sub/b.jpg")[1] == "image/jpeg"


@pytest.mark.parametrize(
    "text", ["../outside.png", "/etc/passwd", "file:///etc/passwd", "link.png", "a\0.png", "s3://b/a.png"]
)
def test_what_lies_outside_the_roots_is_not_read(folder: Path, text: str) -> None:
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    with pytest.raises(ImageReferenceError, match="is not below a root"):
        References([ReferenceRoot(str(folder))]).resolve(text)


def test_without_roots_no_file_is_read(folder: Path) -> None:
    with pytest.raises(ImageReferenceError, match="is not below a root"):
        References().resolve(str(folder / "a.png"))


def test_any_fsspec_store_can_be_a_root(memory: str) -> None:
    references = References([ReferenceRoot(memory)])
    assert references.resolve("memory://refs/a.png").token == TOKEN
    assert references.resolve("a.png").token == TOKEN
    with pytest.raises(ImageReferenceError, match="below a root"):
        references.resolve("memory://refs/../other/a.png")
    with pytest.raises(ImageReferenceError, match="it does not exist"):
        references.resolve("memory://refs/none.png")
    with pytest.raises(UsageError, match="references cannot be read from"):
        References([ReferenceRoot("nonsense://x")])


def test_a_data_uri_is_known_by_its_content() -> None:
    references = References()
    assert references.resolve(DATA_URI).token == TOKEN
    for text in ("data:image/png,abc", "data:image/png;base64,???"):
        with pytest.raises(ImageReferenceError, match="not a base64 data URI"):
            references.resolve(text)


def test_what_is_no_image_is_not_sent_to_anybody(folder: Path) -> None:
    with pytest.raises(ImageReferenceError, match="not a PNG, JPEG or WebP image"):
        References([ReferenceRoot(str(folder))]).resolve("notes.txt")


def rows(table: Sequence[Mapping[str, object]], folder: Path, **spec: object) -> list[PromptRow]:
    roots = References([ReferenceRoot(str(folder))])
    made = PromptSpec(get_model("gpt-image-1.5"), references=roots, **spec)  # type: ignore[arg-type]
    return [row for batch in read_rows(table, made) for row in batch]


def test_a_rows_references_stand_in_its_arguments_by_what_they_are(folder: Path) -> None:
    table = [{"prompt": "x", "image_urls": ["a.png", "https://example.com/b.png"], "mask_image_url": "a.png"}]
    (row,) = rows(table, folder)
    assert row.arguments == {"image_urls": [TOKEN, "https://example.com/b.png"], "mask_image_url": TOKEN}
    assert row.references == {TOKEN: "a.png"}
    assert row.columns == {"image_urls": ["a.png", "https://example.com/b.png"], "mask_image_url": "a.png"}


def test_rows_with_the_same_references_each_know_where_they_are(folder: Path) -> None:
    """Equal arguments are one object, until references are put into them."""
    for row in rows([{"prompt": text, "image_urls": ["a.png"]} for text in ("x", "y")], folder):
        assert (row.arguments, row.references) == ({"image_urls": [TOKEN]}, {TOKEN: "a.png"})


def test_several_columns_hold_references_and_a_blank_cell_none(folder: Path) -> None:
    table: list[Mapping[str, object]] = [
        {"prompt": "x", "front": "a.png", "back": None},
        {"prompt": "y", "front": "a.png", "back": "sub/b.jpg"},
    ]
    one, two = rows(table, folder, image_columns=("front", "back"))
    assert one.arguments["image_urls"] == [TOKEN]
    assert len(two.arguments["image_urls"]) == 2  # type: ignore[arg-type]
    assert two.columns == {"front": "a.png", "back": "sub/b.jpg"}


def test_rows_without_references_make_new_images(folder: Path) -> None:
    one, two = rows([{"prompt": "x", "image_urls": ""}, {"prompt": "x", "image_urls": "a.png"}], folder)
    assert (one.arguments, two.arguments) == ({}, {"image_urls": [TOKEN]})


def test_every_wrong_reference_is_told_with_its_line_and_column(folder: Path) -> None:
    table = [
        {"prompt": "x", "image_urls": "none.png"},
        {"prompt": "y", "image_urls": "a.png"},
        {"prompt": "z", "image_urls": "/etc/passwd"},
        {"prompt": "z", "input_fidelity": "low"},
    ]
    with pytest.raises(TableError) as caught:
        rows(table, folder)
    found = [(p.line, p.column, p.reason) for p in caught.value.problems]
    assert [(line, column) for line, column, _ in found] == [
        (1, "image_urls"),
        (3, "image_urls"),
        (4, "input_fidelity"),
    ]
    assert "none.png" in found[0][2]
    assert "is not below a root" in found[1][2]
    assert "name at least one reference image" in found[2][2]


def test_a_file_that_changes_is_another_purchase(folder: Path) -> None:
    (before,) = rows([{"prompt": "x", "image_urls": "a.png"}], folder)
    (folder / "a.png").write_bytes(picture("green"))
    (after,) = rows([{"prompt": "x", "image_urls": "a.png"}], folder)
    assert before.arguments != after.arguments


class Intranet(BaseHTTPRequestHandler):
    """A server of one's own network: pictures below `/pub`, a redirect out of it, and what is nobody's business."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if path == "/pub/moved.png":
            self.send_response(302)
            self.send_header("Location", "/secret.png")
            self.end_headers()
            return
        data = {"/pub/a b.png": RED, "/pub/a%20b.png": RED, "/secret.png": picture("black")}.get(path)
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    do_HEAD = do_GET  # noqa: N815 - the name that the class asks for

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def intranet() -> Iterator[tuple[str, list[str]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Intranet)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def test_below_a_root_that_is_a_url_nothing_else_of_its_server_is_read(intranet: tuple[str, list[str]]) -> None:
    base, asked = intranet
    references = References([ReferenceRoot(f"{base}/pub")])
    assert references.resolve(f"{base}/pub/a%20b.png").token == TOKEN
    assert references.resolve("a%20b.png").token == TOKEN
    asked.clear()
    host = base.removeprefix("http://")
    for text in (
        f"{base}/pub/%2e%2e/secret.png",
        f"{base}/pub/%252e%252e/secret.png",
        f"{base}/pub/..%2fsecret.png",
        f"{base}/pub/.%2e/secret.png",
        f"{base}/pub/..\\secret.png",
        f"{base}/pub/%2e%2e%5csecret.png",
        f"{base}/pub/..;/secret.png",
        f"{base}/pub/%{'25' * 9}2e%2e/secret.png",
        f"{base}/public/a.png",
        f"http://user:word@{host}/pub/a.png",
        f"http://{host.partition(':')[0]}/pub/a.png",
    ):
        with pytest.raises(ImageReferenceError, match=r"not a public address|a user name or a password"):
            references.resolve(text)
    for text in ("%2e%2e/secret.png", "../secret.png", "x/..%2f..%2fsecret.png"):
        with pytest.raises(ImageReferenceError, match="is not below a root"):
            references.resolve(text)
    assert asked == []


def test_a_server_of_a_root_sends_nobody_elsewhere(intranet: tuple[str, list[str]]) -> None:
    base, asked = intranet
    with pytest.raises(ImageReferenceError, match=r"cannot be read|not a PNG"):
        References([ReferenceRoot(f"{base}/pub")]).resolve(f"{base}/pub/moved.png")
    assert "/secret.png" not in asked


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
def test_what_is_no_file_is_told_at_once(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "odd.png"
    listening = socket.socket(socket.AF_UNIX)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(folder)  # its name may not be long
        listening.bind("odd.png")
    elif kind == "folder":
        path.mkdir()
    references = References([ReferenceRoot(str(folder) if kind != "device" else "/dev")])
    with listening, pytest.raises(ImageReferenceError, match=r"not a file|cannot be read"):
        references.resolve(str(path) if kind != "device" else "/dev/zero")
