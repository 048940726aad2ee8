"""`make run` as its user meets it: first start, restart, stop, what lies in the state folder, what the port answers."""

import http.client
import json
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from infra.local.__main__ import address_of
from tests.running import ROOT, clean_environment, free_port, running_gateway

HELLO = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "hello"}]}


def post(base_url, key, body, path="/v1/chat/completions", **headers):
    """(status, headers, parsed body); errors are answers too."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
    request = urllib.request.Request(base_url + path, data, sent)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("laptop") / "state", {}) as gateway:
        yield gateway


def test_without_a_key_the_emulator_answers_and_the_banner_says_so(running):
    assert "EMULATOR" in running.log.read_text()
    status, headers, body = post(running.base_url, running.client_key, HELLO)
    assert (status, body["object"]) == (200, "chat.completion")
    assert headers["x-request-id"]
    assert float(headers["x-gateway-cost-usd"]) > 0


def test_an_offer_to_upgrade_costs_neither_the_body_nor_the_connection(running):
    """Java's HttpClient and curl offer h2c so, and go on with HTTP/1.1 where nobody takes it up."""
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA"}
    host = running.base_url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        for offered in (offer, {}, offer):
            sent = {"authorization": f"Bearer {running.client_key}", "content-type": "application/json"} | offered
            connection.request("POST", "/v1/chat/completions", json.dumps(HELLO), sent)
            answer = connection.getresponse()
            assert (answer.status, json.load(answer)["object"]) == (200, "chat.completion")


def test_what_it_keeps_is_for_its_owner_only(running):
    assert mode(running.state) == 0o700
    assert mode(running.state / "credentials.json") == 0o600
    made = json.loads((running.state / "credentials.json").read_text())
    assert set(made) == {"base_url", "admin_key", "client_key"}
    assert made["base_url"] == running.base_url
    assert made["client_key"] not in running.log.read_text()


