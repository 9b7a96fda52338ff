"""A C2PA manifest that comes with an image stays with it, byte for byte, and is told in the image table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cdn import shop, whole
from tests.e2e.test_images_kept import generate, kept
from tests.pictures import saved
from tests.signed import ISSUER, TYPES, signed, verified

if TYPE_CHECKING:
    from pathlib import Path


def test_a_signed_image_is_stored_as_it_came_and_its_manifest_is_valid(tmp_path: Path) -> None:
    files = {f"signed {kind}": (signed(kind), TYPES[kind]) for kind in TYPES}
    files |= {f"plain {kind}": (saved(kind), TYPES[kind]) for kind in TYPES}
    with shop({name: [whole(*file)] for name, file in files.items()}) as (fal, cdn):
        ran = generate(fal, cdn, tmp_path)
    assert (ran.status, len(fal.posts), set(cdn.seen.values())) == (0, len(files), {1}), ran.stderr
    found = kept(tmp_path, list(files))
    for name, (data, content_type) in files.items():
        record, is_signed = found[name], name.startswith("signed")
        assert record["data"] == data, name
        assert record["c2pa"] is is_signed, name
        assert record["c2pa_issuer"] == (ISSUER if is_signed else None), name
        assert record["c2pa_claim_generator"] == ("a model 1.2" if is_signed else None), name
        if is_signed:
            assert verified(record["data"], content_type)["signature_info"]["issuer"] == ISSUER


def test_what_a_manifest_says_is_text_from_outside(tmp_path: Path) -> None:
    hostile = "\x1b[2Ja model\u202e of ours" + "x" * 5000
    with shop({"0": [whole(signed("PNG", hostile, "An \x07issuer\u2028"))]}) as (fal, cdn):
        ran = generate(fal, cdn, tmp_path)
    assert ran.status == 0, ran.stderr
    [record] = kept(tmp_path, ["0"]).values()
    for name in ("c2pa_claim_generator", "c2pa_issuer"):
        assert record[name].isprintable()
        assert len(record[name]) <= 200
    assert record["c2pa_claim_generator"].startswith("[2Ja model  of oursx")
    assert record["c2pa_issuer"] == "An  issuer"
