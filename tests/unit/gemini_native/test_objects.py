"""Files and cached contents stand in one shared project, and every account sees its own only."""

import json
import time

import pytest
from msgspec import structs

from infra.local.emulator import errors, stored
from shared.stores.protocols import Credential
from tests.unit.gemini_native.conftest import KEY, OTHER_KEY, UPSTREAM_KEY

OTHER = {"x-goog-api-key": OTHER_KEY}


async def uploaded(world, data=b"some text", name=None, headers=None):
    start = {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(len(data)),
        "x-goog-upload-header-content-type": "text/plain",
        **(headers or {}),
    }
    began = await world.post("/upload/v1beta/files", {"file": {"displayName": "notes"}}, headers=start)
    assert began.status == 200, began.content
    url = began.headers["x-goog-upload-url"]
    assert url.startswith("http://gateway/upload/v1beta/files?upload_id=")
    piece = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0", "content-type": "text/plain"}
    done = await world.http.post(url, content=data, headers=piece)
    assert (done.status_code, done.headers["x-goog-upload-status"]) == (200, "final"), done.content
    return done.json()["file"]


def asking(file, **more):
    parts = [{"file_data": {"file_uri": file["uri"], "mime_type": file["mimeType"]}}, {"text": "what is this"}]
    return {"contents": [{"role": "user", "parts": parts}], **more}


async def test_a_file_is_uploaded_read_listed_and_deleted(world):
    file = await uploaded(world)
    assert (file["displayName"], file["sizeBytes"]) == ("notes", "9")
    assert (await world.send("GET", f"/v1beta/{file['name']}")).json == file
    assert (await world.send("GET", "/v1beta/files")).json == {"files": [file]}
    assert (await world.post("/v1beta/models/gemini-3.8-flash:generateContent", asking(file))).status == 200
    assert (await world.send("DELETE", f"/v1beta/{file['name']}")).status == 200
    assert (await world.send("GET", f"/v1beta/{file['name']}")).status == 404
    assert (await world.send("GET", "/v1beta/files")).json == {"files": []}


async def test_a_whole_upload_in_one_request(world):
    body = b"--B\r\nContent-Type: application/json\r\n\r\n{}\r\n--B\r\nContent-Type: text/plain\r\n\r\nhi\r\n--B--\r\n"
    headers = {"x-goog-upload-protocol": "multipart", "content-type": "multipart/related; boundary=B"}
    got = await world.post("/upload/v1beta/files", body, headers=headers)
    assert (await world.send("GET", f"/v1beta/{got.json['file']['name']}")).status == 200


async def test_another_accounts_file_is_an_unknown_file(world):
    file = await uploaded(world)
    before = len(world.sent)
    foreign = await world.send("GET", f"/v1beta/{file['name']}", headers=OTHER)
    unknown = await world.send("GET", "/v1beta/files/no-such", headers=OTHER)
    assert foreign.status == unknown.status == 404 and foreign.content == unknown.content
    assert (await world.send("DELETE", f"/v1beta/{file['name']}", headers=OTHER)).status == 404
    assert (await world.send("GET", "/v1beta/files", headers=OTHER)).json == {"files": []}
    for method in ("generateContent", "streamGenerateContent?alt=sse", "countTokens"):
        path = f"/v1beta/models/gemini-3.8-flash:{method}"
        assert (await world.post(path, asking(file), headers=OTHER)).status == 404
    assert len(world.sent) == before and world.ledger.rows == []


FORMS = [
    "files/{}",
    "https://generativelanguage.googleapis.com/v1beta/files/{}",
    "https://generativelanguage.googleapis.com/v1beta/files/{}:download?alt=media",
    "https://generativelanguage.googleapis.com/download/v1beta/files/{}:download?alt=media",
    "HTTPS://GenerativeLanguage.googleapis.com/v1beta/files/{}#1",
]


@pytest.mark.parametrize("form", FORMS)
async def test_a_foreign_file_cannot_be_embedded(world, form):
    content = {"parts": [{"fileData": {"fileUri": form.format("abc"), "mimeType": "image/png"}}]}
    path = "/v1beta/models/gemini-embedding-2"
    one = await world.post(f"{path}:embedContent", {"content": content})
    several = await world.post(f"{path}:batchEmbedContents", {"requests": [{"content": content}]})
    assert (one.status, several.status) == (404, 404)
    assert world.sent == [] and world.ledger.rows == []


@pytest.mark.parametrize("form", FORMS)
async def test_a_foreign_file_is_found_wherever_it_stands(world, form):
    part = {"fileData": {"fileUri": form.format("abc")}}
    nested = {"functionResponse": {"name": "f", "response": {}, "parts": [part]}}
    for body in ({"contents": [{"parts": [nested]}]}, {"systemInstruction": {"parts": [part]}}):
        got = await world.post("/v1beta/models/gemini-3.8-flash:generateContent", body)
        assert got.status == 404
    assert world.sent == []


