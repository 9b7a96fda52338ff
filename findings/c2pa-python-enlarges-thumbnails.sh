#!/usr/bin/env bash
# c2pa-python enlarges a small picture for its "thumbnail", which then is most of the signed file.
#
# One expects: a thumbnail has at most the pixels of its picture; where the picture is smaller than the thumbnail's side
# (1024 pixels by default), it is left out, or kept at the picture's own size.
# What happens: it is scaled up. A picture of 64 x 64 pixels gets a thumbnail of 1024 x 1024 within its manifest, and the
# signed file is many times the size of the picture: here some kilobytes become more than a hundred. Signing cut-outs,
# icons or previews costs that much storage for each, unless `builder.thumbnail.enabled` is false.
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


SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CREATED = [{"label": "c2pa.actions", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE}]}}]
context = c2pa.Context.from_dict({"verify": {"verify_trust": False}})
picture, signed, thumbnail = io.BytesIO(), io.BytesIO(), io.BytesIO()
Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(picture, "webp")
with c2pa.Builder({"claim_generator_info": [{"name": "a tool"}], "assertions": CREATED}, context=context) as builder:
    builder.sign(signer(), "image/webp", io.BytesIO(picture.getvalue()), signed)
with c2pa.Reader("image/webp", io.BytesIO(signed.getvalue()), context=context) as reader:
    told = json.loads(reader.json())
    reader.resource_to_stream(told["manifests"][told["active_manifest"]]["thumbnail"]["identifier"], thumbnail)
with Image.open(io.BytesIO(thumbnail.getvalue())) as image:
    size = image.size
sizes = [len(file.getvalue()) for file in (picture, signed, thumbnail)]
print(f"c2pa-python {version('c2pa-python')}: a picture of 64 x 64 pixels and {sizes[0]} bytes is a signed file of {sizes[1]}")
print(f"its thumbnail has {size[0]} x {size[1]} pixels and {sizes[2]} bytes")
assert size == (1024, 1024) and sizes[1] > 50 * sizes[0], "c2pa-python has changed: look again"
PY
