"""What stands before the applications of a function: the proof that a request came in through the edge, and both planes
on one address."""

import hmac
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import GatewayError
from shared.gateway.context import VIEWER, source_ip
from shared.gateway.telemetry import hide
from shared.stores.protocols import OriginSecrets, StoreUnavailable

ORIGIN_HEADER = b"x-origin-verify"  # CloudFront sets it, whatever the client said
_CONTROL = ("/admin", "/v1/usage", "/docs", "/openapi.json", "/console")
_BELOW = tuple(f"{path}/" for path in _CONTROL)


def control_serves(path: str) -> bool:
    """Whether a path belongs to the control plane."""
    return path in _CONTROL or path.startswith(_BELOW)


class OneAddress:
    """Both planes, told apart by the path; the data plane's lifespan is that of both.

    `open_control` makes the control plane at its first request: FastAPI would cost every cold start.
    """

    def __init__(self, data: ASGIApp, open_control: Callable[[], ASGIApp]) -> None:
        self.data = data
        self._open_control = open_control
        self._control: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not control_serves(scope["path"]):
            await self.data(scope, receive, send)
            return
        if self._control is None:
            self._control = self._open_control()
        await self._control(scope, receive, send)


class FrontDoor:
    """Lets requests in that carry the secret of the distribution in front, before anything else looks at them.

    A function URL is open to the world: without this check everybody could go past the edge and its firewall. What was
    not asked at a URL (this gateway's own invocations, which IAM allowed) carries no secret and needs none, nor do the
    pieces of an upload that began at the edge. `refuse` renders the 403, or the 503 where the secret cannot be read, in
    the words of the path's dialect.
    """

    def __init__(
        self, app: ASGIApp, secrets: OriginSecrets, refuse: Callable[[Request, GatewayError], Response]
    ) -> None:
        self._app = app
        self._secrets = secrets
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _asked_at_url(scope):
            await self._app(scope, receive, send)
            return
        try:
            accepted = await self._secrets.accepted()
        except StoreUnavailable as error:
            refusal = GatewayError(
                "unavailable", "The gateway cannot tell where requests come from.", retry_after=error.retry_after
            )
        else:
            hide(*(secret.decode() for secret in accepted))
            given = [value for name, value in scope["headers"] if name == ORIGIN_HEADER]
            if _proven(b",".join(given), accepted):
                headers = [header for header in scope["headers"] if header[0] != ORIGIN_HEADER]
                await self._app(
                    {**scope, "headers": headers, VIEWER: _viewer(headers, source_ip(scope))}, receive, send
                )
                return
            if _goes_on(scope):
                await self._app(scope, receive, send)
                return
            refusal = GatewayError("endpoint_not_allowed", "Requests are taken at the gateway's own address only.")
        await self._refuse(Request(scope), refusal)(scope, receive, send)


def _asked_at_url(scope: Scope) -> bool:
    """Lambda writes `domainName` into every event of a function URL and of API Gateway: no client can omit it."""
    event = scope.get("aws.event")
    return not isinstance(event, dict) or "domainName" in event.get("requestContext", {})


def _goes_on(scope: Scope) -> bool:
    """Whether a piece of an upload that has begun arrives. Clients send it to the address that the beginning was
    answered with, and that is the function's own: no function learns by which name the edge was asked. The session's id
    in it, which stands for the key too, proves that it came in by the edge.
    """
    return scope["path"].startswith("/upload/") and bool(Request(scope).query_params.get("upload_id"))


def _viewer(headers: Sequence[tuple[bytes, bytes]], edge: str) -> str:
    """Whom the edge was asked by: it adds that address to what the client may have written. What asks the function is
    the edge itself, whose own address may have been added behind."""
    hops = [
        hop.strip().decode("latin-1")
        for name, value in headers
        if name == b"x-forwarded-for"
        for hop in value.split(b",")
    ]
    if len(hops) > 1 and hops[-1] == edge:
        hops.pop()
    return hops[-1] if hops else ""


def _proven(given: bytes, accepted: Sequence[bytes]) -> bool:
    """Each comparison takes constant time, and none is left out."""
    return sum(hmac.compare_digest(given, secret) for secret in accepted) > 0
