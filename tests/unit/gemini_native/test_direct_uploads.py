"""Files larger than a function takes: the client sends them to the upstream itself, and they are its account's."""

import base64
import json

import httpx
import pytest

from shared.gateway.settings import MAX_BODY_BYTES, Settings
from shared.stores.protocols import Credential
from tests.unit.gemini_native.conftest import KEY, OTHER_KEY, UPSTREAM_KEY, opened

OTHER = {"x-goog-api-key": OTHER_KEY}
LARGE = b"0123456789abcdef" * (6 * 1024 * 64)  # 6 MiB
ASK = "/v1beta/models/gemini-3.8-flash:generateContent"
PYTHON = "google-genai-sdk/3.4.0 gl-python/3.13.1"
JAVASCRIPT = "google-genai-sdk/3.1.0 gl-node/v20.19.0"


def start_headers(**more):
    return {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(len(LARGE)),
        "x-goog-upload-header-content-type": "text/plain",
        "x-goog-upload-file-name": "large.txt",
        **more,
    }


async def started(world, headers=None, body=None):
    body = {"file": {"displayName": "large"}} if body is None else body
    return await world.post("/upload/v1beta/files?uploadType=media", body, headers=start_headers(**(headers or {})))


async def sent(url, data=LARGE):
    """The pieces as Google's Python SDK sends them: to the address itself, with no key."""
    piece = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    async with httpx.AsyncClient() as http:
        answer = await http.post(url, content=data, headers=piece)
    assert (answer.status_code, answer.headers["x-goog-upload-status"]) == (200, "final"), answer.content
    return answer.json()["file"]


def asking(file):
    part = {"fileData": {"fileUri": file["uri"], "mimeType": file["mimeType"]}}
    return {"contents": [{"role": "user", "parts": [part, {"text": "what is this"}]}]}


async def test_a_large_file_goes_past_the_gateway_and_is_its_accounts(world):
    began = await started(world, {"x-goog-api-client": PYTHON})
    assert (began.status, began.headers["x-goog-upload-status"]) == (200, "active")
    assert int(began.headers["x-goog-upload-chunk-granularity"]) > 0
    url = began.headers["x-goog-upload-url"]
    assert url.startswith(f"{world.emulator.base_url}/upload/v1beta/files?upload_id=")
    assert UPSTREAM_KEY not in json.dumps(dict(began.headers)) + began.content.decode()
    file = await sent(url)
    assert (file["displayName"], file["sizeBytes"], file["mimeType"]) == ("large", str(len(LARGE)), "text/plain")
    assert (await world.send("GET", f"/v1beta/{file['name']}")).json == file
    assert (await world.send("GET", "/v1beta/files")).json == {"files": [file]}
    assert (await world.post(ASK, asking(file))).status == 200
    assert world.row.status == 200 and world.row.input_tokens > 0
    assert (await world.send("DELETE", f"/v1beta/{file['name']}")).status == 200
    assert (await world.send("GET", f"/v1beta/{file['name']}")).status == 404
    assert world.owned.items == {}


async def test_the_upstream_sees_one_credential_and_the_gateways_name(world):
    began = await started(world)
    file = await sent(began.headers["x-goog-upload-url"])
    start, piece = world.sent
    assert start["credentials"] == [("x-goog-api-key", UPSTREAM_KEY)] and piece["credentials"] == []
    assert json.loads(start["raw"]) == {"file": {"displayName": "large", "name": file["name"]}}
    assert start["query"] == {} and start["headers"]["x-goog-upload-file-name"] == "large.txt"
    assert (piece["headers"].get("x-goog-api-key"), len(file["name"])) == (None, len("files/") + 32)


async def test_the_file_stays_with_the_credential_that_began_it(world):
    world.secrets.credentials.append(Credential("second", "another-credential"))
    keys = {"first": UPSTREAM_KEY, "second": "another-credential"}
    for _ in range(10):
        file = await sent((await started(world)).headers["x-goog-upload-url"])
        assert (await world.post(ASK, asking(file))).status == 200
        credential = keys[world.owned.items["K" * 16, file["name"]].credential_id]
        start, _, asked = world.sent[-3:]
        assert start["credentials"] == asked["credentials"] == [("x-goog-api-key", credential)]


async def test_another_account_sees_nothing_of_it(world):
    file = await sent((await started(world)).headers["x-goog-upload-url"])
    before = len(world.sent)
    for method in ("GET", "DELETE"):
        assert (await world.send(method, f"/v1beta/{file['name']}", headers=OTHER)).status == 404
    assert (await world.send("GET", "/v1beta/files", headers=OTHER)).json == {"files": []}
    assert (await world.post(ASK, asking(file), headers=OTHER)).status == 404
    assert len(world.sent) == before


