"""Lambda's handler object: our loop takes its application, AWS's loop calls it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from handlers.entry import Entry

EVENTS = Path(__file__).resolve().parents[1] / "events"


async def shows_path(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http", "no lifespan here"
    await PlainTextResponse(f"{scope['method']} {scope['path']}")(scope, receive, send)


def event(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return read


@pytest.fixture
def loop() -> Iterator[None]:
    """Mangum runs the application on the thread's own loop."""
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield
    asyncio.set_event_loop(None)
    made.close()


@pytest.mark.usefixtures("loop")
def test_a_call_is_answered_whole_by_mangum():
    entry = Entry(shows_path)
    for _ in range(2):
        answer = entry(event("rest_proxy_v1.json"), None)
        assert (answer["statusCode"], answer["body"][:4]) == (200, "POST")


@pytest.mark.usefixtures("loop")
def test_an_event_of_another_form_is_read_by_mangum():
    read = Entry(shows_path).infer(event("rest_proxy_v1.json"), None)
    assert read.scope["type"] == "http"


def test_the_application_is_where_our_loop_looks():
    assert Entry(shows_path).app is shows_path
