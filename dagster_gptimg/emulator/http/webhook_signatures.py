"""The signatures of webhooks: ED25519, with keys that live in the state folder (docs/fal-wire.md#webhooks)."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Signer:
    """The account's signing keys. Made when they are first needed: most emulators never send a webhook."""

    def __init__(self, folder: Path, user_id: str) -> None:
        self._path, self._user_id = folder / "webhook-keys", user_id

    def jwks(self, keys: int) -> dict[str, Any]:
        """The public keys as fal publishes them; the last one signs."""
        return {"keys": [_jwk(key) for key in self._keys(keys)]}

    def headers(self, request_id: str, timestamp: int, body: bytes, keys: int) -> dict[str, str]:
        """The headers of one delivery. `timestamp` is Unix seconds."""
        digest = hashlib.sha256(body).hexdigest()
        message = f"{request_id}\n{self._user_id}\n{timestamp}\n{digest}".encode()
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": self._user_id,
            "X-Fal-Webhook-Timestamp": str(timestamp),
            "X-Fal-Webhook-Signature": self._keys(keys)[-1].sign(message).hex(),
        }

    def _keys(self, count: int) -> list[Ed25519PrivateKey]:
        """The first `count` keys of this state folder."""
        # Imported here: it takes a while, and few need it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        seeds = self._path.read_text().split() if self._path.exists() else []
        if len(seeds) < count:
            seeds += [os.urandom(32).hex() for _ in range(count - len(seeds))]
            self._write(seeds)
        return [Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)) for seed in seeds[:count]]

    def _write(self, seeds: list[str]) -> None:
        beside = self._path.with_suffix(".tmp")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join(seeds))
        beside.replace(self._path)


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    x = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": hashlib.sha256(x.encode()).hexdigest()[:16], "x": x}
