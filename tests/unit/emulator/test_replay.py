"""Recorded exchanges come back byte for byte; everything else is emulated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.emulator import EmulatorServer

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def replaying(connect: Any) -> Iterator[Any]:
    with EmulatorServer(replay=DATA) as server:
        yield connect(server)


FILES = sorted(DATA.glob("*.json"))


def wire(response: dict[str, Any]) -> bytes:
    if "stream" in response:
        return "".join(f"data: {row}\r\n\r\n" for row in response["stream"]).encode()
    return (json.dumps(response["body"], indent=2, ensure_ascii=False) + "\n").encode()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem[:40])
def test_a_recorded_request_gets_the_recorded_answer(replaying: Any, file: Path) -> None:
    exchange = json.loads(file.read_text("utf-8"))
    request, response = exchange["request"], exchange["response"]
    alt = "?alt=sse" if request["query"].get("alt") else ""
    got = replaying.send("POST", request["path"] + alt, request["body"])
    assert got.status == response["status"]
    assert got.raw == wire(response)
    assert got.headers["content-type"] == response["headers"]["content-type"]
    assert replaying.server.requests[-1]["replayed"] == file.name


def test_spelling_and_order_do_not_matter_but_content_does(replaying: Any) -> None:
    exchange = json.loads(FILES[0].read_text("utf-8"))
    request = exchange["request"]
    alt = "?alt=sse" if request["query"].get("alt") else ""
    body = dict(reversed(request["body"].items()))
    body["generation_config"] = body.pop("generationConfig", {})
    assert replaying.send("POST", request["path"] + alt, body).raw == wire(exchange["response"])
    other = {"contents": [{"role": "user", "parts": [{"text": "something else"}]}]}
    got = replaying.unary("gemini-3.8-flash", other)
    assert got.candidate["content"]["parts"][0]["text"] == "Echo: something else"


def test_the_folder_is_counted(replaying: Any) -> None:
    assert replaying.send("GET", "/emulator/health").json["recordings"] == len(FILES) > 2


ANSWERED = [file for file in FILES if json.loads(file.read_text("utf-8"))["response"]["status"] == 200]


@pytest.mark.parametrize("file", ANSWERED, ids=lambda file: file.stem[:40])
def test_what_the_live_server_took_the_emulator_takes(upstream: Any, file: Path) -> None:
    exchange = json.loads(file.read_text("utf-8"))
    request = exchange["request"]
    alt = "?alt=sse" if request["query"].get("alt") else ""
    got = upstream.send("POST", request["path"] + alt, request["body"])
    assert got.status == 200, got.raw
