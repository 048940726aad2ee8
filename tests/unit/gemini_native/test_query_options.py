"""What stands behind the question mark: forms of the answer, and keys that must leave no trace."""

import json
import logging

import pytest

from tests.unit.gemini_native.conftest import KEY

FLASH = "/v1beta/models/gemini-3.8-flash"
EMBEDDING = "/v1beta/models/gemini-embedding-2"
SAY = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
CACHE = {"model": "models/gemini-3.8-flash", **SAY}
PICTURE = {"instances": [{"prompt": "a cat"}]}
WORD = {"content": {"parts": [{"text": "a"}]}}


@pytest.mark.parametrize(
    ("path", "body", "fields", "kept"),
    [
        (f"{FLASH}:countTokens", SAY, "totalTokens", {"totalTokens"}),
        (f"{EMBEDDING}:embedContent", WORD, "embedding/values", {"embedding"}),
        (
            "/v1beta/models/gemini-embedding-2:batchEmbedContents",
            {"requests": [WORD]},
            "usageMetadata",
            {"usageMetadata"},
        ),
        ("/v1beta/models/imagen-4.0-generate-001:predict", PICTURE, "predictions/mimeType", {"predictions"}),
        ("/v1beta/cachedContents", CACHE, "name,expire_time", {"name", "expireTime"}),
        (f"{FLASH}:generateContent", SAY, "modelVersion", {"modelVersion"}),
    ],
)
async def test_partial_responses_of_every_method(world, path, body, fields, kept):
    got = await world.post(f"{path}?fields={fields}", body)
    assert (got.status, set(got.json)) == (200, kept)
    assert all(row.input_tokens > 0 for row in world.ledger.rows)


async def test_a_masked_prediction_keeps_only_what_was_asked_for(world):
    path = "/v1beta/models/imagen-4.0-generate-001:predict?fields=predictions/mimeType&prettyPrint=false"
    got = await world.post(path, PICTURE)
    assert got.content == b'{"predictions": [{"mimeType": "image/png"}]}\n'


async def test_partial_lists(world):
    name = (await world.post("/v1beta/cachedContents", CACHE)).json["name"]
    got = await world.send("GET", "/v1beta/cachedContents?fields=cachedContents/name&prettyPrint=false")
    assert got.content == b'{"cachedContents": [{"name": "' + name.encode() + b'"}]}\n'
    assert (await world.send("GET", f"/v1beta/{name}?fields=name")).json == {"name": name}
    assert (await world.send("GET", "/v1beta/files?fields=files/name")).json == {"files": []}


@pytest.mark.parametrize("method", ["streamGenerateContent", "streamGenerateContent?alt=sse"])
async def test_a_masked_stream_is_framed_like_any(world, method):
    world.emulator.script({"text": "one two", "chunks": 2})
    mark = "&" if "?" in method else "?"
    got = await world.post(f"{FLASH}:{method}{mark}fields=candidates/content/parts/text", SAY)
    chunks = got.events if "sse" in method else got.json
    texts = [part["text"] for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    assert "".join(texts) == "one two"
    assert all(set(chunk) == {"candidates"} for chunk in chunks)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{FLASH}:generateContent", 200),
        ("POST", f"{FLASH}:streamGenerateContent", 200),
        ("POST", f"{FLASH}:streamGenerateContent", 400),
        ("POST", "/v1beta/models/nothing:generateContent", 404),
        ("POST", "/v1beta/tunedModels/x:generateContent", 501),
        ("GET", "/v1beta/models", 200),
        ("GET", "/v1beta/models/gemini-3.8-flash", 200),
        ("GET", "/v1beta/files", 200),
        ("GET", "/v1beta/files/unknown", 404),
    ],
)
async def test_a_key_in_the_address_is_kept_by_nobody(world, caplog, method, path, status):
    """Neither by a cache on the way, nor in a log line, nor in an answer."""
    caplog.set_level(logging.DEBUG)
    body = {"contents": 5} if status == 400 else SAY if method == "POST" else None
    got = await world.send(method, f"{path}?key={KEY}", body)
    assert (got.status, got.headers["cache-control"]) == (status, "no-store")
    assert KEY not in got.content.decode() + json.dumps(dict(got.headers))
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]  # the test's own client
    assert KEY not in " ".join(f"{record.getMessage()} {record.__dict__}" for record in ours)


async def test_live_is_refused_in_googles_words(world):
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    got = await world.send("GET", f"{path}?key={KEY}", headers={"upgrade": "websocket", "connection": "Upgrade"})
    assert (got.status, got.json["error"]["status"]) == (501, "UNIMPLEMENTED")
    assert "not served" in got.json["error"]["message"]
