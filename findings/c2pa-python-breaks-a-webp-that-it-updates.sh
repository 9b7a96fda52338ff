#!/usr/bin/env bash
# c2pa-python: an update of a signed WebP does not fit the file that the same call has written.
#
# One expects: a manifest with the intent UPDATE says more about an image that it leaves as it is, and what `sign()` has
# written is valid to the same library, in every format that it signs. So it is for PNG, JPEG and GIF.
# What happens: with WebP and TIFF `sign()` succeeds, and the Reader says Invalid, `assertion.dataHash.mismatch`, of the
# first manifest, which was valid before. The header of a WebP holds the length of the whole file, the first manifest's
# hash is over that header, and the larger second manifest changes it. The intent EDIT makes a valid file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check c2pa-python==0.38.1 cryptography==50.0.2 pillow==13.0.0
"$folder/venv/bin/python" - <<'PY'
import datetime as dt, io, json
from importlib.metadata import version

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from PIL import Image


def signer():
    """Sign as "a maker", whose certificate a root has signed: C2PA takes none that has signed itself."""
    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, text)]) for text in ("a root", "a maker")]
    now, day = dt.datetime.now(dt.timezone.utc), dt.timedelta(days=1)
    made = x509.CertificateBuilder(*names, leaf.public_key(), 1, now - day, now + day)
    made = made.add_extension(x509.KeyUsage(True, *[False] * 8), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
    key = leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", made.sign(root, SHA256()).public_bytes(Encoding.PEM), key, None))


SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_trust": False}}
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CREATED = [{"label": "c2pa.actions", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE}]}}]
context = c2pa.Context.from_dict(SETTINGS)


def sign(data, kind, assertions, intent=None):
    found = io.BytesIO()
    with c2pa.Builder({"claim_generator_info": [{"name": "a tool"}], "assertions": assertions}, context=context) as builder:
        if intent is not None:
            builder.set_intent(intent)
        builder.sign(signer(), kind, io.BytesIO(data), found)
    return found.getvalue()


def state(data, kind):
    with c2pa.Reader(kind, io.BytesIO(data), context=context) as reader:
        failed = json.loads(reader.json()).get("validation_status", [])
        return reader.get_validation_state(), {failure["code"] for failure in failed}


EDIT, UPDATE = c2pa.C2paBuilderIntent.EDIT, c2pa.C2paBuilderIntent.UPDATE
found = {}
for kind in ("image/png", "image/jpeg", "image/gif", "image/webp", "image/tiff"):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, kind.removeprefix("image/"))
    once = sign(file.getvalue(), kind, CREATED)
    assert state(once, kind) == ("Valid", set())
    twice = {intent: sign(once, kind, [], intent) for intent in (EDIT, UPDATE)}
    found[kind] = {intent.name: state(data, kind) for intent, data in twice.items()}
    print(f"c2pa-python {version('c2pa-python')}, {kind}, signed and signed again: {found[kind]}")
    if kind == "image/webp":  # the picture's chunk is the same, and the header's length is not
        picture = 12 + 8 + int.from_bytes(once[16:20], "little")
        assert once[8:picture] == twice[UPDATE][8:picture] and once[4:8] != twice[UPDATE][4:8]
valid, broken = ("Valid", set()), ("Invalid", {"assertion.dataHash.mismatch"})
expected = {kind: {"EDIT": valid, "UPDATE": broken if kind in {"image/webp", "image/tiff"} else valid} for kind in found}
assert found == expected, "c2pa-python has changed: look again"
PY
