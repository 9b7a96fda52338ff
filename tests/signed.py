"""Images that are signed with C2PA, by certificates that are made here and that nobody trusts."""

from __future__ import annotations

import datetime as dt
import io
import json
from functools import cache
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.pictures import saved

ISSUER = "A maker of test pictures"
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
QUIET = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_trust": False, "remote_manifest_fetch": False},
}


def signed(kind: str, generator: str = "a model", issuer: str = ISSUER) -> bytes:
    """A picture of one of the `TYPES` with a C2PA manifest, which says that a model has made it."""
    chain, key = _certificates(issuer)
    info = c2pa.C2paSignerInfo("es256", chain, key, None)
    made = {"action": "c2pa.created", "digitalSourceType": MADE_BY_A_MODEL}
    manifest = {
        "claim_generator_info": [{"name": generator, "version": "1.2"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [made]}}],
    }
    found = io.BytesIO()
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Context.from_dict(QUIET) as context,
        c2pa.Builder(manifest, context=context) as builder,
    ):
        builder.sign(signer, TYPES[kind], io.BytesIO(saved(kind)), found)
    return found.getvalue()


def verified(data: bytes, content_type: str) -> dict[str, Any]:
    """The active manifest of an image, whose signature and hashes fit. Raises `AssertionError` when they do not."""
    with (
        c2pa.Context.from_dict(QUIET) as context,
        c2pa.Reader(content_type, io.BytesIO(data), context=context) as reader,
    ):
        assert reader.get_validation_state() == "Valid", reader.json()
        told = json.loads(reader.json())
    found: dict[str, Any] = told["manifests"][told["active_manifest"]]
    return found


@cache
def _certificates(issuer: str) -> tuple[bytes, bytes]:
    """A chain of two certificates, and the key of the first, as PEM: C2PA takes no certificate that signs itself."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    above, below = _name(issuer, "root"), _name(issuer, "leaf")
    of_root = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    top = _certificate(above, above, root.public_key())
    top = top.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    top = top.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True).add_extension(
        of_root, critical=False
    )
    end = _certificate(below, above, leaf.public_key())
    end = end.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    end = end.add_extension(_usage(digital_signature=True), critical=True)
    end = end.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    end = end.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_root), critical=False)
    chain = [builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) for builder in (end, top)]
    key = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return b"".join(chain), key


def _name(organization: str, common: str) -> x509.Name:
    told = {NameOID.ORGANIZATION_NAME: organization, NameOID.COMMON_NAME: common}
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in told.items()])


def _usage(**given: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    every = dict.fromkeys((*names, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**{**every, **given})


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return made.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
