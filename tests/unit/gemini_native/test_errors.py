"""Failures in Google's shape, rebuilt: before the answer, in its middle, and ours."""

import json

import pytest

from shared.dialects.gemini_native.errors import WIRE, error_body, render_error, unimplemented
from shared.errors import ERROR_KINDS, GatewayError
from tests.unit.gemini_native.conftest import KEY, OTHER_KEY, UPSTREAM_KEY

MODEL = "/v1beta/models/gemini-3.8-flash"
SAY = {"contents": [{"parts": [{"text": "hello"}]}]}


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_every_kind_is_a_google_status(kind):
    status, body, _ = render_error(GatewayError(kind, "What went wrong."), "id")
    error = body["error"]
    assert error["code"] == status == WIRE[kind].status
    assert error["message"].startswith("What went wrong.") and error["status"].isupper()


def test_details_tell_how_long_and_where():
    limited = error_body(GatewayError("rate_limited", "Slow down.", retry_after=34.4), "")["error"]
    kinds = {item["@type"].rpartition(".")[2]: item for item in limited["details"]}
    assert kinds["RetryInfo"]["retryDelay"] == "34.4s"
    assert kinds["QuotaFailure"]["violations"][0]["quotaId"]
    spent = error_body(GatewayError("budget_exhausted", "Spent."), "")["error"]["details"]
    assert [item["@type"].rpartition(".")[2] for item in spent] == ["QuotaFailure"]
    (bad,) = error_body(GatewayError("invalid_request", "No.", param="contents[0].parts"), "")["error"]["details"]
    assert bad["fieldViolations"] == [{"field": "contents[0].parts", "description": "No."}]


@pytest.mark.parametrize("kind", ["idempotency_running", "idempotency_done", "idempotency_mismatch"])
def test_a_repeated_request_is_not_to_be_repeated_again(kind):
    assert render_error(GatewayError(kind, "Again."), "id")[2]["x-should-retry"] == "false"


def test_what_cannot_exist_is_unimplemented():
    status, body, _ = render_error(unimplemented("Live"), "id")
    assert (status, body["error"]["status"]) == (501, "UNIMPLEMENTED")


@pytest.mark.parametrize(
    ("step", "status", "word"),
    [
        ({"error": {"status": 400, "kind": "unknown_field"}}, 400, "INVALID_ARGUMENT"),
        ({"error": {"status": 400, "kind": "key"}}, 502, "UNAVAILABLE"),
        ({"error": {"status": 403, "kind": "leaked"}}, 502, "UNAVAILABLE"),
        ({"error": {"status": 429, "kind": "per-day"}}, 429, "RESOURCE_EXHAUSTED"),
        ({"error": 500, "times": 3}, 500, "INTERNAL"),
        ({"error": 503, "times": 3}, 503, "UNAVAILABLE"),
        ({"error": 504, "times": 3}, 504, "DEADLINE_EXCEEDED"),
    ],
)
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"])
async def test_a_refusal_of_the_upstream_keeps_its_meaning_and_costs_nothing(world, method, step, status, word):
    world.emulator.script(step)
    got = await world.post(f"{MODEL}:{method}", SAY)
    body = got.json[0] if method == "streamGenerateContent" else got.json
    assert (got.status, body["error"]["status"], body["error"]["code"]) == (status, word, status)
    assert got.headers["content-type"].startswith("application/json")
    assert UPSTREAM_KEY not in got.content.decode()
    assert (world.row.status, world.row.cost_nano, world.row.state) == (status, 0, "void")


@pytest.mark.parametrize("body", ['{"candidates": [{"con', "[1]", "", "<html>"])
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"])
async def test_a_200_that_cannot_be_read_costs_its_prompt(world, method, body):
    kind = "text/event-stream" if "alt=sse" in method else "application/json"
    text = f"data: {body}\r\n\r\n" if "alt=sse" in method and body else body
    world.emulator.script({"raw": {"type": kind, "body": text}})
    got = await world.post(f"{MODEL}:{method}", SAY)
    assert got.status == 502
    row = world.row
    assert (row.status, row.state, row.estimated, row.output_tokens) == (502, "estimated", True, 0)
    assert row.input_tokens > 0 and row.cost_nano > 0


@pytest.mark.parametrize("step", [{"cut_after": 1}, {"reset_after": 1}])
async def test_a_plain_answer_that_breaks_off_costs_its_prompt(world, step):
    world.emulator.script(step)
    got = await world.post(f"{MODEL}:generateContent", SAY)
    assert got.status == 502
    assert (world.row.state, world.row.output_tokens) == ("estimated", 0) and world.row.cost_nano > 0


