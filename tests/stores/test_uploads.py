"""OpenAI's files and uploads on a real S3 engine, by the official SDKs, and what requests make of them."""

import dataclasses
import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
from msgspec import structs

from handlers.composition import open_services, open_stores
from infra.local.emulator import EmulatorServer
from infra.local.emulator.media import png
from shared.gateway.app import build_app
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.key_terms import KeyTerms
from shared.gateway.settings import Settings
from shared.gemini.file_links import upstream_file
from shared.stores.aws import Aws
from shared.stores.protocols import StoreUnavailable

MODEL = "gemini-3.6-flash"
PDF = b"%PDF-1.7\n" + bytes(3000)
LIMIT = 20_000  # bytes of a request's body here, so that a small file stands for a large one
BIG = png("big") + bytes(100_000)


@pytest.fixture(scope="module")
def upstream() -> Iterator[EmulatorServer]:
    with EmulatorServer() as emulator:
        yield emulator


@dataclasses.dataclass
class Place:
    """The gateway in this process, with two accounts."""

    http: httpx.AsyncClient
    upstream: EmulatorServer
    key: str
    other_key: str
    bucket: str
    files: Any

    def openai(self, key: str = "") -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            api_key=key or self.key, base_url="http://gateway/v1", http_client=self.http, max_retries=0
        )

    def sent(self) -> list[dict[str, Any]]:
        """The parts of what was generated from."""
        bodies = [item["body"] for item in self.upstream.requests if "enerateContent" in item["path"]]
        return [part for body in bodies for content in body["contents"] for part in content["parts"]]

    def uploaded(self) -> int:
        starts = [item for item in self.upstream.requests if item["path"].startswith("/upload/")]
        return sum(item["headers"].get("x-goog-upload-command") == "start" for item in starts)


