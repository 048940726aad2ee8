"""What no client should send, sent to every dialect of a running gateway: the answer's status, its words in the
dialect, nothing at the upstream, and no time lost. Valid spellings of the same things stand beside them."""

import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from infra.local.emulator import EmulatorServer
from tests.running import Gateway

MODEL = "gemini-3.6-flash"
QUICK_S = 5.0  # the goal is 2 s; the rest is for a busy machine
CAP = 5_500_000

Body = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """One way in. `text` puts a text where a prompt goes."""

    path: str
    shape: str  # whose errors it speaks
    text: Callable[[Any], Body]
    model_in_path: bool = False

    def body(self, text: Any = "hello", **more: Any) -> Body:
        named = {} if self.model_in_path else {"model": MODEL}
        return {**named, **self.text(text), **more}


def _chat(text: Any) -> Body:
    return {"messages": [{"role": "user", "content": text}]}


DIALECTS = {
    "chat": Dialect("/v1/chat/completions", "openai", _chat),
    "responses": Dialect("/v1/responses", "openai", lambda text: {"input": text, "store": False}),
    "embeddings": Dialect("/v1/embeddings", "openai", lambda text: {"model": "gemini-embedding-001", "input": text}),
    "images": Dialect("/v1/images/generations", "openai", lambda text: {"prompt": text}),
    "speech": Dialect("/v1/audio/speech", "openai", lambda text: {"model": "tts-1", "input": text, "voice": "alloy"}),
    "compat": Dialect("/v1beta/openai/chat/completions", "openai", _chat),
    "vendor": Dialect("/gemini/v1/chat/completions", "openai", _chat),
    "messages": Dialect("/v1/messages", "anthropic", lambda text: {**_chat(text), "max_tokens": 99}),
    "count": Dialect("/v1/messages/count_tokens", "anthropic", _chat),
    "native": Dialect(
        f"/v1beta/models/{MODEL}:generateContent",
        "google",
        lambda text: {"contents": [{"role": "user", "parts": [{"text": text}]}]},
        model_in_path=True,
    ),
}
EVERY = list(DIALECTS)
CONVERSATIONS = ("chat", "responses", "messages", "native")


@dataclass(frozen=True)
class Expected:
    """One row of the answer table. An empty code: not looked at."""

    status: int
    openai: tuple[str, str]
    anthropic: str
    google: str
    anthropic_status: int = 0


IRE = "invalid_request_error"
BAD_JSON = Expected(400, (IRE, "invalid_json"), IRE, "INVALID_ARGUMENT")
BAD_FIELD = Expected(400, (IRE, ""), IRE, "INVALID_ARGUMENT")
BAD_URL = Expected(400, (IRE, "url_not_allowed"), IRE, "INVALID_ARGUMENT")
UNAUTHENTICATED = Expected(401, (IRE, "invalid_api_key"), "authentication_error", "UNAUTHENTICATED")
NO_MODEL = Expected(404, (IRE, "model_not_found"), "not_found_error", "NOT_FOUND")
NO_PATH = Expected(404, (IRE, "not_found"), "not_found_error", "NOT_FOUND")
FORBIDDEN = Expected(403, ("permission_error", ""), "permission_error", "PERMISSION_DENIED")
WRONG_METHOD = Expected(405, (IRE, "method_not_allowed"), IRE, "UNIMPLEMENTED")
TOO_LARGE = Expected(413, (IRE, "request_too_large"), "request_too_large", "INVALID_ARGUMENT")
WRONG_TYPE = Expected(415, (IRE, "unsupported_media_type"), IRE, "INVALID_ARGUMENT")
COMPRESSED = Expected(415, (IRE, "unsupported_media_type"), IRE, "INVALID_ARGUMENT", anthropic_status=400)


