"""What native clients send goes up, what the upstream says comes down byte by byte, and is paid for."""

import json
import urllib.request

import pytest

from tests.unit.gemini_native.conftest import KEY, OTHER_KEY, UPSTREAM_KEY, serve

MODEL = "/v1beta/models/gemini-3.8-flash"


def say(text="hello", **more):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def directly(world, path, body):
    """The same request at the upstream itself: its bytes."""
    request = urllib.request.Request(
        world.emulator.base_url + path, json.dumps(body).encode(), {"x-goog-api-key": UPSTREAM_KEY}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def same_but_for_ids(got: bytes, wanted: bytes):
    """Every answer of the emulator has an id and signatures of its own, of one length."""
    return len(got) == len(wanted) and got[:120] == wanted[:120]


STEP = {"text": "one <two> three\u2028four \u0085 five", "chunks": 4, "thoughts": "hm"}


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"])
async def test_the_bytes_are_the_upstreams(world, tmp_path, method):
    world.emulator.script(STEP, STEP)
    got = await world.post(f"{MODEL}:{method}", say())
    wanted = directly(world, f"{MODEL}:{method}", say())
    assert got.status == 200
    assert same_but_for_ids(got.content, wanted)


async def test_a_recorded_reply_comes_back_byte_by_byte(world, monkeypatch):
    recorded = (
        b'{ "candidates" : [{"content":{"parts":[{"text":"x","new\\u0041":1e-7}]},"finishReason":"STOP"}],\n"n":1.50}'
    )
    serve(monkeypatch, recorded, "application/json; charset=UTF-8")
    got = await world.post(f"{MODEL}:generateContent", say())
    assert got.content == recorded


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("query", ["", "?alt=sse"])
async def test_a_recorded_stream_comes_back_byte_by_byte_however_it_arrives(world, monkeypatch, query, size):
    first = '{"candidates": [{"content": {"parts": [{"text": "é\u2028 \\" ]}{["}]}}]}'
    last = '{"candidates": [{"finishReason": "STOP"}],"usageMetadata": {"promptTokenCount": 3,"totalTokenCount": 3}}'
    if query:
        recorded, kind = f"data: {first}\r\n\r\ndata: {last}\r\n\r\n".encode(), "text/event-stream"
    else:
        recorded, kind = f"[{first}\n,\r\n{last}\n]".encode(), "application/json; charset=UTF-8"
    serve(monkeypatch, recorded, kind, size)
    got = await world.post(f"{MODEL}:streamGenerateContent{query}", say())
    assert got.content == recorded
    assert got.headers["content-type"] == kind
    assert world.row.input_tokens == 3


async def test_usage_is_the_upstreams(world):
    got = await world.post(
        f"{MODEL}:generateContent", say(generationConfig={"thinkingConfig": {"includeThoughts": True}})
    )
    usage = got.json["usageMetadata"]
    row = world.row
    assert row.input_tokens == usage["promptTokenCount"] > 0
    assert row.output_tokens == usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    assert (row.dialect, row.endpoint, row.stream) == ("gemini_native", "native", False)
    assert (row.status, row.finish_reason, row.state) == (200, "STOP", "done")
    assert row.model_version == got.json["modelVersion"]
    assert float(got.headers["x-gateway-cost-usd"]) == pytest.approx(row.cost_nano / 1e9) != 0


async def test_a_stream_is_metered_by_its_last_chunk(world):
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", say())
    usage = got.events[-1]["usageMetadata"]
    assert (world.row.input_tokens, world.row.stream) == (usage["promptTokenCount"], True)
    assert world.row.output_tokens == usage["totalTokenCount"] - usage["promptTokenCount"]


async def test_audio_and_pictures_are_priced_by_their_modality(world):
    speech = say(
        generationConfig={
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
        }
    )
    await world.post("/v1beta/models/gemini-3.8-flash-tts:generateContent", speech)
    await world.post("/v1beta/models/gemini-3.1-flash-image:generateContent", say("a cat"))
    sound, picture = world.ledger.rows
    assert sound.modalities["out_AUDIO"] == sound.output_tokens > 0
    assert sound.cost_nano == sound.input_tokens * 500 + sound.output_tokens * 9_000
    assert picture.modalities["out_IMAGE"] > 1000
    text = picture.output_tokens - picture.modalities["out_IMAGE"]
    assert picture.cost_nano == picture.input_tokens * 500 + text * 3_000 + picture.modalities["out_IMAGE"] * 60_000


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"{MODEL}:generateContent", {"x-goog-api-key": KEY}),
        (f"{MODEL}:generateContent", {"authorization": f"Bearer {KEY}"}),
        (f"{MODEL}:generateContent?key={KEY}", {}),
    ],
)
async def test_every_form_of_the_key_is_accepted_and_none_goes_up(world, path, headers):
    got = await world.post(path, say(), headers=headers)
    assert got.status == 200
    assert world.sent[-1]["credentials"] == [("x-goog-api-key", UPSTREAM_KEY)]
    assert KEY not in json.dumps(world.sent[-1])
    assert ("no-store" in got.headers.get("cache-control", "")) == ("key=" in path)


