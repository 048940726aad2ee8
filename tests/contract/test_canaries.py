"""Canaries through a whole gateway that logs at DEBUG and exports spans: nothing of them comes out anywhere."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from infra.local.emulator import EmulatorServer
from shared.stores.aws import Aws
from tests.canaries import CREDENTIAL, PROMPT
from tests.running import Gateway, running_gateway

MODEL = "gemini-3.8-flash"
SAID = [{"role": "user", "content": PROMPT}]
NATIVE = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": MODEL, "messages": SAID}),
    "chat stream": ("/v1/chat/completions", {"model": MODEL, "messages": SAID, "stream": True}),
    "responses": ("/v1/responses", {"model": MODEL, "input": PROMPT}),
    "responses stream": ("/v1/responses", {"model": MODEL, "input": PROMPT, "stream": True}),
    "messages": ("/v1/messages", {"model": MODEL, "messages": SAID, "max_tokens": 4096}),
    "messages stream": ("/v1/messages", {"model": MODEL, "messages": SAID, "max_tokens": 4096, "stream": True}),
    "native": (f"/v1beta/models/{MODEL}:generateContent", NATIVE),
    "native stream": (f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", NATIVE),
    "embeddings": ("/v1/embeddings", {"model": "gemini-embedding-001", "input": PROMPT}),
    "images": ("/v1/images/generations", {"model": "gemini-2.5-flash-image", "prompt": PROMPT}),
    "speech": ("/v1/audio/speech", {"model": "gemini-2.5-flash-preview-tts", "input": PROMPT, "voice": "alloy"}),
}
GENERATING = [name for name in FORMS if name != "embeddings"]


class Collector:
    """Takes spans, and answers only when it is let go."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.free = threading.Event()
        self.free.set()
        self.came = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                collector.spans += body["resourceSpans"][0]["scopeSpans"][0]["spans"]
                collector.came.set()
                collector.free.wait(10)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self.free.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(
    upstream: EmulatorServer, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    environment = {
        "GEMINI_API_KEY": CREDENTIAL,
        "GEMINI_BASE_URL": upstream.base_url,
        "LOG_LEVEL": "DEBUG",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "10000",
    }
    with running_gateway(tmp_path_factory.mktemp("canaries") / "state", environment) as running:
        yield running


def ask(gateway: Gateway, path: str, body: Any, key: str | None = None) -> httpx2.Response:
    headers = {"authorization": f"Bearer {key or gateway.client_key}", "anthropic-version": "2023-06-01"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with httpx2.Client(base_url=gateway.base_url, trust_env=False, timeout=30) as client:
        return client.post(path, content=content, headers={**headers, "content-type": "application/json"})


def pepper_of(gateway: Gateway) -> str:
    environment = json.loads((gateway.state / "aws" / "environment.json").read_text())
    aws = Aws(environment)
    try:
        client = aws.client("secretsmanager", patient=True)
        value = json.loads(client.get_secret_value(SecretId=environment["PEPPER_SECRET_ID"])["SecretString"])
    finally:
        aws.close()
    current = value.get("peppers", value)[value["current"]]
    assert len(current) > 20
    return str(current)


def kept_to_itself(gateway: Gateway, *texts: str) -> None:
    """Neither these texts nor, in the log, the prompt."""
    secrets = (CREDENTIAL, gateway.client_key, gateway.admin_key, pepper_of(gateway))
    log = gateway.log.read_text()
    for secret in secrets:
        assert secret not in log
        assert all(secret not in text for text in texts)
    assert PROMPT not in log


def lines(gateway: Gateway, message: str) -> list[dict[str, Any]]:
    found = (json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in found if line["message"] == message]


@pytest.mark.parametrize("form", FORMS)
def test_a_good_answer_leaves_no_trace_of_secrets_or_prompts(form: str, gateway: Gateway, emulator: Any) -> None:
    before = len(lines(gateway, "usage"))
    answer = ask(gateway, *FORMS[form])
    assert answer.status_code == 200
    kept_to_itself(gateway, answer.text, str(answer.headers))
    assert emulator.requests[-1]["credentials"] == [("x-goog-api-key", CREDENTIAL)]  # the canary was in play
    assert PROMPT in json.dumps(emulator.requests[-1]["body"])
    assert len(lines(gateway, "usage")) == before + 1


@pytest.mark.parametrize("form", ["chat", "chat stream"])
def test_no_client_waits_for_the_collector(form: str, gateway: Gateway, collector: Collector, emulator: Any) -> None:
    collector.came.clear()
    collector.free.clear()
    try:
        answer = ask(gateway, *FORMS[form])  # whole, while the collector still holds its own answer back
        assert answer.status_code == 200
        assert collector.came.wait(5)
    finally:
        collector.free.set()
    outer, inner = collector.spans[-2:]
    told = {item["key"]: item["value"] for item in [*outer["attributes"], *inner["attributes"]]}
    assert told["gateway.request_id"] == {"stringValue": answer.headers["x-request-id"]}
    assert told["gen_ai.request.model"] == {"stringValue": MODEL}
    assert PROMPT not in json.dumps(collector.spans)
    assert CREDENTIAL not in json.dumps(collector.spans)


@pytest.mark.parametrize("form", GENERATING)
@pytest.mark.parametrize("status", [400, 500, 403])  # the last one makes the credential rest
def test_an_upstream_that_repeats_the_secret_is_not_repeated(
    form: str, status: int, gateway: Gateway, emulator: Any
) -> None:
    words = f"key {CREDENTIAL} is bad; see https://host/?key={CREDENTIAL}"
    emulator.script({"error": {"status": status, "message": words}, "times": 5})
    answer = ask(gateway, *FORMS[form])
    assert answer.status_code >= 400 or "error" in answer.text
    kept_to_itself(gateway, answer.text, str(answer.headers))
    assert PROMPT not in answer.text


@pytest.mark.parametrize(
    "body", [b'{"model": "%s' % PROMPT.encode(), b"[" * 100, b'{"a":"%s","a":1}' % PROMPT.encode()]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", f"/v1beta/models/{MODEL}:generateContent"])
def test_a_refused_body_is_not_logged(path: str, body: bytes, gateway: Gateway) -> None:
    answer = ask(gateway, path, body)
    assert answer.status_code == 400
    kept_to_itself(gateway, answer.text)
    assert PROMPT not in answer.text
    refusal = lines(gateway, "refused")[-1]
    assert (refusal["Reason"], refusal["request_id"]) == ("invalid_json", answer.headers["x-request-id"])


def test_a_wrong_key_is_not_logged_either(gateway: Gateway) -> None:
    wrong = gateway.client_key[:-8] + "AAAAAAAA"
    answer = ask(gateway, *FORMS["chat"], key=wrong)
    assert answer.status_code == 401
    kept_to_itself(gateway, answer.text)
    assert wrong not in gateway.log.read_text() + answer.text
    assert lines(gateway, "refused")[-1]["AuthFailures"] == 1