def check(answer: httpx.Response, expected: Expected, shape: str) -> dict[str, Any]:
    """The answer is this row of the table in this shape; returns the error object."""
    status = expected.anthropic_status if shape == "anthropic" and expected.anthropic_status else expected.status
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["x-request-id"]
    body = answer.json()
    error: dict[str, Any] = body["error"]
    if shape == "openai":
        assert set(error) == {"message", "type", "param", "code"}
        kind, code = expected.openai
        assert error["type"] == kind
        assert not code or error["code"] == code
    elif shape == "anthropic":
        assert (body["type"], error["type"]) == ("error", expected.anthropic)
        assert body["request_id"]
    else:
        assert (error["code"], error["status"]) == (status, expected.google)
    assert "Traceback" not in answer.text
    assert "/shared/" not in answer.text
    return error


class Client:
    def __init__(self, gateway: Gateway, upstream: EmulatorServer) -> None:
        self._http = httpx.Client(base_url=gateway.base_url, timeout=30, trust_env=False)
        self._upstream = upstream
        self.gateway = gateway

    def send(self, dialect: Dialect, content: Any, *, key: str | None = None, **headers: str) -> httpx.Response:
        named = {"content-type": "application/json", **{name.replace("_", "-"): v for name, v in headers.items()}}
        key = self.gateway.client_key if key is None else key
        if key:
            named["x-goog-api-key" if dialect.shape == "google" else "authorization"] = (
                key if dialect.shape == "google" else f"Bearer {key}"
            )
        if dialect.shape == "anthropic":
            named["anthropic-version"] = "2023-06-01"
        content = json.dumps(content).encode() if isinstance(content, dict) else content
        return self.request("POST", dialect.path, content=content, headers=named)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Refusals are quick and cost nothing upstream."""
        self._upstream.reset()
        began = time.monotonic()
        answer = self._http.request(method, path, **more)
        if answer.status_code >= 400:
            assert time.monotonic() - began < QUICK_S
            assert self._upstream.requests == []
        return answer

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def client(gateway: Gateway, upstream: EmulatorServer) -> Iterator[Client]:
    made = Client(gateway, upstream)
    yield made
    made.close()


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


JSON: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n ",
    "array": b"[]",
    "string": b'"hello"',
    "null": b"null",
    "truncated": b'{"model": "x"',
    "trailing data": b"{} {}",
    "trailing comma": b'{"a": 1,}',
    "comment": b'{"a": 1 /* b */}',
    "single quotes": b"{'a': 1}",
    "raw control character": b'{"a": "\x01"}',
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32-le"),
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "lone surrogate in a key": b'{"\\udfff": 1}',
    "encoded surrogate": b'{"a": "\xed\xa0\x80"}',
    "too deep": nested(65),
    "far too deep": nested(200_000),
    "deep arrays": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "unclosed depth": b'{"a":' + b"[" * 500_000,
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e999}',
    "65 bit": b'{"a": 36893488147419103232}',
    "many digits": b'{"a": ' + b"9" * 100_000 + b"}",
    "key twice": b'{"model": "a", "model": "b"}',
    "key twice inside": b'{"a": [{"b": 1, "b": 2}]}',
    "key twice by an escape": b'{"model": "a", "\\u006dodel": "b"}',
    "too many values": b'{"a": [' + b"0," * 100_001 + b"0]}",
    "empty arrays": b'{"a": [' + b"[]," * 1_500_000 + b"[]]}",
}


# arrays of tokens are long
LONG = {("embeddings", "too many values")}


@pytest.mark.parametrize(("name", "case"), [(n, c) for n in EVERY for c in JSON if (n, c) not in LONG and n != "count"])
def test_the_json_guard_stands_before_every_dialect(client: Client, name: str, case: str) -> None:
    error = check(client.send(DIALECTS[name], JSON[case]), BAD_JSON, DIALECTS[name].shape)
    assert error["message"]


@pytest.mark.parametrize("name", EVERY)
def test_nobody_gets_in_without_one_good_key(client: Client, name: str) -> None:
    dialect = DIALECTS[name]
    good = client.gateway.client_key
    check(client.send(dialect, b"not even read", key=""), UNAUTHENTICATED, dialect.shape)
    check(client.send(dialect, dialect.body(), x_api_key=good[:-4] + "AAAA"), UNAUTHENTICATED, dialect.shape)


@pytest.fixture(scope="module")
def keys(client: Client) -> dict[str, str]:
    """Keys that may do less than everything."""
    terms: dict[str, Body] = {
        "other models": {"models": ["gemini-2.5-*"]},
        "other endpoints": {"endpoints": ["models"]},
        "other address": {"ip_allow": ["203.0.113.0/24"]},
        "no money": {"budget": {"period": "none", "limit_usd": "0"}},
        "no requests": {"rpm": 0},
    }
    made = {}
    for name, limits in terms.items():
        answer = client.request(
            "POST",
            "/admin/keys",
            json={"name": name, **limits},
            headers={"authorization": f"Bearer {client.gateway.admin_key}"},
        )
        assert answer.status_code == 201, answer.text
        made[name] = answer.json()["key"]
    return made


@pytest.mark.parametrize("name", EVERY)
def test_a_key_reaches_what_it_may_and_nothing_else(client: Client, keys: dict[str, str], name: str) -> None:
    dialect = DIALECTS[name]
    body = dialect.body("hello") if name != "images" else dialect.body("hello", model="gemini-3.1-flash-image")
    check(client.send(dialect, body, key=keys["other models"]), NO_MODEL, dialect.shape)
    check(client.send(dialect, body, key=keys["other endpoints"]), FORBIDDEN, dialect.shape)
    check(client.send(dialect, body, key=keys["other address"]), FORBIDDEN, dialect.shape)
    claimed = client.send(dialect, body, key=keys["other address"], x_forwarded_for="203.0.113.9")
    check(claimed, FORBIDDEN, dialect.shape)


BROKE = Expected(429, ("insufficient_quota", "insufficient_quota"), "billing_error", "RESOURCE_EXHAUSTED", 402)
RATE = Expected(429, ("rate_limit_error", "rate_limit_exceeded"), "rate_limit_error", "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("stream", [False, True])
def test_limits_say_what_they_are(client: Client, keys: dict[str, str], name: str, stream: bool) -> None:
    dialect = DIALECTS[name]
    body = dialect.body() if dialect.model_in_path else dialect.body(stream=stream)
    poor = client.send(dialect, body, key=keys["no money"])
    check(poor, BROKE, dialect.shape)
    assert "retry-after" not in poor.headers
    check(client.send(dialect, body, key=keys["no requests"]), RATE, dialect.shape)


@pytest.mark.parametrize("name", EVERY)
def test_bodies_in_other_forms_are_refused(client: Client, name: str) -> None:
    dialect = DIALECTS[name]
    whole = json.dumps(dialect.body()).encode()
    for coding in ("gzip", "br", "deflate", "zstd", "gzip, gzip"):
        check(client.send(dialect, gzip.compress(whole), content_encoding=coding), COMPRESSED, dialect.shape)
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/json; charset=latin-1",
    ):
        check(client.send(dialect, whole, content_type=kind), WRONG_TYPE, dialect.shape)


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize(
    "kind",
    [
        *("", "application/json; charset=UTF-8", "application/vnd.api+json", "APPLICATION/JSON"),
        "application/json; charset=utf-8,application/json",  # two lines of the header, as Lambda hands them over
    ],
)
def test_json_is_json_however_it_is_called(client: Client, name: str, kind: str) -> None:
    dialect = DIALECTS[name]
    answer = client.send(dialect, dialect.body(), content_type=kind, content_encoding="identity")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", EVERY)
def test_a_body_over_the_cap_is_413_whatever_length_it_claims(client: Client, name: str) -> None:
    dialect = DIALECTS[name]
    large = b'{"a": "' + b"x" * CAP + b'"}'
    check(client.send(dialect, large), TOO_LARGE, dialect.shape)

    def chunks() -> Iterator[bytes]:
        for _ in range(7):
            yield b" " * 1_000_000

    check(client.send(dialect, chunks()), TOO_LARGE, dialect.shape)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE"])
def test_other_methods_are_refused_with_those_that_are_allowed(client: Client, name: str, method: str) -> None:
    dialect = DIALECTS[name]
    headers = {"anthropic-version": "2023-06-01"} if dialect.shape == "anthropic" else {}
    answer = client.request(method, dialect.path, headers=headers)
    check(answer, WRONG_METHOD, dialect.shape)
    assert "POST" in answer.headers["allow"]


SPELLINGS = (
    *("/V1/chat/completions", "/v1/Chat/completions", "/v1/chat/completions/", "/v1//chat/completions"),
    *("//v1/chat/completions", "/v1/./chat/completions", "/v1/x/../chat/completions", "/v1/chat/completions%2f"),
    *("/v1/chat%2fcompletions", "/v1/chat/completions;x=1", "/v1/chat/completions%00", "/v1/%63hat/completionz"),
    *("/v1/messages/", "/v1/messages//count_tokens", "/v1/responses/", "/v1/embeddings/../chat/completions"),
    *(
        "/admin/../v1/models",
        "/v1beta/../admin/keys",
        "/v1beta/models/x/../../../admin/keys",
        "/.env",
        "/v1/admin/keys",
    ),
    *(f"/v1beta/Models/{MODEL}:generateContent", f"/v1beta/models//{MODEL}:generateContent"),
    *(f"/v1beta/models/{MODEL}:generateContent/", f"/v1beta/models/{MODEL}:GenerateContent"),
    *(f"/v1beta%2Fmodels/{MODEL}:generateContent", f"/v1b%65ta/models/{MODEL}:generateContent", "/%61dmin/keys"),
    *("/v1/%72esponses/resp_x", "/v1/responses/resp_x/cance%6c", "/v1/conversations/conv_x/%69tems"),
    *(f"/v1beta/models/{MODEL}:deleteEverything", f"/v1beta/models/{MODEL}", "/v1beta/models/:generateContent"),
)


@pytest.mark.parametrize("path", SPELLINGS)
def test_a_path_has_one_spelling(client: Client, path: str) -> None:
    """Sent as it stands: an HTTP client of Python's would tidy it up."""
    status, headers = raw(client.gateway, _post(path, client.gateway.client_key))
    assert status in (404, 405), headers
    assert "location" not in headers