async def test_a_public_link_is_nobodys_file(world):
    part = {"fileData": {"fileUri": "https://example.com/v1beta/files/abc", "mimeType": "image/png"}}
    got = await world.post("/v1beta/models/gemini-3.8-flash:generateContent", {"contents": [{"parts": [part]}]})
    assert got.status == 200


async def test_a_request_goes_to_the_project_of_its_file(world):
    file = await uploaded(world)
    world.secrets.credentials = [Credential("second", "another-key", weight=1000), *world.secrets.credentials]
    for _ in range(5):
        assert (await world.send("GET", f"/v1beta/{file['name']}")).status == 200
        assert (await world.post("/v1beta/models/gemini-3.8-flash:generateContent", asking(file))).status == 200
    assert {row["credentials"][0][1] for row in world.sent} == {"upstream-credential-canary"}


@pytest.mark.parametrize("variant", ["short", "per-minute", "per-day"])
async def test_a_quota_of_files_stops_no_model(world, monkeypatch, variant):
    file = await uploaded(world)

    def spent(*asked):
        raise errors.quota(variant, None, "")

    with monkeypatch.context() as patch:
        patch.setattr(stored, "_own", spent)
        assert (await world.send("GET", f"/v1beta/{file['name']}")).status == 429
    assert (await world.post("/v1beta/models/gemini-3.8-flash:generateContent", asking(file))).status == 200
    assert (await world.send("GET", f"/v1beta/{file['name']}")).status == 429  # files rest


async def test_a_cache_that_is_too_large_stops_no_model(world, monkeypatch):
    text = "TotalCachedContentStorageTokensPerModelFreeTier limit exceeded for model x: limit=1, requested=2"

    def full(*asked):
        raise errors.Refusal(429, text)

    monkeypatch.setattr(stored.Stored, "_cache", full)
    body = {"contents": [{"parts": [{"text": "long"}]}]}
    assert (await world.post("/v1beta/cachedContents", {**body, "model": "gemini-3.8-flash"})).status == 429
    assert (await world.post("/v1beta/models/gemini-3.8-flash:generateContent", body)).status == 200


async def test_a_file_that_is_too_large_is_refused_before_its_first_byte(world):
    start = {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": "50000000",
        "x-goog-api-client": "google-genai-sdk/3.1.0 gl-node/v20.19.0",  # sends all pieces to the gateway
    }
    got = await world.post("/upload/v1beta/files", {"file": {}}, headers=start)
    assert got.status == 413 and "bytes" in got.json["error"]["message"]
    assert world.sent == []


async def test_a_piece_of_no_session_ends_the_upload(world):
    for upload_id in ("x", f"{'K' * 16}.guessed", "../x"):
        url = f"/upload/v1beta/files?upload_id={upload_id}"
        got = await world.post(
            url, b"data", headers={"x-goog-upload-command": "upload, finalize", "x-goog-api-key": KEY}
        )
        assert (got.status, got.headers["x-goog-upload-status"]) == (404, "final")
        assert got.json["error"]["message"].startswith("The upload does not exist")
    assert world.sent == []


@pytest.mark.parametrize("length", ["abc", "-1", "5.5", "", "1e9"])
async def test_a_length_that_is_none_is_refused_here(world, length):
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    headers = {**start, "x-goog-upload-header-content-length": length}
    got = await world.post("/upload/v1beta/files", {"file": {}}, headers=headers)
    assert (got.status, got.json["error"]["status"], world.sent) == (400, "INVALID_ARGUMENT", [])


async def test_the_address_of_an_upload_at_google_is_not_shown(world):
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    got = await world.post("/upload/v1beta/files", {"file": {}}, headers=start)
    port = world.emulator.base_url.rpartition(":")[2]
    assert port not in json.dumps(dict(got.headers))


async def test_cached_contents_are_booked_on_the_project_that_keeps_them(world):
    world.secrets.credentials = [Credential("first", UPSTREAM_KEY, project="team-a")]
    body = {"model": "models/gemini-3.5-flash-lite", "contents": [{"parts": [{"text": "long"}]}], "ttl": "60s"}
    assert (await world.post("/v1beta/cachedContents", body)).status == 200
    assert world.row.projects == {"team-a": world.row.cost_nano}
    assert (world.row.credential_id, world.row.attempts) == ("first", 1)


