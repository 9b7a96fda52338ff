"""Whether an image carries a C2PA manifest is told by its structure; what the manifest says, by c2pa-python."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from dagster_gptimg.store.images import provenance
from dagster_gptimg.store.images.formats.walks import C2PA_BOX
from dagster_gptimg.store.images.image_files import carries_c2pa, inspect, store_image
from dagster_gptimg.store.images.provenance import NO_CLAIM, Claim, claim_in
from dagster_gptimg.store.root import Store
from tests.pictures import pictures, saved, with_chunk
from tests.signed import ISSUER, TYPES, signed

if TYPE_CHECKING:
    from pathlib import Path

LOOKED_AT = {"image/png", "image/jpeg", "image/webp"}


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_library", lambda: None)


def app11(payload: bytes) -> bytes:
    """A JPEG with such a segment behind its first one."""
    jpeg = saved("JPEG")
    first = 4 + int.from_bytes(jpeg[4:6], "big")
    return jpeg[:first] + b"\xff\xeb" + struct.pack(">H", len(payload) + 2) + payload + jpeg[first:]


def jumbf(kind: bytes) -> bytes:
    """The beginning of a JUMBF box of this type, in a packet of a JPEG."""
    description = struct.pack(">I", 30) + b"jumd" + kind + b"\x03c2pa\0"
    return b"JP\x02\x11" + struct.pack(">I", 1) + struct.pack(">I", 8 + len(description)) + b"jumb" + description


@pytest.mark.usefixtures("without_the_extra")
@pytest.mark.parametrize("kind", TYPES)
def test_presence_is_told_without_the_extra(kind: str, tmp_path: Path) -> None:
    stored = store_image(Store(str(tmp_path)), "d", f"ab-R-{kind}", signed(kind))
    assert (stored.c2pa, stored.c2pa_claim_generator, stored.c2pa_issuer) == (True, None, None)
    plain = store_image(Store(str(tmp_path)), "d", f"ab-S-{kind}", saved(kind))
    assert plain.c2pa is False


@pytest.mark.parametrize("kind", TYPES)
def test_the_extra_tells_who_claims_it(kind: str, tmp_path: Path) -> None:
    stored = store_image(Store(str(tmp_path)), "d", f"ab-R-{kind}", signed(kind))
    assert (stored.c2pa_claim_generator, stored.c2pa_issuer) == ("a model 1.2", ISSUER)


@pytest.mark.parametrize("kind", TYPES)
def test_a_picture_that_was_opened_and_saved_again_has_lost_it(kind: str) -> None:
    """As docs/provenance.md says."""
    data, again = signed(kind), io.BytesIO()
    assert carries_c2pa(data)
    with Image.open(io.BytesIO(data)) as image:
        image.save(again, kind)
    assert not carries_c2pa(again.getvalue())


def test_what_only_looks_like_one_is_none() -> None:
    assert carries_c2pa(app11(jumbf(C2PA_BOX)))
    assert not carries_c2pa(app11(jumbf(bytes(16))))  # JUMBF of another kind: a 360 degree picture
    assert not carries_c2pa(app11(b"JP" + C2PA_BOX + bytes(20)))
    assert not carries_c2pa(app11(b"HDR_RI ver=11 c2pa"))
    assert carries_c2pa(with_chunk(saved("PNG"), b"caBX", b"anything"))
    assert not carries_c2pa(with_chunk(saved("PNG"), b"tEXt", b"caBX\0C2PA"))
    assert not carries_c2pa(saved("PNG") + b"caBX")  # behind its end
    assert not carries_c2pa(b"")


def test_of_kinds_that_are_not_looked_at_nobody_says_anything() -> None:
    found = {name: inspect(picture.data) for name, picture in pictures().items()}
    assert {name for name, look in found.items() if look.c2pa} == {"png with a private chunk"}  # which is caBX
    assert {look.kind.content_type for look in found.values() if look.c2pa is not None} == LOOKED_AT


@pytest.mark.parametrize("kind", TYPES)
def test_every_cut_of_a_signed_picture_can_be_looked_at(kind: str) -> None:
    data = signed(kind)
    for end in range(12, len(data), 997):
        assert inspect(data[:end]).c2pa in {True, None}
    for place in range(0, len(data), 4999):
        assert isinstance(claim_in(data[:place] + b"\xff" + data[place + 1 :], TYPES[kind]), Claim)


def test_a_manifest_that_cannot_be_read_is_a_manifest_all_the_same(tmp_path: Path) -> None:
    broken = with_chunk(saved("PNG"), b"caBX", b"\0\0\0\x10jumb" + bytes(64))
    assert claim_in(broken, "image/png") == NO_CLAIM
    assert store_image(Store(str(tmp_path)), "d", "ab-R-0", broken).c2pa is True