MODELS: tuple[Any, ...] = (
    *("", "..", "../gemini-3.6-flash", "a/b", "models/../x", "gemini-3.6-flash?x=1", "gemini-3.6-flash#x", "a@b@c"),
    *("http://127.0.0.1/", "//host/x", "gemini-3.6-flash\u0000", "gemini-3.6-flash\n", " ", "x" * 5_000, "%2e%2e"),
    *("g\u0435mini-3.6-flash", "gemini-3.6-flash:generateContent", "tunedModels/../../x", "nonsense-1"),
    *(5, None, True, [], {}, [MODEL], {"name": MODEL}),
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: repr(model)[:30])
@pytest.mark.parametrize("name", ["chat", "responses", "messages", "embeddings", "speech"])
def test_a_model_is_a_plain_name(client: Client, name: str, model: Any) -> None:
    dialect = DIALECTS[name]
    answer = client.send(dialect, dialect.body(model=model))
    check(answer, NO_MODEL if answer.status_code == 404 else BAD_FIELD, dialect.shape)


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "%2e%2e",
        "a%2fb",
        "gemini-3.6-flash%3fx=1",
        "gemini-3.6-flash%23",
        "x" * 300,
        "%00",
        "nonsense-1",
        "%0d%0ax",
    ],
)
def test_a_model_in_a_path_is_a_plain_name(client: Client, name: str) -> None:
    status, _ = raw(client.gateway, _post(f"/v1beta/models/{name}:generateContent", client.gateway.client_key))
    assert status in (400, 404)


