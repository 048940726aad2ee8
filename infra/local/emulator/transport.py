"""Aborting a connection in the middle of an answer, which ASGI has no word for."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

KEY = "emulator_transport"


class ResettableProtocol(H11Protocol):
    """uvicorn's HTTP protocol that hands its transport to the application in the scope's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, KEY: transport}


class ConnectionAborted(RuntimeError):
    """Raised into a server that gives no access to its transport: it drops the connection by itself."""


async def abort(scope: Any) -> None:
    """Sends what was written, then a TCP reset."""
    transport = (scope.get("state") or {}).get(KEY)
    if transport is None:
        raise ConnectionAborted
    await asyncio.sleep(0.02)  # lets the client read what came before; a reset may discard what is unread
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the server learns of the lost connection before the application returns