async def test_a_key_may_forbid_its_own_use_in_queries(world):
    world.directory.change(allow_query_key=False)
    assert (await world.post(f"{MODEL}:generateContent?key={KEY}", say())).status == 401
    assert (await world.post(f"{MODEL}:generateContent", say())).status == 200


async def test_two_different_keys_are_a_refusal(world):
    got = await world.post(f"{MODEL}:generateContent?key={OTHER_KEY}", say(), headers={"x-goog-api-key": KEY})
    assert (got.status, got.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert world.sent == []


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
async def test_every_version_is_served(world, version):
    assert (await world.post(f"/{version}/models/gemini-3.8-flash:generateContent", say())).status == 200
    assert (await world.post(f"/{version}/models/models%2Fgemini-3.8-flash:generateContent", say())).status == 200
    assert (await world.send("GET", f"/{version}/models")).json["models"][0]["name"].startswith("models/")
    assert (await world.send("GET", f"/{version}/models/gemini-3.8-flash")).json["name"] == "models/gemini-3.8-flash"


async def test_a_dead_model_runs_as_its_successor_and_the_answer_says_so(world):
    got = await world.post(
        "/v1beta/models/gemini-1.5-flash:generateContent", say(generationConfig={"temperature": 0.5})
    )
    assert got.status == 200
    assert world.sent[-1]["path"].endswith("/gemini-3.5-flash-lite:generateContent")
    warnings = got.headers["x-gateway-warnings"].split(",")
    assert warnings == ["model:gemini-3.5-flash-lite", "ignored:generationConfig.temperature"]
    assert world.row.model == "gemini-3.5-flash-lite"


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse"])
async def test_a_model_that_the_upstream_has_withdrawn_runs_as_its_successor(world, method):
    world.emulator.set_state("gemini-2.5-pro", "closed")
    for _ in range(2):
        got = await world.post(f"/v1beta/models/gemini-2.5-pro:{method}", say())
        assert (got.status, got.headers["x-gateway-warnings"]) == (200, "model:gemini-3.8-flash")
    assert [row["status"] for row in world.sent] == [404, 200, 200]


async def test_a_model_that_the_upstream_has_withdrawn_is_prefilled_as_its_successor_is(world):
    world.emulator.set_state("gemini-2.5-flash", "closed")
    body = say()
    body["contents"].append({"role": "model", "parts": [{"text": "Echo"}]})
    for _ in range(2):
        got = await world.post("/v1beta/models/gemini-2.5-flash:generateContent", body)
        assert got.status == 200
    assert [row["status"] for row in world.sent] == [404, 200, 200]


async def test_a_missing_signature_is_repaired_once(world):
    call = {"functionCall": {"name": "f", "args": {}}}
    result = {"functionResponse": {"name": "f", "response": {"x": 1}}}
    body = say() | {"tools": [{"functionDeclarations": [{"name": "f"}]}]}
    body["contents"] += [{"role": "model", "parts": [call]}, {"role": "user", "parts": [result]}]
    got = await world.post(f"{MODEL}:generateContent", body)
    assert (got.status, got.headers["x-gateway-warnings"]) == (200, "repaired:missing_signature")


async def test_a_clients_own_signature_goes_up_untouched(world):
    signature = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I"  # the documented dummy, in unpadded base64
    body = say() | {"tools": [{"function_declarations": [{"name": "f"}]}]}
    body["contents"] += [
        {"role": "model", "parts": [{"function_call": {"name": "f"}, "thought_signature": signature}]},
        {"role": "user", "parts": [{"function_response": {"name": "f", "response": {}}}]},
    ]
    await world.post(f"{MODEL}:generateContent", body)
    assert world.sent[-1]["body"]["contents"][1]["parts"][0]["thoughtSignature"] == signature


async def test_query_options_survive_and_everything_else_stays_behind(world):
    path = f"{MODEL}:generateContent?%24alt=json%3Benum-encoding%3Dint&prettyPrint=false&quotaUser=me&alt=json"
    assert (await world.post(path, say())).status == 200
    assert world.sent[-1]["query"] == {"$alt": "json;enum-encoding=int", "prettyPrint": "false"}


@pytest.mark.parametrize("query", ["alt=proto", "alt=media", "callback=f", "fields=a(b", "%24alt=json%3Bx"])
async def test_forms_that_are_not_served_are_refused(world, query):
    got = await world.post(f"{MODEL}:generateContent?{query}", say())
    assert (got.status, got.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert world.sent == []


async def test_a_partial_response_is_masked_here_and_metered_whole(world):
    got = await world.post(f"{MODEL}:generateContent?fields=candidates(content/parts/text)", say())
    assert list(got.json) == ["candidates"]
    (candidate,) = got.json["candidates"]
    assert set(candidate) == {"content"} and set(candidate["content"]) == {"parts"}
    assert "fields" not in world.sent[-1]["query"]
    assert world.row.input_tokens > 0 and world.row.state == "done"


async def test_the_keys_ceiling_holds(world):
    world.directory.change(max_output_tokens=64)
    await world.post(f"{MODEL}:generateContent", say())
    await world.post(f"{MODEL}:generateContent", say(generation_config={"max_output_tokens": "500"}))
    assert [row["body"]["generationConfig"]["maxOutputTokens"] for row in world.sent] == [64, 64]


@pytest.mark.parametrize("most", [-1, -(10**9), "-5"])
async def test_a_negative_length_reserves_no_less_than_none(world, most):
    got = await world.post(f"{MODEL}:generateContent", say(generationConfig={"maxOutputTokens": most}))
    assert got.status == 400
    await world.post(f"{MODEL}:generateContent", say())
    negative, unsaid = world.ledger.admissions
    assert negative.estimate_nano >= unsaid.estimate_nano > 0 and negative.estimate_tokens > 0


@pytest.mark.parametrize(
    ("asked", "least"),
    [
        ({"tools": [{"google_search": {}}]}, 35_000_000),
        ({"tools": {"googleMaps": {}}}, 35_000_000),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "audio/ogg", "data": "A" * 400_000}}]}]}, 2_900_000),
        (
            {"contents": [{"parts": [{"fileData": {"mimeType": "audio/ogg", "fileUri": "https://a.example/b"}}]}]},
            9_900_000,
        ),
    ],
)
async def test_what_costs_more_than_text_is_reserved_for(world, asked, least):
    """A grounded answer costs more than a dozen of others, sound three times as much as text."""
    path = "/v1beta/models/gemini-2.5-flash:generateContent"
    for body in (say(), say(**asked)):
        assert (await world.post(path, body)).status == 200
    plain, dear = world.ledger.admissions
    assert dear.estimate_nano - plain.estimate_nano >= least