@pytest.mark.parametrize(
    "field", ["api_base", "base_url", "api_key", "headers", "extra_headers", "custom_llm_provider"]
)
@pytest.mark.parametrize("name", EVERY)
def test_no_byte_of_a_body_changes_where_it_goes(client: Client, name: str, field: str) -> None:
    dialect = DIALECTS[name]
    answer = client.send(dialect, dialect.body(**{field: "http://127.0.0.1:9/"}))
    error = check(answer, BAD_FIELD, dialect.shape)
    if dialect.shape == "openai":
        assert (error["code"], error["param"]) == ("unsupported_parameter", field)


def test_headers_never_travel(client: Client) -> None:
    """What a client sends in its headers is not sent on, however it looks."""
    dialect = DIALECTS["chat"]
    answer = client.send(
        dialect, dialect.body(), x_forwarded_host="evil.example", x_goog_user_project="mine", cookie="a=b", x_canary="y"
    )
    assert answer.status_code == 200
    (sent,) = client._upstream.requests
    assert not {"x-forwarded-host", "x-goog-user-project", "cookie", "x-canary", "authorization"} & set(sent["headers"])


@pytest.mark.parametrize(("given", "echoed"), [("abc-1_2", True), ("a" * 64, True), ("a" * 65, False), ("a b", False),
                                               ("a;b", False), ("\u00e9", False)])  # fmt: skip
