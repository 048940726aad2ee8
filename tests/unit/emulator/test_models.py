"""Routes, model states by the clock, credentials."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.gemini.catalog import listed_models

MODEL = "gemini-3.8-flash"


def at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


NOT_FOUND = (
    "models/{} is not found for API version {}, or is not supported for {}. Call ListModels to see the list of "
    "available models and their supported methods."
)


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_unknown_model(upstream: Any, say: Any, version: str) -> None:
    for method, named in [
        ("generateContent", "generateContent"),
        ("streamGenerateContent?alt=sse", "generateContent"),
        ("countTokens", "countTokens"),
        ("batchEmbedContents", "embedContent"),
    ]:
        got = upstream.send("POST", f"/{version}/models/nope:{method}", say("x") if "Embed" not in method else {})
        assert got.status == 404
        assert got.json["error"]["status"] == "NOT_FOUND"
        assert got.message == NOT_FOUND.format("nope", version, named)


@pytest.mark.parametrize(
    ("model", "method"),
    [("gemini-embedding-001", "generateContent"), (MODEL, "embedContent"), (MODEL, "predict"), (MODEL, "nonsense"),
     ("imagen-4.0-generate-001", "predict"), ("gemini-3.8-flash-tts", "streamGenerateContent")],
)  # fmt: skip
def test_methods_a_model_lacks(upstream: Any, say: Any, model: str, method: str) -> None:
    body = {"instances": [{"prompt": "x"}]} if method == "predict" else say("x") if "embed" not in method else {}
    assert upstream.unary(model, body, method).status == 404


@pytest.mark.parametrize(
    ("model", "day", "ran"),
    [
        ("gemini-2.5-flash", "2026-11-30", "gemini-2.5-flash"),
        ("gemini-2.5-flash", "2026-12-01", "gemini-3.5-flash-lite"),
        ("gemini-2.5-pro", "2026-12-01", "gemini-3.8-flash"),
        ("gemini-3.5-flash", "2026-10-07", "gemini-3.5-flash"),
        ("gemini-3.5-flash", "2026-10-08", "gemini-3.6-flash"),
        ("gemini-3.7-flash", "2026-10-08", "gemini-3.8-flash"),
        ("gemini-3-pro-preview", "2026-03-09", "gemini-3.1-pro-preview"),
        ("gemini-flash-latest", "2026-11-21", "gemini-3.8-flash"),
    ],
)
def test_reroutes_by_date(upstream: Any, say: Any, model: str, day: str, ran: str) -> None:
    upstream.server.set_clock(at(day))
    assert upstream.unary(model, say("x")).json["modelVersion"] == ran


def test_a_rerouted_model_has_the_rules_of_its_target(upstream: Any, say: Any) -> None:
    body = say("x", generationConfig={"thinkingConfig": {"thinkingLevel": "LOW"}})
    assert upstream.unary("gemini-2.5-flash", body).status == 400
    upstream.server.set_clock(at("2026-12-01"))
    assert upstream.unary("gemini-2.5-flash", body).status == 200


def test_a_model_dies_on_its_day(upstream: Any, say: Any) -> None:
    upstream.server.set_clock(at("2026-05-31"))
    assert upstream.unary("gemini-2.0-flash", say("x")).status == 200
    upstream.server.set_clock(at("2026-06-01"))
    got = upstream.unary("gemini-2.0-flash", say("x"))
    assert (got.status, got.message) == (404, NOT_FOUND.format("gemini-2.0-flash", "v1beta", "generateContent"))


def test_states_set_by_hand(upstream: Any, say: Any) -> None:
    upstream.server.set_state("gemini-2.5-pro", "closed")
    assert upstream.unary("gemini-2.5-pro", say("x")).message == (
        "This model models/gemini-2.5-pro is no longer available to new users. Please update your code to use a newer "
        "model for the latest features and improvements."
    )
    states = {"gemini-2.5-pro": ["rerouted", MODEL], MODEL: "dead"}
    assert upstream.send("POST", "/emulator/states", states).status == 200
    assert upstream.unary("gemini-2.5-pro", say("x")).json["modelVersion"] == MODEL
    assert upstream.unary(MODEL, say("x")).status == 404
    assert upstream.send("POST", "/emulator/states", {"nope": "dead"}).status == 400
    assert upstream.send("POST", "/emulator/states", {MODEL: "odd"}).status == 400


def test_the_clock_endpoint(upstream: Any, say: Any) -> None:
    assert upstream.send("POST", "/emulator/clock", {"now": "2026-12-02T00:00:00Z"}).json == {"now": at("2026-12-02")}
    assert upstream.unary("gemini-2.5-flash", say("x")).json["modelVersion"] == "gemini-3.5-flash-lite"
    assert upstream.send("POST", "/emulator/clock", {"now": "soon"}).status == 400


def test_what_the_gateway_lists_is_served(upstream: Any) -> None:
    """On a laptop without a key, a model from the list was not found."""
    today = datetime.now(UTC).date()
    served = {row["name"] for row in upstream.send("GET", "/v1beta/models?pageSize=1000").json["models"]}
    assert {f"models/{info.id}" for info in listed_models(today)} <= served


def test_models_listing_is_paged(upstream: Any) -> None:
    names: list[str] = []
    token = ""
    for _ in range(20):
        page = upstream.send("GET", f"/v1beta/models?pageSize=7&pageToken={token}").json
        names += [row["name"] for row in page["models"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert len(names) == len(set(names)) > 14
    assert f"models/{MODEL}" in names
    assert "models/gemini-2.0-flash" not in names
    assert len(upstream.send("GET", "/v1/models?pageSize=1000").json["models"]) == len(names)
    assert upstream.send("GET", "/v1beta/models?pageToken=junk").status == 400


def test_one_model(upstream: Any) -> None:
    row = upstream.send("GET", f"/v1beta/models/{MODEL}").json
    assert row["name"] == f"models/{MODEL}"
    assert (row["inputTokenLimit"], row["outputTokenLimit"], row["thinking"]) == (1_048_576, 65_536, True)
    assert "generateContent" in row["supportedGenerationMethods"]
    assert upstream.send("GET", "/v1beta/models/nope").status == 404


CREDENTIALS: list[tuple[dict[str, str], str, int, str]] = [
    ({"x-goog-api-key": "k"}, "", 200, ""),
    ({}, "?key=k", 200, ""),
    ({"authorization": "Bearer ya29.token"}, "", 200, ""),
    ({"authorization": "Bearer AIzaKey"}, "", 401, "Request had invalid authentication credentials. Expected OAuth 2"),
    ({"x-goog-api-key": "k"}, "?key=k", 400, "Multiple authentication credentials received. Please pass only one."),
    ({"x-goog-api-key": "k", "authorization": "Bearer x"}, "", 400, "Multiple authentication credentials received."),
    ({}, "", 403, "unregistered callers"),
    ({"x-goog-api-key": ""}, "", 403, "unregistered callers"),
    ({"x-goog-api-key": "an-invalid-key"}, "", 400, "API key not valid. Please pass a valid API key."),
    ({"x-goog-api-key": "leaked"}, "", 403, "Your API key was reported as leaked. Please use another API key."),
    ({"x-goog-api-key": "location"}, "", 400, "User location is not supported for the API use."),
]


@pytest.mark.parametrize(("headers", "query", "status", "text"), CREDENTIALS, ids=range(len(CREDENTIALS)))
def test_credentials(upstream: Any, say: Any, headers: dict[str, str], query: str, status: int, text: str) -> None:
    got = upstream.send("POST", f"/v1beta/models/{MODEL}:generateContent{query}", say("x"), headers)
    assert got.status == status
    if status != 200:
        assert text in got.message


def test_credential_error_details(upstream: Any, say: Any) -> None:
    path = f"/v1beta/models/{MODEL}:generateContent"
    info, localized = upstream.send("POST", path, say("x"), {"x-goog-api-key": "invalid"}).json["error"]["details"]
    assert info == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }
    assert localized["locale"] == "en-US"
    (info,) = upstream.send("POST", path, say("x"), {"authorization": "Bearer k"}).json["error"]["details"]
    assert info["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"


def test_paths_that_do_not_exist(upstream: Any, say: Any) -> None:
    assert upstream.send("POST", "/v1beta/nothing", say("x")).status == 404
    assert upstream.send("POST", "/v2/models/x:generateContent", say("x")).status == 404