async def test_a_tier_may_be_given_as_its_number(world):
    for tier in ("flex", 3):
        assert (await world.post(f"{MODEL}:generateContent", say(serviceTier=tier))).status == 200
    assert world.sent[-1]["body"]["serviceTier"] == 3
    cheap, numbered = world.ledger.admissions
    assert numbered.estimate_nano > cheap.estimate_nano


async def test_tokens_are_counted_without_a_row(world):
    body = {"generateContentRequest": {"model": "models/gemini-1.5-pro", **say()}}
    got = await world.post("/v1beta/models/gemini-1.5-pro:countTokens", body)
    assert got.json["totalTokens"] > 0
    assert world.sent[-1]["body"]["generateContentRequest"]["model"] == "models/gemini-3.8-flash"
    assert world.ledger.rows == []


@pytest.mark.parametrize("form", ["contents", "generateContentRequest"])
@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("https://example.com/a.png", 200),
        ("https://www.youtube.com/watch?v=x", 200),
        ("http://169.254.169.254/a", 400),
        ("javascript:x", 400),
        ("file-" + "a" * 24, 404),
    ],
)
async def test_links_are_judged_where_tokens_are_counted_too(world, form, uri, status):
    parts = [{"text": "look"}, {"fileData": {"fileUri": uri, "mimeType": "image/png"}}]
    body = {"contents": [{"role": "user", "parts": parts}]}
    counted = await world.post(f"{MODEL}:countTokens", body if form == "contents" else {form: body})
    assert counted.status == status
    assert len(world.sent) == (status == 200)
    assert (await world.post(f"{MODEL}:generateContent", body)).status == status
    cached = await world.post("/v1beta/cachedContents", {**body, "model": "gemini-3.8-flash"})
    assert cached.status == status
    one = {"content": body["contents"][0]}
    for method, asked in (("embedContent", one), ("batchEmbedContents", {"requests": [one]})):
        embedded = await world.post(f"/v1beta/models/gemini-embedding-2:{method}", asked)
        assert embedded.status == status


async def test_ids_are_left_out_for_models_that_refuse_them(world):
    world.emulator.refuse_old_call_ids()
    body = say()
    body["contents"] += [
        {"role": "model", "parts": [{"functionCall": {"id": "a", "name": "f", "args": {"id": "kept"}}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "a", "name": "f", "response": {"id": "kept"}}}]},
    ]
    body["tools"] = [{"functionDeclarations": [{"name": "f"}]}]
    got = await world.post("/v1beta/models/gemini-2.5-flash:generateContent", body)
    assert got.status == 200
    call, result = (turn["parts"][0] for turn in world.sent[-1]["body"]["contents"][1:])
    assert call["functionCall"] == {"name": "f", "args": {"id": "kept"}}
    assert result["functionResponse"] == {"name": "f", "response": {"id": "kept"}}
