"""Every name in a store is built, parsed and known by one module, which alone decides how deep the prefixes are."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dagster_gptimg
from dagster_gptimg.store import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(dagster_gptimg.__file__).parent
LAYOUT = PACKAGE / "store" / "layout.py"
KEYS = [hashlib.sha256(bytes([n])).hexdigest() for n in range(3)]
NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("request_id", ["R", "a-b_c-1", "-", "0" * 200])
@pytest.mark.parametrize("number", [0, 1, 99_999])
def test_an_images_name_parses_back(key: str, request_id: str, number: int) -> None:
    stem = layout.image_stem(key, request_id, number)
    path = layout.image_name(stem, "png")
    assert layout.parse_image(path) == (key, request_id, number)
    assert layout.image_in(f"s3://bucket/some/dataset/{path}") == path
    folder, _, name = path.rpartition("/")
    assert folder == path[layout.IMAGE_FOLDER] == layout.images_folder(layout.prefix_of(key))
    assert layout.beside_image(path) == (folder, f"{key}-{request_id}")
    assert name == f"{stem}.png"


def test_an_image_in_the_folder_of_another_prefix_is_none() -> None:
    path = layout.image_name(layout.image_stem(KEYS[0], "R", 0), "png")
    elsewhere = path.replace(layout.images_folder(layout.prefix_of(KEYS[0])), layout.images_folder("00"))
    assert elsewhere != path
    assert layout.parse_image(elsewhere) is None
    assert layout.image_in(f"/x/{elsewhere}") is None


@pytest.mark.parametrize(
    ("kind", "parsed"),
    [
        ("intent", ("intent", "", None, 0)),
        ("void", ("void", "", None, 0)),
        *((f"accepted.R-1_a.{how}", ("accepted", "R-1_a", how, 0)) for how in ("reply", "webhook", "history")),
        ("outcome.R", ("outcome", "R", None, 0)),
        ("outcome.R.12", ("outcome", "R", None, 12)),
        ("given_up.R", ("given_up", "R", None, 0)),
        ("deleted.R", ("deleted", "R", None, 0)),
        ("of-a-later-version", (None, "", None, 0)),
    ],
)
def test_a_receipts_name_parses_back(kind: str, parsed: tuple[object, ...]) -> None:
    folder, _, name = layout.receipt_name(KEYS[0], 7, kind).rpartition("/")
    found = layout.parse_receipt(name)
    assert found is not None
    assert (found.key, found.attempt) == (KEYS[0], 7)
    assert (found.kind, found.request_id, found.how, found.number) == parsed
    assert folder == layout.receipts_folder(layout.prefix_of(KEYS[0]))


def test_the_names_of_uploads_verdicts_webhooks_runs_and_manifests_parse_back() -> None:
    folder, _, name = layout.upload_name(KEYS[0], NOW).rpartition("/")
    assert (folder, layout.parse_upload(name)) == (layout.uploads_folder(KEYS[0]), KEYS[0])
    folder, _, name = layout.take_name(KEYS[0], 2).rpartition("/")
    assert (folder, layout.parse_take(name)) == (layout.takes_folder(KEYS[0][:2]), (KEYS[0], 2))
    folder, _, name = layout.verdict_name(KEYS[0], 3, KEYS[1], 12).rpartition("/")
    assert (folder, layout.parse_verdict(name)) == (layout.verdicts_folder(KEYS[0][:2]), (KEYS[0], 3, KEYS[1], 12))
    folder, _, name = layout.webhook_name("run", KEYS[0], 3, "R-1").rpartition("/")
    assert (folder, layout.parse_webhook(name)) == (layout.inbox_folder("run"), (KEYS[0], 3, "R-1"))
    marks = [layout.run_start("b"), layout.run_start("a"), layout.run_end("a")]
    assert layout.parse_runs([mark.rpartition("/")[2] for mark in marks]) == (["a", "b"], {"a"})
    uri = f"s3://bucket/some/dataset/{layout.manifest_name('2026/03')}"
    assert layout.dataset_of_manifest(uri) == "s3://bucket/some/dataset"


def test_names_on_disk_do_not_change() -> None:
    key = KEYS[0]
    assert key.startswith("6e")
    assert [
        layout.image_name(layout.image_stem(key, "R", 0), "png"),
        layout.receipt_name(key, 0, "intent"),
        layout.upload_name(key, NOW),
        layout.verdict_name(key, 0, key, 1),
        layout.take_name(key, 1),
        layout.webhook_name("run", key, 0, "R"),
        layout.run_start("run"),
        layout.run_end("run"),
        layout.manifest_name(None),
        layout.manifest_name("a/b"),
    ] == [
        f"images/6e/{key}-R-0.png",
        f"receipts/6e/{key}.0.intent.json",
        f"uploads/6e/{key}.20260304T050607000089.json",
        f"verdicts/6e/{key}-0.{key}.1.json",
        f"takes/6e/{key}.1.json",
        f"inbox/run/{key}.0.R.json",
        "runs/run.start.json",
        "runs/run.end.json",
        "manifests/_whole/manifest.parquet",
        "manifests/a%2Fb/manifest.parquet",
    ]


def test_prefixes_are_all_and_only_the_folders_of_digests() -> None:
    assert len(layout.PREFIXES) == 16**layout.PREFIX_LENGTH
    assert all(layout.prefix_of(key) in layout.PREFIXES for key in KEYS)
    assert layout.prefixes(["ff", "0", "FF", "zz", "00", ".DS_Store", "000"]) == ["ff", "00"]


OTHER_DEPTH = r"""
import sys, types
from datetime import UTC, datetime, timedelta
from pathlib import Path
import dagster_gptimg.store

