"""The control endpoints under /emulator/: script, requests, reset, clock, states, health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.emulator.models import MODELS, Lifecycle
from infra.local.emulator.state import State

STATES: tuple[Lifecycle, ...] = ("alive", "dead", "closed", "rerouted")


def routes(state: State) -> list[Route]:
    """Routes of the control plane; a malformed body is 400 `{"error": "..."}`."""

    async def script(request: Request) -> Response:
        steps = await request.json()
        state.script.add(steps if isinstance(steps, list) else [steps])
        return JSONResponse({"waiting": state.script.waiting})

    async def requests(request: Request) -> Response:
        return JSONResponse(state.requests())

    async def reset(request: Request) -> Response:
        state.reset()
        return JSONResponse({"ok": True})

    async def clock(request: Request) -> Response:
        state.fixed_now = _moment((await request.json()).get("now"))
        return JSONResponse({"now": state.now()})

    async def states(request: Request) -> Response:
        for model, row in (await request.json()).items():
            set_state(state, model, row)
        return JSONResponse({"states": {key: list(value) for key, value in state.overrides.states.items()}})

    async def rules(request: Request) -> Response:
        body = await request.json()
        if set(body) - {"refuse_old_call_ids"}:
            raise ValueError(f"unknown rule: {', '.join(sorted(body))}")
        state.refuse_old_call_ids = bool(body.get("refuse_old_call_ids"))
        return JSONResponse({"refuse_old_call_ids": state.refuse_old_call_ids})

    async def health(request: Request) -> Response:
        return JSONResponse({"ok": True, "recordings": len(state.recordings) if state.recordings else 0})

    return [
        Route("/emulator/script", _guarded(script), methods=["POST"]),
        Route("/emulator/requests", requests, methods=["GET"]),
        Route("/emulator/reset", reset, methods=["POST"]),
        Route("/emulator/clock", _guarded(clock), methods=["POST"]),
        Route("/emulator/states", _guarded(states), methods=["POST"]),
        Route("/emulator/rules", _guarded(rules), methods=["POST"]),
        Route("/emulator/health", health, methods=["GET"]),
    ]


def set_state(state: State, model: str, row: Any) -> None:
    """`"dead"`, `"closed"`, `"alive"`, `["rerouted", target]`, or None to follow the clock again."""
    if model not in MODELS:
        raise ValueError(f"unknown model: {model}")
    if row is None:
        state.overrides.states.pop(model, None)
        return
    name, target = (row, "") if isinstance(row, str) else (row[0], row[1])
    known = next((word for word in STATES if word == name), None)
    if known is None or (known == "rerouted" and target not in MODELS):
        raise ValueError(f"unknown state: {row}")
    state.overrides.states[model] = (known, target)


def _moment(value: Any) -> float | None:
    """Unix seconds from a number or an ISO 8601 text; None follows the real clock again."""
    if value is None or isinstance(value, int | float):
        return value
    return datetime.fromisoformat(str(value)).timestamp()


def _guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def run(request: Request) -> Response:
        try:
            return await handler(request)
        except (ValueError, AttributeError, TypeError) as exc:
            return JSONResponse({"error": str(exc)}, status_code=400)

    return run
