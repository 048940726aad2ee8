"""The ASGI application: routes, credentials, and the way of one request from bytes to bytes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from infra.local.emulator import answers, control, credentials, framing
from infra.local.emulator.errors import Refusal
from infra.local.emulator.faults import Playback, Write
from infra.local.emulator.parsing import loads
from infra.local.emulator.replay import Recordings
from infra.local.emulator.state import State
from infra.local.emulator.transport import abort

type Json = dict[str, Any]

_CALL = re.compile(r"/(?P<version>v1beta|v1alpha|v1)/models/(?P<model>[^/:]+):(?P<method>[A-Za-z]+)")
_MODELS = re.compile(r"/(?P<version>v1beta|v1alpha|v1)/models(?:/(?P<model>[^/:]+))?")


def create_app(*, replay: Path | None = None, clock: Callable[[], float] = time.time) -> Starlette:
    """The emulated `generativelanguage.googleapis.com` as an ASGI application.

    `replay` is a folder of recorded exchanges that are answered first; `clock` gives the Unix seconds that decide the
    state of each model. `app.state.emulator` is the `State` that the control endpoints and `EmulatorServer` work on.
    """
    state = State(clock=clock, recordings=Recordings(replay) if replay else None)
    app = Starlette(routes=[*control.routes(state), Mount("/", app=Upstream(state))])
    app.state.emulator = state
    return app


class Upstream:
    """Everything that is not a control endpoint."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.monotonic()
        raw = await _read_body(receive)
        row = _recorded(scope, raw)
        number = self.state.record(row)
        exchange = Exchange(scope, send, started, row)
        try:
            answer = self.answer(scope, raw, row, number)
        except Refusal as refusal:
            await exchange.refuse(refusal)
            return
        await exchange.play(answer, receive)

    def answer(self, scope: Scope, raw: bytes, row: Json, number: int) -> answers.Answer:
        """The answer to one request; a Refusal says what the upstream refuses it with."""
        path, query = scope["path"], row["query"]
        call = _CALL.fullmatch(path)
        if row["credentials"] or not self.state.stored.is_session(path, query):
            credentials.check(row["credentials"], call["method"] if call else "ListModels")
        listing = _MODELS.fullmatch(path)
        if listing and scope["method"] == "GET":
            return answers.models_page(self.state, listing["version"], listing["model"], query)
        owner = str(row["credentials"][0][1]) if row["credentials"] else ""
        kept = self.state.stored.answer(scope["method"], path, row, raw, owner)
        if kept is not None:
            return answers.Answer(answers.plain(kept.body).playback, headers=kept.headers, unary=True)
        if not call or scope["method"] != "POST":
            raise Refusal(404, "Requested entity was not found.")
        body = row["body"] = loads(raw)
        if self.state.recordings:
            found = self.state.recordings.find("POST", path, query.get("alt", ""), body)
            if found:
                row["replayed"] = found.name
                return answers.recorded(found)
        return answers.answer(
            self.state,
            answers.Call(
                version=call["version"],
                model_id=call["model"],
                method=call["method"],
                sse=query.get("alt") == "sse",
                seed=hashlib.sha256(raw).hexdigest()[:16] + str(number),
            ),
            body,
        )


async def _read_body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(pieces)
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


def _recorded(scope: Scope, raw: bytes) -> Json:
    query = parse_qsl(scope.get("query_string", b"").decode(), keep_blank_values=True)
    headers = [(key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in scope["headers"]]
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query": dict(query),
        "headers": dict(headers),
        "credentials": credentials.found(headers, query),
        "body": None,
        "raw": raw.decode("utf-8", "replace"),
        "status": None,
        "writes": 0,
        "done": False,
        "disconnected": False,
    }


class Exchange:
    """Writes one response, paced, and notes in the recorded row how far it got."""

    def __init__(self, scope: Scope, send: Send, started: float, row: Json) -> None:
        self.scope, self.send, self.started, self.row = scope, send, started, row

    async def start(self, status: int, content_type: str, extra: list[tuple[bytes, bytes]]) -> None:
        self.row["status"] = status
        spent = int((time.monotonic() - self.started) * 1000)
        headers = [
            (b"content-type", content_type.encode()),
            (b"vary", b"Origin, X-Origin, Referer"),
            (b"server", b"scaffolding on HTTPServer2"),
            (b"server-timing", f"gfet4t7; dur={spent}".encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"SAMEORIGIN"),
            (b"x-xss-protection", b"0"),
            (b"alt-svc", b'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000'),
        ]
        if content_type == answers.SSE_TYPE:
            headers.insert(1, (b"content-disposition", b"attachment"))
        names = {key for key, _ in extra}
        merged = [*[pair for pair in headers if pair[0] not in names], *extra]
        await self.send({"type": "http.response.start", "status": status, "headers": merged})

    async def refuse(self, refusal: Refusal) -> None:
        """An error: its HTTP status and a JSON body; on an alt=sse call the content type stays text/event-stream."""
        sse = self.row["query"].get("alt") == "sse"
        array = self.scope["path"].endswith(":streamGenerateContent") and not sse
        body = framing.pretty(refusal.body())
        text = f"[{body}\n]" if array else f"{body}\n"
        if refusal.silence:
            await asyncio.sleep(refusal.silence)
        data, encoding = self.compressed(text.encode()) if not sse else (text.encode(), [])
        await self.start(refusal.code, answers.SSE_TYPE if sse else answers.JSON_TYPE, encoding)
        await self.finish([Write(data)])

    def compressed(self, data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """The body and its content-encoding header: unary JSON is gzipped for a client that takes it."""
        if "gzip" not in self.row["headers"].get("accept-encoding", ""):
            return data, []
        return gzip.compress(data, mtime=0), [(b"content-encoding", b"gzip")]

    async def play(self, answer: answers.Answer, receive: Receive) -> None:
        watcher = asyncio.create_task(self.watch(receive))
        try:
            if answer.silence:
                await asyncio.sleep(answer.silence)
            if answer.hang_up:
                await abort(self.scope)
                return
            playback, headers = answer.playback, answer.headers
            if answer.unary:
                data, encoding = self.compressed(playback.writes[0].data)
                playback, headers = Playback([Write(data)], playback.reset), [*headers, *encoding]
            await self.start(answer.status, answer.content_type, headers)
            await self.write(playback.writes)
            if playback.reset:
                await abort(self.scope)
                return
            await self.finish([])
        finally:
            watcher.cancel()

    async def write(self, writes: list[Write]) -> None:
        for write in writes:
            if write.pause:
                await asyncio.sleep(write.pause)
            await self.send({"type": "http.response.body", "body": write.data, "more_body": True})
            self.row["writes"] += 1

    async def finish(self, writes: list[Write]) -> None:
        await self.write(writes)
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})
        self.row["done"] = True

    async def watch(self, receive: Receive) -> None:
        """Notes a client that goes away before the answer is whole."""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                if not self.row["done"]:
                    self.row["disconnected"] = True
                return