path, root = Path(sys.argv[1]), sys.argv[2]
text = path.read_text(encoding="utf-8")
assert text.count("\nPREFIX_LENGTH = 2\n") == 1
name = "dagster_gptimg.store.layout"
module = sys.modules[name] = dagster_gptimg.store.layout = types.ModuleType(name)
exec(compile(text.replace("\nPREFIX_LENGTH = 2\n", "\nPREFIX_LENGTH = 3\n"), str(path), "exec"), module.__dict__)

import pyarrow as pa
from dagster_gptimg.engine.maintain.prune import _Search
from dagster_gptimg.engine.maintain.verify import _Look
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.erasure import erase, is_ended
from dagster_gptimg.store.images.image_files import find_image, store_image
from dagster_gptimg.store.images.listing import WantedImages, image_paths
from dagster_gptimg.store.manifest import uris_of
from dagster_gptimg.store.receipts.facts import Outcome
from dagster_gptimg.store.receipts.recorded_files import not_as_recorded
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.uploads import find_upload, record_upload
from tests.bender.pictures import picture

now = datetime(2026, 1, 1, tzinfo=UTC)
dataset = Dataset(Store(root), "d")
dataset.open("fal")
receipts, key = dataset.receipts, "abc" + "d" * 61
stem = module.image_stem(key, "R", 0)
image = store_image(dataset.store, "d", stem, picture("a cup"))
assert image.path.startswith(f"images/abc/{key}-R-0."), image.path
assert find_image(dataset.store, "d", stem).path == image.path
assert list(image_paths(dataset)) == [image.path]
assert dataset._has_images() and not not_as_recorded(dataset.store, "d", [image])
wanted = WantedImages()
wanted.add([image.path, image.path.replace("-R-", "-S-")], [image.bytes, 1])
assert wanted.missing(dataset) == {hash(image.path.replace("-R-", "-S-"))}
uris = pa.array([f"s3://elsewhere/d/{image.path}"])
assert uris_of(dataset, uris).to_pylist() == [dataset.uri(image.path)]
search = _Search(dataset, left=False)
assert [found.paths for found in search.run()] == [(image.path,)]
look = _Look(dataset, hashes=True)
look.run()
assert look.verified.unnamed == 1
outcome = Outcome(
    request_id="R", kind="stored", cost_usd=None, completed_at=now, recorded_at=now, evidence="a test", images=(image,)
)
receipts.create_outcome(key, 0, outcome)
assert [path.parent.name for path in Path(root, "d", "receipts").rglob("*.json")] == ["abc"]
assert [found for found, _ in receipts.by_key()] == [key]
assert receipts.load(key)[0].outcomes["R"] == outcome
record_upload(dataset, key, "https://example.com/a", now, now + timedelta(days=30))
assert find_upload(dataset, key, now) == "https://example.com/a"
assert is_ended(dataset, key)
assert erase(dataset, key, now) == ["R"]
assert list(image_paths(dataset)) == []
print("whole")
"""


def test_another_depth_of_prefixes_is_a_change_of_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_DEPTH, str(LAYOUT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PACKAGE.parent, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "whole"), done.stderr


_NAMES = "|".join(map(re.escape, sorted(layout.RESERVED - {layout.ABOUT})))
_PATH = re.compile(
    rf"(?:^|/)(?:{_NAMES})/|/(?:{_NAMES})$"  # a folder in a path
    r"|(?:^|/)dataset\.json$|manifest\.parquet|\.(?:start|end)\.json$"  # a file's name
    r"|\[0-9a-f\]\{[23]\}|^0[23]x$"  # digits of a prefix
)

ALLOWED = {
    ("cli/review_server/app.py", "/verdicts"): "a path of the server's own",
    ("definitions/component/scaffolder.py", "/images/"): "the store of a new project, which is called so",
    ("emulator/account/storage.py", "uploads"): "the emulator's own folder: it imports nothing of the rest",
    ("emulator/http/broken_replies.py", "transport.get_extra_info('peername')[:2]"): "a socket's address",
    ("emulator/models/model.py", "endpoint_id.split('/')[:2]"): "parts of an endpoint's id",
    ("fal/http/request_urls.py", "endpoint.split('/')[:2]"): "parts of an endpoint's id",
    ("prompts/readers/opening.py", "head[:2]"): "a byte-order mark",
    ("prompts/cell_values.py", "02x"): "a byte in a text",
    ("testing.py", "images"): "the store of a test, which is called so",
    ("store/images/formats/headers.py", "data[:2]"): "a file's first bytes",
    ("store/images/formats/kinds.py", "head[:2]"): "a file's first bytes",
    ("store/images/formats/walks.py", "data[:2]"): "a file's first bytes",
}
"""What looks like a layout and is none, with the reason."""


def written(tree: ast.AST) -> Iterator[str]:
    """Yield each place in a module that builds or takes apart a store's name by itself."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(slice=ast.Slice(lower=None | ast.Constant(value=0), upper=ast.Constant(value=2 | 3))):
                if node.slice.upper.value == layout.PREFIX_LENGTH:  # type: ignore[attr-defined]
                    yield ast.unparse(node)
            case ast.Name(id="PREFIX_LENGTH") | ast.alias(name="PREFIX_LENGTH") | ast.Attribute(attr="PREFIX_LENGTH"):
                yield "PREFIX_LENGTH"
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str(name))) if name in layout.RESERVED:
                yield name
            case ast.Constant(value=str(text)) if id(node) not in prose and _PATH.search(text):
                yield text


@pytest.mark.parametrize(
    "code",
    [
        "key[:2]",
        "x.sha256[0:2]",
        'f"{folder}/images"',
        'f"images/{prefix}/{name}"',
        'x = "receipts/ab"',
        'path / "uploads"',
        'f"{folder}/runs/{run}.start.json"',
        'f"{n:02x}"',
        're.compile(r"x/[0-9a-f]{2}/y")',
        "from dagster_gptimg.store.layout import PREFIX_LENGTH",
        "x = 'dataset.json'",
    ],
)
def test_a_layout_in_code_is_recognized(code: str) -> None:
    assert list(written(ast.parse(code)))


def test_no_other_module_lays_out_names() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != LAYOUT
        for text in written(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert sorted(found - ALLOWED.keys()) == []
    assert sorted(ALLOWED.keys() - found) == []
