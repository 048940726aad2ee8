"""The console's routes. The page and its files are open to everybody and hold nothing; figures want a key.

A script sends the key as `Authorization: Bearer`. A browser without script posts it once in a form and gets the
totals back in that answer; no cookie is set, and the key comes back in no form.
"""

from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.errors import GatewayError
from shared.gateway import control_errors
from shared.gateway import usage_queries as queries
from shared.gateway.console.assets import Assets
from shared.gateway.console.overview import Overview, as_json, gather
from shared.gateway.console.page import render
from shared.gateway.control_access import ControlPlane, exchange_of, holder
from shared.gateway.request_body import read_bytes
from shared.gateway.responses import json_response
from shared.stores.protocols import KeyRecord, StoreUnavailable

_FORM_BYTES = 4_096
_CREDENTIALS = (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_PAGE: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
_KEPT: Final = {
    "cache-control": "public, max-age=31536000, immutable",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


def console_routes(plane: ControlPlane) -> list[Route]:
    """`/console`, its files, and the figures that its script asks for; routes of the control plane's application, whose
    handlers answer what is raised here."""
    console = _Console(plane)
    return [
        Route("/console", console.page, methods=["GET", "POST"]),
        Route("/console/", _to_the_page, methods=["GET"]),
        Route("/console/overview", console.overview, methods=["GET"]),
        Route("/console/assets/{version}/{name}", console.asset, methods=["GET"]),
    ]


async def _to_the_page(request: Request) -> Response:
    return RedirectResponse("/console", 308)


class _Console:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._assets = Assets()

    async def page(self, request: Request) -> Response:
        return await self._totals(request) if request.method == "POST" else _html(200, render(self._assets))

    async def _totals(self, request: Request) -> Response:
        """The totals of a posted key, for a browser without script."""
        try:
            record, overview = await self._figures(await _with_posted_key(request))
        except GatewayError as error:
            return self._told(error)
        except StoreUnavailable as error:
            return self._told(
                GatewayError("unavailable", "The usage cannot be read now.", retry_after=error.retry_after)
            )
        whose = "every key" if _is_operator(record) else record.name or record.kid
        return _html(200, render(self._assets, overview=overview, holder=whose))

    def _told(self, error: GatewayError) -> Response:
        """The page again, with what was wrong and the status that the API would answer."""
        plain = control_errors.answer(error)
        answer = _html(plain.status_code, render(self._assets, notice=error.message))
        if "retry-after" in plain.headers:
            answer.headers["retry-after"] = plain.headers["retry-after"]
        return answer

    async def overview(self, request: Request) -> Response:
        """The figures of a range of days as JSON: of every account for an admin key, else of the key's own."""
        record, overview = await self._figures(request)
        role = "admin" if _is_operator(record) else "client"
        told = {"role": role, "kid": record.kid, "name": record.name, "addresses": dict(self._plane.addresses)}
        return json_response(200, {**told, **as_json(overview)})

    async def asset(self, request: Request) -> Response:
        found = self._assets.get(request.path_params["version"], request.path_params["name"])
        if found is None:
            raise GatewayError("not_found", "There is no such file in this release of the console.")
        return Response(found.content, 200, {**_KEPT, "content-type": found.media_type})

    async def _figures(self, request: Request) -> tuple[KeyRecord, Overview]:
        record = await holder(request)
        asked = request.query_params
        first, last = queries.day_range(asked.get("from"), asked.get("to"), exchange_of(request).today)
        return record, await gather(self._plane, first, last, None if _is_operator(record) else record)


def _is_operator(record: KeyRecord) -> bool:
    return "admin" in record.endpoints


def _html(status: int, html: str) -> Response:
    return Response(html, status, dict(_PAGE), media_type="text/html; charset=utf-8")


async def _with_posted_key(request: Request) -> Request:
    """The request with the form's key where `auth` reads keys. A form that another site sent is refused: it would show
    its reader somebody else's figures."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise GatewayError("endpoint_not_allowed", "The form was sent by another site.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise GatewayError("unsupported_media_type", "A form is expected.")
    body = await read_bytes(request, _FORM_BYTES)
    text = parse_qs(body.decode("ascii", "replace")).get("key", [""])[0].strip()
    # what no header can hold becomes a wrong key like any other
    bearer = b"Bearer " + text.encode("ascii", "replace")
    kept = [(name, value) for name, value in request.scope["headers"] if name not in _CREDENTIALS]
    return Request({**request.scope, "headers": [*kept, (b"authorization", bearer)]})
