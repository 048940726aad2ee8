"""What the media endpoints ask of the upstream beyond streams: embeddings, whole answers, drafts."""

import base64
import random
from contextlib import asynccontextmanager

import pytest

from shared.errors import GatewayError
from shared.events import Draft, End, Media, Start
from shared.gateway.metering import Outcome
from shared.gateway.pool import CredentialPool
from shared.gateway.settings import Settings
from shared.gateway.upstream import Upstream
from shared.gemini.catalog import resolve
from shared.gemini.reader import ReplyReader
from shared.stores.protocols import Credential
from tests.unit.openai_media.requests import DAY

SOUND = {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": base64.b64encode(b"ab").decode()}}
SPOKEN = {
    "candidates": [{"content": {"parts": [SOUND]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 8, "totalTokenCount": 11},
    "modelVersion": "gemini-3.8-flash-tts",
}


class Client:
    """Plays scripted answers to plain calls; a stream is an answer of the same kind in one chunk."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def _next(self, *asked):
        self.asked.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    async def call(self, method, model, body, credential, **more):
        return self._next(method, model, body, credential)

    @asynccontextmanager
    async def stream(self, model, body, credential, **more):
        yield self._next("stream", model, body, credential)


class Secrets:
    async def pool(self, *, refresh=False):
        return [Credential(id=name, key=f"key-{name}", project=f"team-{name}") for name in ("a", "b")]


class Meter:
    input_bound = 50

    def __init__(self):
        self.outcome = Outcome()


class Exchange:
    request_id = "r"
    remaining_s = 100.0

    def mark_first_byte(self):
        pass


def upstream(client):
    pool = CredentialPool(Secrets(), clock=lambda: 0.0, chance=random.Random(1))
    return Upstream(client, pool, Settings(commit_after_s=5))


async def embed(client, model="gemini-embedding-001"):
    meter = Meter()
    reply = await upstream(client).embed([{"content": 1}, {"content": 2}], resolve(model, DAY), Exchange(), meter, 0)
    return reply, meter.outcome


async def test_every_embedding_names_its_model():
    client = Client({"embeddings": []})
    reply, outcome = await embed(client)
    name = "models/gemini-embedding-001"
    ((method, model, body, _),) = client.asked
    assert (reply, method, model) == ({"embeddings": []}, "batchEmbedContents", "gemini-embedding-001")
    assert body == {"requests": [{"model": name, "content": 1}, {"model": name, "content": 2}]}
    assert (outcome.model_version, outcome.attempts) == ("gemini-embedding-001", 1)


async def test_each_batch_is_booked_on_the_project_that_answered_it():
    client, meter = Client(*[{}] * 8), Meter()
    shared = upstream(client)
    model = resolve("gemini-embedding-001", DAY)
    for number in (5, 0, 7, 1, 3, 2, 6, 4):  # as they are begun and tried again
        await shared.embed([{"content": number}], model, Exchange(), meter, number)
    answered = {body["requests"][0]["content"]: key.replace("key", "team") for _, _, body, key in client.asked}
    assert meter.outcome.projects == answered
    assert set(answered.values()) == {"team-a", "team-b"}


async def test_another_credential_after_a_quota():
    client = Client(GatewayError("upstream_rate_limited", "x", retry_after=60.0), {})
    _, outcome = await embed(client)
    assert len({key for *_, key in client.asked}) == 2
    assert outcome.attempts == 2


async def test_a_withdrawn_model_is_replaced_in_every_request():
    client = Client(GatewayError("model_not_found", "x"), {})
    _, outcome = await embed(client, "gemini-embedding-2-preview")
    assert [body["requests"][0]["model"] for _, _, body, _ in client.asked] == [
        "models/gemini-embedding-2-preview",
        "models/gemini-embedding-2",
    ]
    assert outcome.model_version == "gemini-embedding-2"


async def test_a_final_error_is_raised_as_it_is():
    client = Client(GatewayError("invalid_request", "x"))
    with pytest.raises(GatewayError) as refused:
        await embed(client)
    assert (refused.value.kind, len(client.asked)) == ("invalid_request", 1)


async def answer(client, model, **more):
    meter = Meter()
    bursts = upstream(client).answer({}, resolve(model, DAY), Exchange(), meter, **more)
    events = [event async for burst in bursts for event in burst]
    return events, meter.outcome


async def test_a_model_that_cannot_stream_is_asked_for_the_whole():
    client = Client(SPOKEN)
    events, outcome = await answer(client, "gemini-3.8-flash-tts")
    assert client.asked[0][:2] == ("generateContent", "gemini-3.8-flash-tts")
    assert [type(event) for event in events] == [Start, Media, End]
    assert (outcome.usage.prompt_tokens, outcome.usage.output_tokens) == (3, 8)


async def test_a_fallback_that_cannot_stream_is_asked_for_the_whole():
    client = Client(GatewayError("model_not_found", "x"), SPOKEN)
    events, _ = await answer(client, "gemini-3.1-flash-tts-preview")
    assert [asked[:2] for asked in client.asked] == [
        ("stream", "gemini-3.1-flash-tts-preview"),
        ("generateContent", "gemini-3.8-flash-tts"),
    ]
    assert isinstance(events[1], Media)


def picture(thought):
    part = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}} | ({"thought": True} if thought else {})
    return {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}


@pytest.mark.parametrize(
    ("drafts", "thought", "kinds"),
    [
        (False, True, [Start]),
        (False, False, [Start, Media]),
        (True, True, [Start, Draft]),
        (True, False, [Start, Media]),
    ],
)
def test_drafts_are_for_who_asks_for_them(drafts, thought, kinds):
    assert [type(event) for event in ReplyReader(drafts=drafts).feed(picture(thought))] == kinds
