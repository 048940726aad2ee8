"""A small Starlette application with one route for every behaviour the loop must get right."""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from mangum import Mangum
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

served = 0


async def echo(request: Request) -> Response:
    global served
    served += 1
    body = await request.body()
    logging.getLogger("app").info("echo", extra={"fields": {"authorization": "Bearer sk-gw1_secretsecret"}})
    return JSONResponse(
        {
            "method": request.method,
            "path": request.scope["path"],
            "query": request.url.query,
            "headers": dict(request.headers),
            "cookies": request.cookies,
            "size": len(body),
            "body": body[:1000].decode("utf-8", "replace"),
            "started": request.state.started,
            "deadline_ms": request.state.deadline_ms,
            "remaining_ms": request.scope["aws.context"].get_remaining_time_in_millis(),
            "request_id": request.scope["aws.context"].aws_request_id,
            "trace": os.environ.get("_X_AMZN_TRACE_ID"),
            "served": served,
            "pid": os.getpid(),
            "marker": os.environ.get("MARKER"),
            "leak": os.environ.get("LEAK"),
        }
    )


async def paced(request: Request) -> Response:
    count, pause = int(request.query_params.get("n", 10)), float(request.query_params.get("ms", 200)) / 1000

    async def frames() -> AsyncIterator[bytes]:
        for number in range(count):
            if number:
                await asyncio.sleep(pause)
            yield f"data: {number}\n\n".encode()

    return StreamingResponse(frames(), media_type="text/event-stream")


async def unremarked(scope: Any, receive: Any, send: Any) -> None:
    """An event stream for clients that know no comments."""
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
    await send({**start, "lambda_runtime.opening": b"\r\n\r\n"})
    await send({"type": "http.response.body", "body": b"data: 0\n\n"})


async def binary(request: Request) -> Response:
    return Response(bytes(range(256)) * 40, media_type="image/png")


async def cookies(request: Request) -> Response:
    response = JSONResponse({}, headers={"Vary": "accept"})
    response.headers.append("vary", "origin")
    response.set_cookie("a", "1", path="/")
    response.set_cookie("b", "2,3", path="/")
    return response


async def empty(request: Request) -> Response:
    return Response(status_code=int(request.query_params["status"]))


async def fails(request: Request) -> Response:
    raise ValueError("before the start")


async def fails_late(request: Request) -> Response:
    async def frames() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        raise ValueError('\u00fc\U0001f600"\n' * int(request.query_params.get("repeat", 1)))

    return StreamingResponse(frames(), media_type="text/event-stream")


async def dies(request: Request) -> Response:
    async def frames() -> AsyncIterator[bytes]:
        if "late" in request.query_params:
            yield b"data: one\n\n"
            await asyncio.sleep(0.1)
        sys.stdout.flush()
        os._exit(7)
        yield b""

    return StreamingResponse(frames(), media_type="text/event-stream")


async def overruns(request: Request) -> Response:
    try:
        await asyncio.sleep(600)
    finally:
        logging.getLogger("app").info("booked")
    return PlainTextResponse("never")


async def background(request: Request) -> Response:
    async def later() -> None:
        await asyncio.sleep(0.3)
        logging.getLogger("app").info("background done")

    return JSONResponse({"pid": os.getpid()}, background=BackgroundTask(later))


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    yield {"started": True}
    print(json.dumps({"message": "lifespan shutdown"}), flush=True)


app = Starlette(
    routes=[
        Route("/echo{rest:path}", echo, methods=["GET", "POST", "HEAD", "PUT"]),
        Route("/paced", paced),
        Route("/binary", binary),
        Route("/cookies", cookies),
        Route("/empty", empty),
        Route("/fails", fails),
        Route("/fails-late", fails_late),
        Route("/dies", dies),
        Route("/overruns", overruns),
        Route("/background", background),
        Mount("/unremarked", unremarked),
    ],
    lifespan=lifespan,
)
handler = Mangum(app)