async def test_another_status_costs_nothing(world):
    world.emulator.script({"raw": {"status": 302, "body": ""}})
    got = await world.post(f"{MODEL}:generateContent", SAY)
    assert (got.status, world.row.state, world.row.cost_nano) == (502, "void", 0)


async def test_a_passing_trouble_is_tried_again(world):
    world.emulator.script({"error": 503}, {"text": "fine"})
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", SAY)
    assert got.status == 200 and b"fine" in got.content
    assert world.row.attempts == 2


@pytest.mark.parametrize("form", ["bare", "data"])
async def test_an_error_in_mid_stream_ends_it_in_both_forms(world, form):
    world.emulator.script({"text": "a b c d", "chunks": 4, "error_after": {"chunks": 2, "form": form, "status": 503}})
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", SAY)
    assert got.status == 200
    *chunks, bare, last = got.events
    assert len(chunks) == 2 and all("candidates" in chunk for chunk in chunks)
    raw, event = got.content.split(b"\r\n\r\n")[2:4]
    assert bare == last and event == b"data: " + raw
    assert (last["error"]["code"], last["error"]["status"]) == (503, "UNAVAILABLE")
    assert world.row.state == "partial"


async def test_an_error_in_an_array_leaves_whole_json(world):
    world.emulator.script(
        {"text": "a b c d", "chunks": 4, "error_after": {"chunks": 2, "form": "array", "status": 503}}
    )
    got = await world.post(f"{MODEL}:streamGenerateContent", SAY)
    *chunks, last = got.json
    assert len(chunks) == 2 and last["error"]["code"] == 503


@pytest.mark.parametrize("query", ["", "?alt=sse"])
@pytest.mark.parametrize("fault", [{"cut_after": 2}, {"reset_after": 2}])
async def test_a_stream_that_breaks_off_says_so(world, query, fault):
    world.emulator.script({"text": "a b c d", "chunks": 4, **fault})
    got = await world.post(f"{MODEL}:streamGenerateContent{query}", SAY)
    last = (got.events if query else got.json)[-1]
    assert last["error"]["status"] == "UNAVAILABLE"
    assert world.row.state == "partial" and world.row.finish_reason.startswith("upstream_")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{MODEL}:bogus", 404),
        ("POST", f"{MODEL}:predictLongRunning", 501),
        ("POST", f"{MODEL}:batchGenerateContent", 501),
        ("POST", "/v1beta/models/no-such:generateContent", 404),
        ("POST", "/v1beta/models/..%2F..%2Fx:generateContent", 404),
        ("POST", "/v1beta/models/gemini-3.8-flash%3Fx:generateContent", 404),
        ("POST", "/v1beta/tunedModels/mine:generateContent", 501),
        ("GET", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", 501),
        ("GET", "/v1beta/batches", 501),
        ("PUT", f"{MODEL}", 405),
        ("GET", "/v1beta/nothing", 404),
    ],
)
async def test_what_is_not_here_is_said_in_googles_shape(world, method, path, status):
    got = await world.send(method, path, SAY if method == "POST" else None)
    error = got.json["error"]
    assert (got.status, error["code"]) == (status, status)
    assert set(error) <= {"code", "message", "status", "details"}
    assert world.sent == [] and world.ledger.rows == []


@pytest.mark.parametrize("name", ["gemini-3.8-flash", "gemini-3.8-flash/generateContent", ":generateContent"])
async def test_a_path_without_model_or_method_says_what_it_lacks(world, name):
    """Not that a model without a name does not exist."""
    got = await world.post(f"/v1beta/models/{name}", SAY)
    assert (got.status, got.json["error"]["status"]) == (404, "NOT_FOUND")
    assert "has to end in a model and a method" in got.json["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/batches/batch_1/cancel"])
async def test_a_path_that_googles_v1_shares_with_openai_is_refused_in_the_clients_words(world, path):
    """A 501 in Google's shape was asked for again by OpenAI's SDKs, and read as a fault of the server."""
    bearer = {"authorization": f"Bearer {KEY}"}
    got = await world.send("POST", path, {}, headers=bearer)
    assert (got.status, got.json["error"]["code"], got.json["error"]["type"]) == (
        404,
        "not_found",
        "invalid_request_error",
    )
    assert "is not served by this gateway" in got.json["error"]["message"]
    got = await world.send("POST", path, {}, headers={**bearer, "anthropic-version": "2023-06-01"})
    assert (got.status, got.json["error"]["type"]) == (404, "not_found_error")
    got = await world.send("POST", path, {}, headers={"x-goog-api-key": KEY})
    assert (got.status, got.json["error"]["status"]) == (501, "UNIMPLEMENTED")


