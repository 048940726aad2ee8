"""Who may ask the control plane, and what it is made of."""

from collections.abc import Mapping

from fastapi import Request
from msgspec import Struct, field

from shared.gateway.auth import Authenticator, check_address
from shared.gateway.context import Exchange
from shared.gateway.key_registry import KeyRegistry
from shared.stores.protocols import KeyRecord
from shared.stores.usage_protocols import GlobalTotals, UsageReader


class ControlPlane(Struct, frozen=True):
    """What a control-plane function is made of.

    `addresses`: where clients of `chat`, `responses`, `messages` and `gemini` are served, base URLs without a slash at
    the end; empty where one address serves them all.
    """

    authenticator: Authenticator
    registry: KeyRegistry
    usage: UsageReader
    totals: GlobalTotals
    max_body_bytes: int = 65_536
    addresses: Mapping[str, str] = field(default_factory=dict)


def exchange_of(request: Request) -> Exchange:
    """The request's identity and clock, made where it came in."""
    exchange: Exchange = request.state.exchange
    return exchange


async def admin(request: Request) -> KeyRecord:
    """The key of an operator: the one that names the endpoint `admin`."""
    plane: ControlPlane = request.app.state.plane
    return await plane.authenticator.principal(request, exchange_of(request).source_ip, "admin")


async def holder(request: Request) -> KeyRecord:
    """Any key in force: whoever holds one may see what it used."""
    plane: ControlPlane = request.app.state.plane
    source_ip = exchange_of(request).source_ip
    record = await plane.authenticator.authenticate(request, source_ip)
    check_address(record, source_ip)
    return record
