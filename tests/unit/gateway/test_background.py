"""Background responses over two invocations: begun by one, made by another, whatever happens in between."""

import asyncio
import os
import time
from types import SimpleNamespace

import pytest
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse

from shared.dialects import openai_responses as dialect
from shared.errors import GatewayError
from shared.gateway.background import RUN_PATH, Background
from shared.gateway.context import Exchange, ulid
from shared.gateway.memory import Memory
from shared.gateway.sealing import sealer_for
from shared.stores.protocols import KeyRecord, StoreUnavailable
from tests.unit.gateway.kept_documents import MemoryStore, Pepper

KEY = KeyRecord(kid="kid", acct="acct", hash="", pepper_id="p1")
BODY = {"model": "gemini-3.8-flash", "input": "later", "background": True}


class Invoker:
    def __init__(self):
        self.calls = []
        self.down = False

    async def invoke(self, path, body):
        if self.down:
            raise StoreUnavailable("no Lambda")
        self.calls.append((path, body))


class Pipeline:
    """Answers at once; `seen` are the runs, `settled` those whose background task ran."""

    def __init__(self):
        self.seen = []
        self.settled = 0
        self.error = None

    async def run(self, body, key, exchange, dialect, endpoint, memory):
        self.seen.append((body, key, exchange.request_id, endpoint))
        self.body_sha = exchange.body_sha
        if self.error:
            raise self.error
        response = dialect.queued(body, SimpleNamespace(request_id=exchange.request_id, created=1, requested_model="m"))
        await memory.keep({**response, "status": "completed"})

        async def settle():
            self.settled += 1

        return JSONResponse({}, background=BackgroundTask(settle))


class Authenticator:
    async def record(self, kid):
        assert kid == "kid"
        return KEY


class World:
    def __init__(self, invoker=None):
        self.store, self.pipeline, self.invoker = MemoryStore(), Pipeline(), invoker
        services = SimpleNamespace(invoker=invoker, authenticator=Authenticator())
        self.background = Background(services, self.pipeline, self.store, Pepper())
        self.exchange = exchange()

    async def begin(self):
        sealer = await sealer_for("acct", Pepper())
        memory = Memory(self.store, "acct", sealer, dialect, self.exchange.request_id, self.exchange.created)
        memory.body_sha = self.exchange.body_sha
        await memory.load(BODY)
        return await self.background.begin(BODY, KEY, self.exchange, dialect, memory, "responses")

    async def resume(self, ticket=None):
        ticket = ticket or self.invoker.calls[0][1]["ticket"]
        await self.background.resume(ticket, exchange(), dialect)

    def kept(self, response):
        return self.store.documents["acct", response["id"]]


def exchange():
    now = time.time_ns() // 1_000_000
    return Exchange(ulid(now, os.urandom(16)), "shown", now, time.monotonic(), time.monotonic() + 60, "")


async def test_two_invocations_make_one_response():
    world = World(Invoker())
    response = await world.begin()
    assert (response["status"], world.kept(response).state) == ("queued", "queued")
    ((path, payload),) = world.invoker.calls
    assert path == RUN_PATH
    assert list(payload) == ["ticket"]
    assert "later" not in payload["ticket"]
    await world.resume()
    ((body, key, request_id, endpoint),) = world.pipeline.seen
    assert (body["input"], body["stream"], key, endpoint) == ("later", False, KEY, "responses")
    assert request_id == world.exchange.request_id
    done = world.kept(response)
    assert (done.state, done.body["response"]["created_at"]) == ("completed", response["created_at"])
    assert world.pipeline.settled == 1
    await world.resume()  # Lambda delivers at least once
    assert len(world.pipeline.seen) == 1


async def test_a_repeated_idempotency_key_replaces_no_answer():
    """The key makes the response's id: a repeat stood in the place of what was queued, and of the answer."""
    world = World(Invoker())
    world.exchange.body_sha = "aa"
    response = await world.begin()

    async def refused(body_sha):
        world.exchange.body_sha = body_sha
        with pytest.raises(GatewayError) as caught:
            await world.begin()
        return caught.value.kind

    assert (await refused("aa"), await refused("bb")) == ("idempotency_running", "idempotency_mismatch")
    assert world.kept(response).state == "queued"
    await world.resume()
    assert world.pipeline.body_sha == "aa"  # which the ledger compares later repeats with
    done = world.kept(response)
    assert done.state == "completed"
    assert (await refused("aa"), await refused("bb")) == ("idempotency_done", "idempotency_mismatch")
    assert world.kept(response) == done
    assert len(world.invoker.calls) == 1


async def test_an_invocation_that_broke_off_has_failed():
    world = World(Invoker())
    response = await world.begin()
    world.pipeline.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await world.resume()
    assert world.kept(response).state == "in_progress"
    await world.resume()
    assert world.kept(response).state == "failed"
    assert len(world.pipeline.seen) == 1


async def test_what_was_cancelled_or_deleted_is_not_begun():
    world = World(Invoker())
    first = await world.begin()
    cancelled = await world.background.cancel("acct", world.kept(first))
    assert cancelled["status"] == "cancelled"
    await world.resume()
    assert world.kept(first).state == "cancelled"
    await world.store.delete("acct", first["id"])
    await world.resume()
    assert world.pipeline.seen == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GatewayError("upstream_rate_limited", "Slow.", retry_after=1), "rate_limit_exceeded"),
        (ValueError("a bug"), "server_error"),
    ],
)
async def test_a_failure_is_kept_with_its_code(error, code):
    world = World(Invoker())
    response = await world.begin()
    world.pipeline.error = error
    await world.resume()
    kept = world.kept(response)
    assert (kept.state, kept.body["response"]["error"]["code"]) == ("failed", code)
    assert "a bug" not in str(kept.body)


async def test_where_lambda_does_not_take_it_the_client_learns_so_at_once():
    world = World(Invoker())
    world.invoker.down = True
    with pytest.raises(GatewayError) as caught:
        await world.begin()
    assert caught.value.kind == "unavailable"
    (kept,) = world.store.documents.values()
    assert kept.state == "failed"


async def test_only_our_own_fresh_tickets_start_anything():
    world = World(Invoker())
    await world.begin()
    forged = (await sealer_for("acct", Pepper())).seal(b'{"acct":"acct","request_id":"x","until":99999999999}')
    stale = (await sealer_for("#background", Pepper())).seal(b'{"acct":"acct","request_id":"x","until":1}')
    for ticket in (forged, stale, "gw1.x", 5):
        with pytest.raises(GatewayError) as caught:
            await world.resume(ticket)
        assert caught.value.kind == "not_found"
    assert world.pipeline.seen == []


async def test_on_a_laptop_a_task_makes_it():
    world = World()
    response = await world.begin()
    async with asyncio.timeout(5):
        while world.kept(response).state != "completed":
            await asyncio.sleep(0.01)
    assert len(world.pipeline.seen) == 1