async def test_an_unknown_key_reaches_nothing(world):
    for path in (f"{MODEL}:generateContent", "/v1beta/tunedModels/x:generateContent", "/v1beta/files"):
        got = await world.send("POST" if ":" in path else "GET", path, SAY, headers={"x-goog-api-key": "AIza-wrong"})
        assert (got.status, got.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert world.sent == []


async def test_a_model_outside_the_keys_scope_is_an_unknown_one(world):
    world.directory.change(models=("gemini-3.8-*",))
    outside = await world.post("/v1beta/models/gemini-3.6-flash:generateContent", SAY)
    unknown = await world.post("/v1beta/models/gemina-3.6-flash:generateContent", SAY)
    assert outside.status == unknown.status == 404
    assert outside.content.replace(b"gemini", b"") == unknown.content.replace(b"gemina", b"")
    listed = (await world.send("GET", "/v1beta/models?pageSize=1000")).json["models"]
    assert {row["baseModelId"] for row in listed} == {"gemini-3.8-flash"} | {
        row["baseModelId"] for row in listed if row["baseModelId"].startswith("gemini-3.8-")
    }


async def test_model_pages_follow_each_other(world):
    names, token = [], ""
    while True:
        page = (await world.send("GET", f"/v1beta/models?pageSize=7&pageToken={token}")).json
        names += [row["name"] for row in page["models"]]
        if not (token := page.get("nextPageToken", "")):
            break
    everything = (await world.send("GET", "/v1/models?pageSize=1000")).json["models"]
    assert names == [row["name"] for row in everything] and len(names) == len(set(names)) > 7
    assert (await world.send("GET", "/v1beta/models?pageToken=x")).status == 400


@pytest.mark.parametrize(
    "body",
    [
        {"contents": "text"},
        {"contents": [{"parts": [{"inlineData": "x"}]}]},
        {"contents": [{"parts": [{"inlineData": {"data": 1}}]}]},
        {"generationConfig": {"maxOutputTokens": [1]}},
        {"generationConfig": {"maxOutputTokens": "many"}},
        {"generationConfig": {"temperature": True}},
        {"generationConfig": {"temperature": 3}},
        {"generationConfig": {"topP": "1.5"}},
        {"generationConfig": {}, "generation_config": {}},
        {"tools": [{"functionDeclarations": [{"name": "f", "parameters": [1]}]}]},
        {"safetySettings": [1]},
        {"serviceTier": []},
    ],
)
async def test_a_body_that_cannot_be_read_names_the_field(world, body):
    got = await world.post(f"{MODEL}:generateContent", {**SAY, **body})
    assert got.status == 400
    (detail,) = got.json["error"]["details"]
    assert detail["fieldViolations"][0]["field"]
    assert world.sent == [] and world.ledger.rows == []


@pytest.mark.parametrize("uri", ["http://[", "https://[::1", "https://[x]/a.png"])
async def test_a_link_that_is_none_is_refused(world, uri):
    parts = [{"text": "look"}, {"fileData": {"fileUri": uri}}]
    got = await world.post(f"{MODEL}:generateContent", {"contents": [{"parts": parts}]})
    assert (got.status, world.sent) == (400, [])
    assert got.json["error"]["details"][0]["fieldViolations"][0]["field"] == "contents[0].parts[1].fileData.fileUri"


@pytest.mark.parametrize("system", ["be nice", {"parts": None}, ["x"]])
async def test_what_stands_beside_the_contents_to_count_is_the_upstreams_to_refuse(world, system):
    got = await world.post(f"{MODEL}:countTokens", {**SAY, "systemInstruction": system})
    assert (got.status, got.json["error"]["status"], len(world.sent)) == (400, "INVALID_ARGUMENT", 1)


async def test_values_that_only_look_like_media_are_no_trouble(world):
    call = {"functionCall": {"name": "f", "args": {"inlineData": "x", "fileData": 3}}}
    body = {"contents": [*SAY["contents"], {"role": "model", "parts": [call]}, {"parts": [{"text": "go on"}]}]}
    got = await world.post("/v1beta/models/gemini-2.5-flash:generateContent", body)
    assert got.status in (200, 400), got.content


async def test_an_unknown_field_is_the_upstreams_to_refuse(world):
    got = await world.post(f"{MODEL}:generateContent", {**SAY, "not_a_field": 1})
    assert got.status == 400 and "not_a_field" in got.json["error"]["message"]
    assert json.loads(world.sent[-1]["raw"])["not_a_field"] == 1


async def test_another_keys_row_is_its_own(world):
    await world.post(f"{MODEL}:generateContent", SAY, headers={"x-goog-api-key": OTHER_KEY})
    assert world.row.acct == "L" * 16
