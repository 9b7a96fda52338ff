"""fal's information about models: the list, OpenAPI, prices, estimates (docs/fal-wire.md#platform-api)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagster_gptimg.emulator.account.account import Account, checked
from dagster_gptimg.emulator.http.api_keys import with_platform_key
from dagster_gptimg.emulator.http.queries import BadQueryError, choice, ids, many
from dagster_gptimg.emulator.http.queries import checked as with_checks
from dagster_gptimg.emulator.http.replies import answer, base_url, platform_error
from dagster_gptimg.emulator.models import prices
from dagster_gptimg.emulator.models.model import MICRO_USD, Model
from dagster_gptimg.emulator.models.models import MODELS
from dagster_gptimg.emulator.models.openapi import document
from dagster_gptimg.emulator.models.prices import CURRENCY

_EPOCH = "2025-10-06T00:00:00Z"
_QUANTITIES = {"historical_api_price": "call_quantity", "unit_price": "unit_quantity"}


class ModelRoutes:
    """The handlers of everything about models."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        """The platform API's part on models, and the documents that lie at `fal.ai` itself."""
        return [
            Route("/api/openapi/queue/openapi.json", with_checks(self.openapi), methods=["GET"]),
            Route("/v1/models", with_checks(self.models), methods=["GET"]),
            Route("/v1/models/pricing", with_platform_key(with_checks(self.pricing)), methods=["GET"]),
            Route("/v1/models/pricing/estimate", with_platform_key(with_checks(self.estimate)), methods=["POST"]),
        ]

    async def openapi(self, request: Request) -> Response:
        """One endpoint's document."""
        (endpoint_id,) = ids(request.query_params, "endpoint_id")[:1]
        if endpoint_id not in MODELS:
            return platform_error(404, "not_found", f"Unknown endpoint: {endpoint_id}")
        return answer(document(MODELS[endpoint_id], base_url(request)))

    async def models(self, request: Request) -> Response:
        """Answer all or some models; `metadata.status` marks a model that will end soon."""
        params, base = request.query_params, base_url(request)
        wanted = ids(params, "endpoint_id", required=False)
        choice(params, "status", "active", "deprecated")
        chosen = [model for name, model in MODELS.items() if (not wanted or name in wanted) and _matches(model, params)]
        expanded = "openapi-3.0" in many(params, "expand")
        models = [
            {**_described(model, base), **({"openapi": document(model, base)} if expanded else {})} for model in chosen
        ]
        return answer({"models": models, "next_cursor": None, "has_more": False})

    async def pricing(self, request: Request) -> Response:
        """Answer with one flat price per unit, for each endpoint."""
        wanted = ids(request.query_params, "endpoint_id")
        unknown = [name for name in wanted if name not in MODELS]
        if unknown:
            return platform_error(404, "not_found", f"Unknown endpoint: {', '.join(unknown)}")
        units = [(name, MODELS[name].unit) for name in wanted]
        listed = [
            {
                "endpoint_id": name,
                "unit_price": float(unit.usd_by(self._account.settings)),
                "unit": unit.name,
                "currency": CURRENCY,
            }
            for name, unit in units
        ]
        return answer({"prices": listed, "next_cursor": None, "has_more": False})

    async def estimate(self, request: Request) -> Response:
        """Answer the estimated cost of calls, by the average so far, or of units."""
        kind, quantities = await _estimated(request)
        unknown = [name for name in quantities if name not in MODELS]
        if unknown:
            return platform_error(404, "not_found", f"Unknown endpoint: {', '.join(unknown)}")
        each = self._usual_call if kind == "historical_api_price" else lambda name: MODELS[name].unit.micro_usd
        total = sum((each(name) * quantity for name, quantity in quantities.items()), Decimal(0))
        return answer({"estimate_type": kind, "total_cost": float(total / MICRO_USD), "currency": CURRENCY})

    def _usual_call(self, endpoint_id: str) -> Decimal:
        """The mean of what calls of this endpoint were billed; with none yet, the price of its defaults."""
        mean = self._account.database.mean_cost(endpoint_id)
        if mean is not None:
            return Decimal(mean)
        model = MODELS[endpoint_id]
        inputs, _ = checked(endpoint_id, {"prompt": "a red cup", "image_urls": [""], "image_url": ""})
        # An endpoint without `num_images` makes one image.
        return Decimal(prices.cost(model.prices, {"num_images": 1, **inputs}, self._account.settings))


async def _estimated(request: Request) -> tuple[str, dict[str, Decimal]]:
    """Kind of estimate and quantity by endpoint."""
    try:
        body = await request.json()
        kind, endpoints = body["estimate_type"], body["endpoints"]
        found = {name: Decimal(str(given[_QUANTITIES[kind]])) for name, given in endpoints.items()}
        if not found or not all(quantity > 0 for quantity in found.values()):
            raise BadQueryError("endpoints: expected quantities above 0")
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        if isinstance(error, BadQueryError):
            raise
        raise BadQueryError(
            "expected estimate_type historical_api_price or unit_price, and endpoints with call_quantity or "
            "unit_quantity each"
        ) from error
    return kind, found


def _matches(model: Model, params: QueryParams) -> bool:
    words = f"{model.endpoint_id} {model.display_name} {model.category} {model.description}".lower()
    return (
        params.get("q", "").lower() in words
        and params.get("category") in (None, model.category)
        and params.get("status") in (None, model.status)
    )


def _described(model: Model, base: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "display_name": model.display_name,
        "category": model.category,
        "description": model.description,
        "status": model.status,
        "tags": [],
        "updated_at": _EPOCH,
        "is_favorited": None,
        "thumbnail_url": "",
        "model_url": f"{base}/{model.endpoint_id}",
        "date": _EPOCH,
        "highlighted": False,
        "pinned": False,
    }
    return {"endpoint_id": model.endpoint_id, "metadata": metadata}
