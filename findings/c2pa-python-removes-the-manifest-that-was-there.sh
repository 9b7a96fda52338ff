#!/usr/bin/env bash
# c2pa-python removes the manifest that an image came with when the image is signed again.
#
# One expects: the maker's manifest becomes an ingredient of the new one, or `sign()` says that there is one and stops. In
# C2PA the history of an image is the chain of its manifests, and whoever signs the output of a model in their own name
# wants to add to it.
# What happens: without `set_intent(EDIT)` the new manifest takes the place of the old one. No error, no warning, and the
# Reader calls the result Valid: it now says that the second tool has created the image, and nothing names the first.
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


def sign(data, kind, name, assertions, intent=None):
    found = io.BytesIO()
    with c2pa.Builder({"claim_generator_info": [{"name": name}], "assertions": assertions}, context=context) as builder:
        if intent is not None:
            builder.set_intent(intent)
        builder.sign(signer(), kind, io.BytesIO(data), found)
    return found.getvalue()


def told(data, kind):
    """Whether it is valid, and which tools its manifests name."""
    with c2pa.Reader(kind, io.BytesIO(data), context=context) as reader:
        manifests = json.loads(reader.json())["manifests"].values()
        return reader.get_validation_state(), sorted(one["claim_generator_info"][0]["name"] for one in manifests)


for kind in ("image/png", "image/jpeg", "image/webp"):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, kind.removeprefix("image/"))
    once = sign(file.getvalue(), kind, "the model", CREATED)
    assert told(once, kind) == ("Valid", ["the model"])
    again = told(sign(once, kind, "our tool", CREATED), kind)
    edited = told(sign(once, kind, "our tool", [], c2pa.C2paBuilderIntent.EDIT), kind)
    print(f"c2pa-python {version('c2pa-python')}, {kind}: signed again, {again}; with the intent EDIT, {edited}")
    assert (again, edited) == (("Valid", ["our tool"]), ("Valid", ["our tool", "the model"])), "it has changed: look again"
PY