@pytest.fixture
async def place(environment: dict[str, str], aws: Aws, upstream: EmulatorServer) -> AsyncIterator[Place]:
    bucket = "uploads-by-sdk"
    aws.client("s3").create_bucket(Bucket=bucket)
    environ = {
        **environment,
        "UPLOAD_BUCKET": bucket,
        "GEMINI_API_KEY": "key-a,key-b",
        "GEMINI_BASE_URL": upstream.base_url,
        "MAX_BODY_BYTES": str(LIMIT),
    }
    upstream.reset()
    stores = open_stores(environ, aws, patient=True)
    registry = KeyRegistry(stores.keys, stores.secrets, stores.ledger)
    _, key = await registry.issue(KeyTerms(name="one"))
    _, other = await registry.issue(KeyTerms(name="two"))
    services = open_services(Settings.from_env(environ), stores)
    transport = httpx.ASGITransport(app=build_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as http:
        yield Place(http, upstream, key, other, bucket, services.files)
    await services.upstream.client.aclose()


async def put(presigned: dict[str, Any], data: bytes) -> int:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.request(presigned["method"], presigned["url"], headers=presigned["headers"], content=data)
        return answer.status_code


async def test_a_file_is_left_shown_listed_and_deleted(place: Place) -> None:
    client = place.openai()
    made = await client.files.create(file=("bücher.pdf", PDF), purpose="user_data")
    assert (made.bytes, made.filename, made.purpose, made.status) == (len(PDF), "bücher.pdf", "user_data", "processed")
    assert made.expires_at is not None
    assert 3600 <= made.expires_at - made.created_at <= 86_400
    short = await client.files.create(
        file=("a.txt", b"words"), purpose="assistants", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert short.expires_at == short.created_at + 3600
    assert await client.files.retrieve(made.id) == made
    assert [item.id async for item in client.files.list(limit=1)][:2] == [short.id, made.id]
    assert [item.id async for item in client.files.list(purpose="user_data")] == [made.id]
    oldest_first = [item.id async for item in client.files.list(order="asc", limit=1)]
    assert oldest_first == [made.id, short.id]
    gone = await client.files.delete(made.id)
    assert (gone.deleted, gone.id) == (True, made.id)
    for call in (client.files.retrieve, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            await call(made.id)
    await client.files.delete(short.id)


def chat(file_id: str, **file: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "read"}, {"type": "file", "file": {"file_id": file_id, **file}}]
    return {"model": MODEL, "messages": [{"role": "user", "content": content}]}


async def test_every_dialect_uses_a_file_by_its_id(place: Place) -> None:
    made = await place.openai().files.create(file=("doc.pdf", PDF), purpose="user_data")
    client = place.openai()
    await client.chat.completions.create(**chat(made.id))
    item = {"type": "input_file", "file_id": made.id}
    await client.responses.create(model=MODEL, input=[{"role": "user", "content": [item]}])
    document = {"type": "document", "source": {"type": "file", "file_id": made.id}}
    asked = {"model": MODEL, "max_tokens": 99, "messages": [{"role": "user", "content": [document]}]}
    headers = {"x-api-key": place.key, "anthropic-version": "2023-06-01"}
    assert (await place.http.post("/v1/messages", json=asked, headers=headers)).status_code == 200
    part = {"fileData": {"fileUri": made.id}}
    await native(place, place.key, [part], 200)
    by_place = f"s3://{place.bucket}/{(await place.files.objects.page(''))[0]}"
    await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": [{"type": "document_url", "document_url": {"url": by_place}}]}],  # type: ignore[list-item]
    )
    used = [part["fileData"] for part in place.sent() if "fileData" in part]
    assert len(used) == 5
    assert {file["mimeType"] for file in used} == {"application/pdf"}
    assert len({file["fileUri"] for file in used}) == 1
    assert place.uploaded() == 1, "sent to the upstream once, used five times"
    credentials = {tuple(item["credentials"][0]) for item in place.upstream.requests}
    assert len(credentials) == 1, "only the credential that sent a file can use it"
    counted = await place.http.post("/v1/messages/count_tokens", json=asked, headers=headers)
    assert counted.json()["input_tokens"] > 0
    googles = {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": made.id}}]}]}
    for body in (googles, {"generateContentRequest": googles}):
        path, headers = f"/v1beta/models/{MODEL}:countTokens", {"x-goog-api-key": place.key}
        assert (await place.http.post(path, json=body, headers=headers)).json()["totalTokens"] > 0
        assert made.id not in json.dumps(place.upstream.requests[-1]["body"])
    cached = await place.http.post("/v1beta/cachedContents", json={**googles, "model": MODEL}, headers=headers)
    assert cached.status_code == 200
    assert made.id not in json.dumps(place.upstream.requests[-1]["body"])
    one = {"content": googles["contents"][0]}
    path = "/v1beta/models/gemini-embedding-2"
    for method, asked in (("embedContent", one), ("batchEmbedContents", {"requests": [one] * 101})):
        embedded = await place.http.post(f"{path}:{method}", json=asked, headers=headers)
        assert embedded.status_code == 200
        assert made.id not in json.dumps(place.upstream.requests[-1]["body"])
    await client.files.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(**chat(made.id))
    assert place.upstream.requests[-1]["method"] == "DELETE", "the upstream's copy is deleted too"


async def test_a_file_outlives_the_credential_that_sent_it(place: Place) -> None:
    client = place.openai()
    made = await client.files.create(file=("doc.pdf", PDF), purpose="user_data")
    await client.chat.completions.create(**chat(made.id))
    (key,) = await place.files.objects.page("")
    acct = key.partition("/")[0]
    owned = place.files._owned
    sent = await owned.get(acct, f"sent/{made.id}")
    for name in (sent.name, upstream_file(sent.url)):
        await owned.put(acct, structs.replace(await owned.get(acct, name), credential_id="retired"))
    part = {"fileData": {"fileUri": sent.url}}
    refused = await native(place, place.key, [part], 503)
    assert "no longer in use" in refused["error"]["message"]
    await client.chat.completions.create(**chat(made.id))
    assert place.uploaded() == 2
    await client.files.delete(made.id)


async def native(place: Place, key: str, parts: list[dict[str, Any]], status: int) -> dict[str, Any]:
    answer = await place.http.post(
        f"/v1beta/models/{MODEL}:generateContent",
        json={"contents": [{"role": "user", "parts": parts}]},
        headers={"x-goog-api-key": key},
    )
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_file_that_cannot_be_recorded_does_not_stay_at_google(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every further try left another, of the 20 GB that all accounts share."""
    client = place.openai()
    made = await client.files.create(file=("doc.pdf", PDF), purpose="user_data")

    async def down(acct: str, item: Any) -> None:
        raise StoreUnavailable("no writes")

    with monkeypatch.context() as patch:
        patch.setattr(place.files._owned, "put", down)
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(**chat(made.id))
    assert caught.value.status_code == 503
    assert (place.uploaded(), place.upstream.state.stored.files) == (1, {})
    await client.chat.completions.create(**chat(made.id))
    await client.files.delete(made.id)
    assert place.upstream.state.stored.files == {}


async def test_another_account_sees_nothing_of_a_file(place: Place) -> None:
    made = await place.openai().files.create(file=("doc.pdf", PDF), purpose="user_data")
    stranger = place.openai(place.other_key)
    assert [item async for item in stranger.files.list()] == []
    calls = [
        stranger.files.retrieve(made.id),
        stranger.files.delete(made.id),
        stranger.chat.completions.create(**chat(made.id)),
        stranger.responses.create(
            model=MODEL, input=[{"role": "user", "content": [{"type": "input_file", "file_id": made.id}]}]
        ),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError) as caught:
            await call
    assert caught.value.param == "input[0].content[0].file_id"
    await native(place, place.other_key, [{"fileData": {"fileUri": made.id}}], 404)
    await place.openai().chat.completions.create(**chat(made.id))
    (uri,) = {part["fileData"]["fileUri"] for part in place.sent() if "fileData" in part}
    name = "files/" + uri.rpartition("/")[2]
    with pytest.raises(openai.NotFoundError):  # nor by the upstream's own name, whatever the dialect
        await stranger.chat.completions.create(**chat(name))
    assert (await place.openai().chat.completions.create(**chat(name))).choices
    key = (await place.files.objects.page(""))[0]
    for url in (f"s3://{place.bucket}/{key}", f"s3://somebody-elses/{key}"):
        with pytest.raises(openai.NotFoundError):
            await stranger.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": [{"type": "document_url", "document_url": {"url": url}}]}],  # type: ignore[list-item]
            )
    await place.openai().files.delete(made.id)


async def test_a_file_larger_than_a_request_comes_by_its_presigned_address(place: Place) -> None:
    client = place.openai()
    with pytest.raises(openai.APIStatusError) as caught:
        await client.files.create(file=("big.png", BIG), purpose="vision")
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")
    upload = await client.uploads.create(bytes=len(BIG), filename="big.png", mime_type="image/png", purpose="vision")
    assert upload.status == "pending"
    presigned = upload.presigned  # type: ignore[attr-defined]
    with pytest.raises(openai.BadRequestError):  # nothing was sent yet
        await client.uploads.complete(upload.id, part_ids=[])
    assert await put(presigned, BIG + b"x") == 403
    assert await put(presigned, BIG) == 200
    with pytest.raises(openai.BadRequestError):
        await client.uploads.complete(upload.id, part_ids=[], md5="0" * 32)
    done = await client.uploads.complete(upload.id, part_ids=[], md5=hashlib.md5(BIG).hexdigest())
    assert done.status == "completed"
    assert done.file is not None
    assert (done.file.bytes, done.file.id) == (len(BIG), presigned["file_id"])
    image = {"type": "input_image", "file_id": done.file.id}
    answer = await client.responses.create(model=MODEL, input=[{"role": "user", "content": [image]}])
    assert "image/png" in answer.output_text
    with pytest.raises(openai.BadRequestError):
        await client.uploads.complete(upload.id, part_ids=[])
    await client.files.delete(done.file.id)


async def test_the_sdk_sends_a_large_file_in_parts(place: Place) -> None:
    client = place.openai()
    text = "".join(f"line {number}\n" for number in range(10_000))
    done = await client.uploads.upload_file_chunked(
        file=text.encode(),
        filename="a.txt",
        bytes=len(text),
        mime_type="text/plain",
        purpose="user_data",
        part_size=15_000,
    )
    assert done.file is not None
    assert done.file.bytes == len(text)
    await client.chat.completions.create(**chat(done.file.id))
    (whole,) = [item["raw"] for item in place.upstream.requests if "upload_id" in str(item["query"])]
    assert whole == text
    await client.files.delete(done.file.id)


async def test_parts_that_do_not_make_the_file_are_refused(place: Place) -> None:
    client = place.openai()
    upload = await client.uploads.create(bytes=10, filename="a.txt", mime_type="text/plain", purpose="user_data")
    first = await client.uploads.parts.create(upload.id, data=b"01234")
    other = await client.uploads.create(bytes=5, filename="b.txt", mime_type="text/plain", purpose="user_data")
    foreign = await client.uploads.parts.create(other.id, data=b"56789")
    for ids in ([first.id], [first.id, foreign.id], [first.id, first.id], ["part_x"]):
        with pytest.raises(openai.BadRequestError):
            await client.uploads.complete(upload.id, part_ids=ids)
    with pytest.raises(openai.NotFoundError):
        await place.openai(place.other_key).uploads.parts.create(upload.id, data=b"56789")
    second = await client.uploads.parts.create(upload.id, data=b"56789")
    assert (await client.uploads.complete(upload.id, part_ids=[first.id, second.id])).status == "completed"
    cancelled = await client.uploads.cancel(other.id)
    assert cancelled.status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        await client.uploads.parts.create(other.id, data=b"late")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": 10**12}, "bytes"),
        ({"bytes": "5"}, "bytes"),
        ({"bytes": True}, "bytes"),
        ({"filename": 5}, "filename"),
        ({"filename": "/"}, "filename"),
        ({"filename": "a" * 300 + ".txt"}, "filename"),
        ({"filename": "a\u202eb\n.txt"}, "filename"),
        ({"mime_type": "text/html", "filename": "a.html"}, "mime_type"),
        ({"mime_type": "application/x-msdownload", "filename": "a.exe"}, "mime_type"),
        ({"purpose": "nonsense"}, "purpose"),
        ({"purpose": ["vision"]}, "purpose"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
        ({"expires_after": {"anchor": "created_at", "seconds": 5}}, "expires_after.seconds"),
        ({"api_base": "http://127.0.0.1"}, "api_base"),
    ],
)
async def test_what_an_upload_may_not_be(place: Place, body: dict[str, Any], param: str) -> None:
    good = {"bytes": 5, "filename": "a.txt", "mime_type": "text/plain", "purpose": "user_data"}
    answer = await place.http.post(
        "/v1/uploads", json={**good, **body}, headers={"authorization": f"Bearer {place.key}"}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_strange_ids_are_unknown_ids(place: Place) -> None:
    headers = {"authorization": f"Bearer {place.key}"}
    for name in ("file-..", "file-" + "a" * 24, "file-" + "a" * 25, "..%2f..%2fb", "files", "file-" + "%2e" * 24):
        answer = await place.http.get(f"/v1/files/{name}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), name
    for name in ("upload_x", "upload_" + "a" * 24, "..", "upload_" + "../" * 8):
        answer = await place.http.post(f"/v1/uploads/{name}/cancel", headers=headers)
        assert answer.status_code == 404, name


async def test_files_need_a_key_and_a_scope(place: Place) -> None:
    for method, path in (("GET", "/v1/files"), ("POST", "/v1/files"), ("POST", "/v1/uploads")):
        answer = await place.http.request(method, path)
        assert answer.status_code == 401
    wrong = await place.http.put("/v1/files", headers={"authorization": f"Bearer {place.key}"})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")


async def test_googles_clients_find_googles_files_under_the_same_path(place: Place) -> None:
    answer = await place.http.get("/v1/files", headers={"x-goog-api-key": place.key})
    assert (answer.status_code, answer.json()) == (200, {"files": []})
    missing = await place.http.get("/v1/files/nothing", headers={"x-goog-api-key": place.key})
    assert missing.json()["error"]["status"] == "NOT_FOUND"


async def test_a_gateway_without_a_bucket_says_so(place: Place, environment: dict[str, str], aws: Aws) -> None:
    more = {"UPLOAD_BUCKET": "", "GEMINI_API_KEY": "a", "GEMINI_BASE_URL": place.upstream.base_url}
    environ = {**environment, **more}
    services = open_services(Settings.from_env(environ), open_stores(environ, aws, patient=True))
    transport = httpx.ASGITransport(app=build_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        headers = {"authorization": f"Bearer {place.key}"}
        form = {"file": ("a.txt", io.BytesIO(b"x"))}
        left = await http.post("/v1/files", files=form, data={"purpose": "user_data"}, headers=headers)
        used = await http.post("/v1/chat/completions", content=json.dumps(chat("file-" + "a" * 24)), headers=headers)
    assert (left.status_code, used.status_code) == (404, 404)
    await services.upstream.client.aclose()
