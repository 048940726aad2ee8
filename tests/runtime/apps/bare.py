"""An ASGI application without a framework and without lifespan: nothing stands between its faults and the loop."""

from typing import Any

from mangum import Mangum


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    start = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}
    match scope["path"]:
        case "/raise":
            raise LookupError("nothing was sent")
        case "/silent":
            return
        case "/half":
            await send(start)
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        case "/twice":
            await send(start)
            await send(start)
        case "/nobody":
            await send(start)
            await send({"type": "http.response.body"})
        case _:
            await send(start)
            await send({"type": "http.response.body", "body": memoryview(b"fine")})


handler = Mangum(app, lifespan="off")
