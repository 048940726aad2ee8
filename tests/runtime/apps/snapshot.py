"""Registers SnapStart hooks; FAIL names the side that raises."""

import os

from mangum import Mangum
from snapshot_restore_py import register_after_restore, register_before_snapshot
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

order: list[str] = []


def note(name: str, side: str) -> None:
    if os.environ.get("FAIL") == side:
        raise RuntimeError(f"{side} hook")
    order.append(name)


register_before_snapshot(note, "before 1", "before")
register_before_snapshot(note, "before 2", "before")
register_after_restore(note, "after 1", "after")
register_after_restore(note, "after 2", "after")


async def show(request: Request) -> JSONResponse:
    return JSONResponse(order)


app = Starlette(routes=[Route("/", show)])
handler = Mangum(app)