def test_a_request_id_is_echoed_if_it_is_one(client: Client, given: str, echoed: bool) -> None:
    dialect = DIALECTS["chat"]
    headers = {"x-request-id": given.encode("latin-1"), "authorization": f"Bearer {client.gateway.client_key}"}
    answer = client.request("POST", dialect.path, json=dialect.body(), headers=headers)
    assert (answer.headers["x-request-id"] == given) is echoed


def _post(path: str, key: str, more: str = "", body: str = "{}") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{more}connection: close\r\n\r\n{body}"
    ).encode("latin-1")


def raw(gateway: Gateway, request: bytes) -> tuple[int, dict[str, str]]:
    """The first answer to these bytes; a second one on the same connection is a failure."""
    host, _, port = gateway.base_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        said = b""
        while piece := connection.recv(65536):
            said += piece
    assert said.count(b"HTTP/1.1 ") == 1, said[:300]
    head = said.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:])
    return int(head[0].split()[1]), headers


SMUGGLED = {
    "two lengths": "content-length: 5\r\n",
    "length and chunks": "transfer-encoding: chunked\r\n",
    "folded header": "x-a: b\r\n c\r\n",
    "bare CR in a value": "x-a: b\rc\r\n",
    "NUL in a value": "x-a: b\x00c\r\n",
    "space before the colon": "x-a : b\r\n",
    "no colon": "nonsense\r\n",
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_ambiguous_requests_end_at_the_server(client: Client, case: str) -> None:
    key = client.gateway.client_key
    status, _ = raw(client.gateway, _post("/v1/chat/completions", key, SMUGGLED[case]) + _post("/health", key))
    assert status == 400


@pytest.mark.parametrize(
    "host", ["", "host: \r\n", "host: evil.example/admin\r\n", "host: a\r\nhost: b\r\n", "host: [::1\r\n"]
)
def test_the_host_decides_nothing(client: Client, host: str) -> None:
    body = json.dumps(DIALECTS["chat"].body())
    request = _post("/v1/chat/completions", "no-key", body=body).replace(b"host: gateway\r\n", host.encode())
    status, _ = raw(client.gateway, request)
    assert status in (400, 401)


NATIVE_PART = {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": "%s", "mimeType": "image/png"}}]}]}
LINKS: dict[str, Callable[[str], Body]] = {
    "chat": lambda url: _chat([{"type": "image_url", "image_url": {"url": url}}]),
    "responses": lambda url: {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]},
    "messages": lambda url: {
        **_chat([{"type": "document", "source": {"type": "url", "url": url}}]),
        "max_tokens": 99,
    },
    "native": lambda url: json.loads(json.dumps(NATIVE_PART) % url),
}


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/a.png", "https://169.254.169.254/latest", "https://localhost/a.png", "https://0x7f.1/"),
        *("https://[::1]/a.png", "https://user@example.com/a.png", "https://example.com:8443/a.png"),
        *("https://metadata.google.internal/", "ftp://example.com/a.png", "file:///etc/passwd"),
    ],
)
def test_a_link_that_leads_inside_is_refused_in_every_dialect(client: Client, name: str, url: str) -> None:
    dialect = DIALECTS[name]
    named = {} if dialect.model_in_path else {"model": MODEL}
    error = check(client.send(dialect, {**named, **LINKS[name](url)}), BAD_FIELD, dialect.shape)
    if dialect.shape == "openai":
        assert error["code"] == "url_not_allowed"
        assert "url" in error["param"]


