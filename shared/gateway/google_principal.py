"""Who asks on Google's own paths: `?key=` counts there, and a refusal can be worded as Google words it."""

from starlette.requests import Request

from shared.dialects.gemini_native.errors import GOOGLES_KEY_INVALID, GOOGLES_KEY_MISSING
from shared.errors import GatewayError
from shared.gateway.auth import presented_keys
from shared.gateway.context import Exchange
from shared.gateway.pipeline import Services
from shared.stores.protocols import KeyRecord


async def google_principal(services: Services, request: Request, exchange: Exchange, endpoint: str) -> KeyRecord:
    """The record behind the request's key; `?key=` counts unless the record forbids it. Raises GatewayError."""
    try:
        key = await services.authenticator.principal(request, exchange.source_ip, endpoint, query_key=True)
        if not key.allow_query_key and "key" in request.query_params:
            raise GatewayError("authentication", "Incorrect API key provided.")
    except GatewayError as error:
        if error.kind == "authentication" and services.settings.gemini_auth_errors == "google":
            missing = not presented_keys(request, query_key=True)
            # one text for every bad key: nothing of the original error is kept
            raise GatewayError(
                "authentication", "", reason=GOOGLES_KEY_MISSING if missing else GOOGLES_KEY_INVALID
            ) from error
        raise
    return key
