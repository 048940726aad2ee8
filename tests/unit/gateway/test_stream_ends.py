"""The end of a stream whose answer is to be kept first."""

import asyncio
from types import SimpleNamespace

import pytest

from shared.dialects import openai_responses
from shared.gateway.memory import Memory
from shared.gateway.metering import Outcome
from shared.gateway.pipeline import Pipeline
from shared.gateway.sealing import sealer_for
from shared.gateway.settings import Settings
from tests.unit.gateway.kept_documents import MemoryStore, Pepper


class Renderer:
    """Like those of dialects with state: nothing follows a terminal frame."""

    heartbeat = b""
    final = None

    def feed(self, event, choice):
        return b"words "

    def close(self, usage):
        self.final = {"status": "completed"}
        return b"end"

    def fail(self, error):
        return b"" if self.final else b"failed"


class SlowStore(MemoryStore):
    async def put(self, *document, **more):
        await asyncio.sleep(60)


class BrokenStore(MemoryStore):
    async def put(self, *document, **more):
        raise OSError("a failure that nobody foresaw")


@pytest.mark.parametrize("store", [SlowStore(), BrokenStore()])
async def test_an_answer_that_cannot_be_kept_in_time_still_ends(store):
    memory = Memory(store, "acct", await sealer_for("acct", Pepper()), openai_responses, "R1", 1)
    await memory.load({"model": "model", "input": "hi"})

    async def events():
        yield 0, ["an event"]

    async def settle():
        settled.append(call.meter.outcome)

    settings, settled, sent = Settings(), [], []
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.05

    class Exchange:
        served, streamed = "", False

        @property
        def remaining_s(self):
            return max(0.0, end - loop.time())

    call = SimpleNamespace(
        dialect=SimpleNamespace(renderer=lambda translation, reply: Renderer()),
        exchange=Exchange(),
        headers=dict,
        counted=None,
        memory=memory,
        meter=SimpleNamespace(outcome=Outcome(), settle=settle),
        model=SimpleNamespace(id="model"),
        reply=None,
        translation=None,
    )
    pipeline = Pipeline(SimpleNamespace(settings=settings))
    pipeline._events = lambda call: events()
    response = await pipeline._stream(call)

    async def send(message):
        sent.append(message.get("body", b""))

    await response({}, None, send)
    assert b"".join(sent) == b"words end"
    assert settled == [Outcome()]  # an answer that ended well