async def test_cached_contents_cost_what_the_model_that_runs_does(world, monkeypatch):
    """Google runs and bills 3.6 for 3.5 Flash, at half of its price; the reply names no version."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_000_000_000_000_000)  # in November 2026
    body = {"model": "models/gemini-3.5-flash", "contents": [{"parts": [{"text": "long"}]}], "ttl": "60s"}
    assert (await world.post("/v1beta/cachedContents", body)).status == 200
    assert (world.row.model, world.row.model_version) == ("gemini-3.5-flash", "gemini-3.6-flash")
    assert world.row.cost_nano == 4096 * 750


KEPT = {"model": "models/gemini-3.5-flash-lite", "contents": [{"parts": [{"text": "long"}]}]}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"tools": [{"code_execution": {}}]}, 403),
        ({"tools": [{"functionDeclarations": [{"name": f"f{number}"} for number in range(513)]}]}, 400),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"enum": ["x"] * 1_001}}]}]}, 400),
        ({"api_base": "http://127.0.0.1"}, 400),
    ],
    ids=["code", "tools", "schema", "routing"],
)
async def test_what_no_request_may_say_cannot_be_kept_for_later_ones(world, more, status):
    world.directory.change(code_exec=False)
    assert (await world.post("/v1beta/cachedContents", KEPT | more)).status == status
    assert (world.sent, world.ledger.admissions) == ([], [])


async def test_a_cached_content_is_made_once_for_each_idempotency_key(world):
    named = {"idempotency-key": "once", "x-goog-api-key": KEY}
    for _ in range(2):
        assert (await world.post("/v1beta/cachedContents", KEPT, headers=named)).status == 200
    first, second = world.ledger.admissions  # a real ledger refuses the second
    assert first.rid == second.rid
    assert first.body_sha is not None and first.body_sha == second.body_sha


async def test_cached_contents_live_under_their_account(world):
    body = {"model": "models/gemini-1.5-flash", "contents": [{"parts": [{"text": "long"}]}], "ttl": "60s"}
    made = await world.post("/v1beta/cachedContents", body)
    name = made.json["name"]
    assert (made.status, made.json["model"]) == (200, "models/gemini-3.5-flash-lite")
    assert world.row.input_tokens == made.json["usageMetadata"]["totalTokenCount"] == 4096
    assert world.row.cost_nano == 4096 * 300
    assert (await world.send("GET", f"/v1beta/{name}")).json["name"] == name
    assert [row["name"] for row in (await world.send("GET", "/v1beta/cachedContents")).json["cachedContents"]] == [name]
    changed = await world.send(
        "PATCH", f"/v1beta/{name}?updateMask=expireTime", {"expire_time": "2030-01-01T00:00:00Z"}
    )
    assert changed.json["expireTime"] == "2030-01-01T00:00:00Z"
    use = {"contents": [{"parts": [{"text": "q"}]}], "cachedContent": name}
    path = "/v1beta/models/gemini-3.5-flash-lite:generateContent"
    assert (await world.post(path, use)).json["usageMetadata"]["cachedContentTokenCount"] == 4096
    assert world.ledger.rows[-1].cached_tokens == 4096
    assert (await world.post(path, use, headers=OTHER)).status == 404
    assert (await world.send("DELETE", f"/v1beta/{name}", headers=OTHER)).status == 404
    assert (await world.send("DELETE", f"/v1beta/{name}")).status == 200
    assert (await world.post(path, use)).status == 404


async def test_what_cannot_be_recorded_does_not_stay_at_google(world):
    """Nobody could use it, change it or end it, and a cached content costs by the hour."""
    world.owned.read_only = True
    assert (await world.post("/v1beta/cachedContents", KEPT)).status == 503
    assert world.row.cost_nano == 4096 * 300  # it was made, and read once
    world.owned.read_only = False
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    url = (await world.post("/upload/v1beta/files", {"file": {}}, headers=start)).headers["x-goog-upload-url"]
    world.owned.read_only = True
    piece = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0", "content-type": "text/plain"}
    assert (await world.post(url, "words", headers=piece)).status == 503
    assert [one["path"].split("/")[2] for one in world.sent if one["method"] == "DELETE"] == ["cachedContents", "files"]
    assert world.emulator.state.stored.files == {}
    assert world.emulator.state.stored.caches == {}


async def test_pages_hold_the_accounts_own(world):
    names = sorted([(await uploaded(world))["name"] for _ in range(5)])
    await uploaded(world, headers=OTHER)
    seen, token = [], ""
    while True:
        page = (await world.send("GET", f"/v1beta/files?pageSize=2&pageToken={token}")).json
        seen += [file["name"] for file in page["files"]]
        if not (token := page.get("nextPageToken", "")):
            break
    assert seen == names


async def test_an_object_that_is_gone_upstream_is_forgotten(world):
    file = await uploaded(world)
    world.emulator.state.stored.reset()
    assert (await world.send("GET", f"/v1beta/{file['name']}")).status == 404
    assert world.owned.items == {}


def test_an_owned_object_does_not_show_its_address():
    from shared.stores.protocols import OwnedObject

    shown = repr(structs.replace(OwnedObject("uploads/x", "first", 1), url="https://secret"))
    assert "secret" not in shown