def test_health_needs_no_key_and_unknown_paths_are_json(running):
    with urllib.request.urlopen(f"{running.base_url}/health", timeout=5) as answer:
        assert answer.status == 200
        assert answer.headers["x-request-id"]
    status, _, body = post(running.base_url, running.client_key, HELLO, path="/v1/nonsense")
    assert (status, body["error"]["code"]) == (404, "not_found")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{running.base_url}/v1/chat/completions", timeout=5)
    with caught.value as refused:
        assert (refused.code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"", 400, "invalid_json", None),
        (b"{", 400, "invalid_json", None),
        (b"[]", 400, "invalid_json", None),
        (b'{"model":"gemini-3.6-flash","messages":"hi"}', 400, "invalid_value", "messages"),
        (b'{"model":"gemini-3.6-flash"}', 400, "invalid_value", "messages"),
        (b'{"messages":[]}', 400, "invalid_value", "model"),
        ({**HELLO, "model": 5}, 400, "invalid_value", "model"),
        ({**HELLO, "model": "gemini-3.6-flash/../x"}, 404, "model_not_found", "model"),
        ({**HELLO, "max_tokens": -1}, 400, "invalid_value", "max_tokens"),
        ({**HELLO, "n": 9}, 400, "invalid_value", "n"),
        ({**HELLO, "stream": "yes"}, 400, "invalid_value", "stream"),
        ({**HELLO, "api_base": "https://evil.example"}, 400, "unsupported_parameter", "api_base"),
        ({**HELLO, "messages": [{"role": "king", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
        ({**HELLO, "pad": "x" * 5_600_000}, 413, "request_too_large", None),
    ],
)
def test_bad_input_is_refused_in_openais_shape(running, body, status, code, param):
    got, headers, answer = post(running.base_url, running.client_key, body)
    assert got == status, answer
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] in answer["error"]["message"]
    assert (answer["error"]["type"], answer["error"]["code"]) == ("invalid_request_error", code)
    assert answer["error"]["param"] == param


def test_wrong_media_types_and_encodings(running):
    assert post(running.base_url, running.client_key, HELLO, **{"content-type": "text/plain"})[0] == 415
    assert post(running.base_url, running.client_key, HELLO, **{"content-encoding": "gzip"})[0] == 415
    assert (
        post(running.base_url, running.client_key, HELLO, **{"content-type": "application/json; charset=utf-8"})[0]
        == 200
    )


def test_a_revoked_key_is_refused_at_once_and_its_own_id_comes_back(running):
    made = running.gwctl("keys", "create", "short-lived")
    assert post(running.base_url, made["key"], HELLO, **{"x-request-id": "mine-1"})[1]["x-request-id"] == "mine-1"
    running.gwctl("keys", "revoke", made["kid"])
    status, _, body = post(running.base_url, made["key"], HELLO)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")


def test_limits_of_a_key_hold_and_say_when_to_come_back(running):
    made = running.gwctl("keys", "create", "slow", "--rpm", "60", "--rpm-burst", "3")
    answers = [post(running.base_url, made["key"], HELLO) for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429]
    assert [headers["x-ratelimit-remaining-requests"] for _, headers, _ in answers[:3]] == ["2", "1", "0"]
    refusal = answers[3]
    assert refusal[1]["x-ratelimit-limit-requests"] == "60"
    assert refusal[1]["x-ratelimit-remaining-requests"] == "0"
    assert refusal[2]["error"]["code"] == "rate_limit_exceeded"
    time.sleep(int(refusal[1]["retry-after"]))
    assert post(running.base_url, made["key"], HELLO)[0] == 200
    poor = running.gwctl("keys", "create", "poor", "--budget-usd", "0.000001", "--period", "month")
    status, headers, body = post(running.base_url, poor["key"], HELLO)
    assert (status, body["error"]["code"], headers["x-should-retry"]) == (429, "insufficient_quota", "false")
    assert running.rows(poor["kid"]) == []


def test_scopes_of_a_key(running):
    made = running.gwctl("keys", "create", "narrow", "--models", "gemini-2.5-*")
    status, _, body = post(running.base_url, made["key"], HELLO)
    unknown = post(running.base_url, made["key"], {**HELLO, "model": "gemini-nope-0"})
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert unknown[0] == 404
    assert post(running.base_url, made["key"], {**HELLO, "model": "gemini-2.5-flash"})[0] == 200
    assert post(running.base_url, running.admin_key, HELLO)[2]["error"]["code"] == "endpoint_not_allowed"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_takes_less_than_five_seconds_and_keys_and_usage_survive(tmp_path, how):
    state = tmp_path / "state"
    with running_gateway(state, {}) as first:
        made = first.gwctl("keys", "create", "kept")
        post(first.base_url, made["key"], HELLO)
        (row,) = first.row(made["kid"])
        began = time.monotonic()
        first.process.send_signal(how)
        first.process.wait(timeout=10)
        assert time.monotonic() - began < 5
        assert not (state / "aws" / "environment.json").exists()  # where gwctl would look for a running gateway
    with running_gateway(state, {}) as second:
        assert (second.client_key, second.admin_key) == (first.client_key, first.admin_key)
        assert post(second.base_url, made["key"], HELLO)[0] == 200
        assert second.row(made["kid"], 2)[0] == row


def test_with_a_key_the_same_request_goes_to_the_configured_upstream(tmp_path):
    """What would reach Google, seen by a recorder in its place."""
    seen = []

    class Recorder(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append((self.path, dict(self.headers), body))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            part = {"content": {"role": "model", "parts": [{"text": "recorded"}]}, "finishReason": "STOP"}
            self.wfile.write(b"data: " + json.dumps({"candidates": [part]}).encode() + b"\r\n\r\n")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    Thread(target=server.serve_forever, daemon=True).start()
    environment = {"GEMINI_API_KEY": "one-key,two-key", "GEMINI_BASE_URL": f"http://127.0.0.1:{server.server_port}"}
    with running_gateway(tmp_path / "state", environment) as gateway:
        body = post(gateway.base_url, gateway.client_key, HELLO)[2]
        assert "EMULATOR" not in gateway.log.read_text()
    server.shutdown()
    server.server_close()
    assert body["choices"][0]["message"]["content"] == "recorded"
    ((path, headers, sent),) = seen
    headers = {name.lower(): value for name, value in headers.items()}
    assert path == "/v1beta/models/gemini-3.6-flash:streamGenerateContent?alt=sse"
    assert headers["x-goog-api-key"] in ("one-key", "two-key")
    assert gateway.client_key not in json.dumps(headers)
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "hello"}]}]
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"one-key" not in file.read_bytes()


def test_a_taken_port_is_said_so(running):
    port = running.base_url.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "infra.local"],
        cwd=ROOT,
        env=clean_environment() | {"GATEWAY_PORT": port, "GATEWAY_STATE_DIR": str(running.state)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),  # the server's socket takes no IPv4
        ("::1", "http://[::1]:8080"),
        ("box.local", "http://box.local:8080"),
    ],
)
def test_the_base_url_is_one_that_a_client_can_use(host, base_url):
    assert address_of(host, 8080) == base_url


def test_a_log_level_in_any_case_and_none_that_is_none(tmp_path):
    with running_gateway(tmp_path / "state", {"LOG_LEVEL": "info"}) as gateway:
        assert post(gateway.base_url, gateway.client_key, HELLO)[0] == 200
        assert '"message":"usage"' in gateway.log.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "infra.local"],
        cwd=ROOT,
        env=clean_environment()
        | {"GATEWAY_PORT": str(free_port()), "GATEWAY_STATE_DIR": str(tmp_path / "state"), "LOG_LEVEL": "verbose"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "gateway: LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL\n",
    )