async def test_an_upload_on_its_way_is_unknown_and_not_forgotten(world):
    url = (await started(world)).headers["x-goog-upload-url"]
    ((_, name),) = world.owned.items
    assert (await world.send("GET", "/v1beta/files")).json == {"files": []}
    assert (await world.send("GET", f"/v1beta/{name}")).status == 404
    assert (await world.send("DELETE", f"/v1beta/{name}")).status == 404
    file = await sent(url)
    assert (await world.send("GET", "/v1beta/files")).json == {"files": [file]}
    world.emulator.state.stored.reset()  # seen once, it is forgotten like any other
    assert (await world.send("GET", f"/v1beta/{name}")).status == 404
    assert world.owned.items == {}


async def test_what_the_gateway_carries_it_carries(world):
    for size in (1, MAX_BODY_BYTES):
        url = (await started(world, {"x-goog-upload-header-content-length": str(size)})).headers["x-goog-upload-url"]
        assert url.startswith("http://gateway/upload/v1beta/files?upload_id=")
    url = (await started(world, {"x-goog-upload-header-content-length": str(MAX_BODY_BYTES + 1)})).headers
    assert url["x-goog-upload-url"].startswith(world.emulator.base_url)


async def test_a_name_of_the_clients_choice_could_be_somebody_elses(world):
    for body in ({"file": {"name": "files/theirs"}}, {"file": "files/theirs"}, {"file": ["name"]}):
        got = await started(world, body=body)
        assert got.status == 400 and "file" in got.content.decode()
    assert world.sent == [] and world.owned.items == {}


@pytest.mark.parametrize("body", [b"", {}, {"file": None}, {"file": {"name": ""}}])
async def test_a_start_may_say_nothing_of_the_file(world, body):
    got = await started(world, body=body)
    assert got.status == 200
    assert json.loads(world.sent[0]["raw"])["file"]["name"] in {name for _, name in world.owned.items}


@pytest.mark.parametrize("sdk", [JAVASCRIPT, "google-genai-sdk/1.40.0 gl-go/go1.25", "gl-java/21"])
async def test_an_sdk_that_sends_pieces_elsewhere_or_with_its_key_gets_no_address(world, sdk):
    got = await started(world, {"x-goog-api-client": sdk})
    assert got.status == 413 and str(MAX_BODY_BYTES) in got.json["error"]["message"]
    assert world.sent == [] and world.owned.items == {}


@pytest.mark.parametrize("sdk", [JAVASCRIPT, PYTHON])
async def test_where_the_pieces_of_the_sdks_fit_they_come_through_the_gateway(running_emulator, sdk):
    running_emulator.reset()
    async with opened(running_emulator, Settings(max_body_bytes=8 * 1024 * 1024)) as world:
        size = {"x-goog-upload-header-content-length": "500000000", "x-goog-api-client": sdk}
        url = (await started(world, size)).headers["x-goog-upload-url"]
        assert url.startswith("http://gateway/upload/v1beta/files?upload_id=")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-goog-upload-protocol": "multipart"},
        {"x-goog-upload-command": "start, upload, finalize"},
        {"x-goog-upload-header-content-length": "9" * 5000},
    ],
)
async def test_what_is_no_start_of_a_session_is_too_large(world, headers):
    got = await started(world, headers)
    assert got.status == 413 and world.sent == []


async def test_a_start_needs_a_key(world):
    got = await started(world, {"x-goog-api-key": KEY[:-1] + "x"})
    assert got.status in (400, 401) and world.sent == []


async def test_a_refused_start_leaves_nothing_on_record(world):
    world.secrets.credentials = [Credential("first", "an-invalid-key")]
    got = await started(world)
    assert got.status >= 400 and "x-goog-upload-url" not in got.headers
    assert len(world.sent) == 1 and world.owned.items == {}


@pytest.mark.parametrize(
    "url",
    [
        "https://example.net/upload/v1beta/files?upload_id=x",
        "{base}/upload/v1beta/files?key=other&upload_id=x",
        "{base}/upload/v1beta/files?upload_id={key}",
        "{base}/upload/v1beta/files?upload_id={key64}",
        "",
    ],
)
async def test_an_address_that_tells_too_much_is_kept_back(world, monkeypatch, url):
    key64 = base64.urlsafe_b64encode(UPSTREAM_KEY.encode()).decode()
    said = url.format(base=world.emulator.base_url, key=UPSTREAM_KEY, key64=key64)
    stored = type(world.emulator.state.stored)
    real = stored._upload

    def elsewhere(self, *arguments):
        reply = real(self, *arguments)
        reply.headers = [
            (name, said.encode() if name == b"x-goog-upload-url" else text) for name, text in reply.headers
        ]
        return reply

    monkeypatch.setattr(stored, "_upload", elsewhere)
    got = await started(world)
    assert got.status == 502 and "x-goog-upload-url" not in got.headers
    assert UPSTREAM_KEY not in got.content.decode() and world.owned.items == {}
