"""The keys with which webhooks are signed, for everybody (docs/fal-wire.md#jwks)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.http.replies import answer
from dagster_gptimg.emulator.http.webhook_signatures import Signer


class WebhookRoutes:
    """The handler of the JWKS."""

    def __init__(self, account: Account, signer: Signer) -> None:
        self._account, self._signer = account, signer

    def routes(self) -> list[Route]:
        """`https://rest.fal.ai/.well-known/jwks.json`."""
        return [Route("/.well-known/jwks.json", self.jwks, methods=["GET"])]

    async def jwks(self, _: Request) -> Response:
        """All keys with which a webhook may be signed; receivers keep them for 24 hours at most."""
        return answer(self._signer.jwks(self._account.settings.webhook_keys))