WRONG_TEXT: tuple[Any, ...] = (5, True, {"a": 1}, [5], [None], [[]], [{"type": "nonsense"}], [{}], [{"type": 5}])


@pytest.mark.parametrize("text", WRONG_TEXT, ids=repr)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_content_of_another_type_is_refused_by_its_path(client: Client, name: str, text: Any) -> None:
    dialect = DIALECTS[name]
    error = check(client.send(dialect, dialect.body(text)), BAD_FIELD, dialect.shape)
    if dialect.shape == "openai":
        assert error["param"], error


TUNING: dict[str, dict[str, tuple[Any, ...]]] = {
    "chat": {"max_tokens": (-1, 1.5, "5", True), "n": (0, -1, "2"), "temperature": ("hot", [], True)},
    "responses": {"max_output_tokens": (-1, 1.5, "5", True), "temperature": ("hot", [], True)},
    "messages": {"max_tokens": (-1, 1.5, "5", True, None), "temperature": ("hot", [], True)},
}


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [(name, field, value) for name, fields in TUNING.items() for field, values in fields.items() for value in values],
    ids=repr,
)
def test_tuning_of_another_type_is_refused(client: Client, name: str, field: str, value: Any) -> None:
    dialect = DIALECTS[name]
    check(client.send(dialect, dialect.body(**{field: value})), BAD_FIELD, dialect.shape)


def _tools(name: str, count: int, schema: Any, called: str = "f{}") -> Body:
    made = [(called.format(number), schema) for number in range(count)]
    if name == "chat":
        return {"tools": [{"type": "function", "function": {"name": n, "parameters": s}} for n, s in made]}
    if name == "responses":
        return {"tools": [{"type": "function", "name": n, "parameters": s} for n, s in made]}
    if name == "messages":
        return {"tools": [{"name": n, "input_schema": s} for n, s in made]}
    return {"tools": [{"functionDeclarations": [{"name": n, "parametersJsonSchema": s} for n, s in made]}]}


OBJECT = {"type": "object", "properties": {}}
HUGE = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "x" * 60} for n in range(2_000)}}
MANY = {"type": "object", "properties": {"a": {"type": "string", "enum": [f"v{n}" for n in range(1_001)]}}}


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize(
    ("count", "schema"), [(513, OBJECT), (1, HUGE), (1, MANY)], ids=["513 tools", "128 KB", "1001 values"]
)
def test_tools_have_bounds(client: Client, name: str, count: int, schema: Any) -> None:
    dialect = DIALECTS[name]
    check(client.send(dialect, dialect.body(**_tools(name, count, schema))), BAD_FIELD, dialect.shape)
