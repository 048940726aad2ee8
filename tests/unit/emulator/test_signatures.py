"""Thought signatures: recognised without memory, bound to their function, enforced per step."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from infra.local.emulator import signatures

DUMMY = "skip_thought_signature_validator"
TOOLS = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]


def test_a_signature_is_opaque_base64_of_at_least_100_bytes() -> None:
    assert len(base64.b64decode(signatures.sign("call:f", "seed", 3.6), validate=True)) >= 100


@pytest.mark.parametrize("generation", [2.5, 3.0, 4.0])
def test_own_signature_is_bound_to_its_function(generation: float) -> None:
    made = signatures.sign("call:f", "seed", generation)
    assert signatures.judge(made, "call:f") == "own"
    assert signatures.judge(made.replace("+", "-").replace("/", "_").rstrip("="), "call:f") == "own"
    assert signatures.judge(made, "call:g") == "corrupted"


@pytest.mark.parametrize("dummy", signatures.DUMMIES)
def test_dummies_pass_raw_and_as_base64_of_their_text(dummy: str) -> None:
    assert signatures.judge(dummy, "call:f") == "dummy"
    assert signatures.judge(base64.b64encode(dummy.encode()).decode(), "call:f") == "dummy"


@pytest.mark.parametrize("junk", ["", "AAAA", "abc", "not base64!", base64.b64encode(b"hello world").decode()])
def test_junk_is_corrupted(junk: str) -> None:
    assert signatures.judge(junk, "call:f") == "corrupted"


def history(*model_contents: list[dict[str, Any]]) -> dict[str, Any]:
    """user text, then per model content its results."""
    contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": "go"}]}]
    for parts in model_contents:
        contents.append({"role": "model", "parts": parts})
        calls = [part["functionCall"] for part in parts]
        results = [{"functionResponse": {"name": call["name"], "response": {"r": 1}}} for call in calls]
        contents.append({"role": "user", "parts": results})
    return {"contents": contents, "tools": TOOLS}


def call(name: str, signature: str | None = DUMMY) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"name": name, "args": {}}}
    return part | ({"thoughtSignature": signature} if signature else {})


def test_first_call_of_the_step_must_be_signed_on_3(upstream: Any) -> None:
    got = upstream.stream("gemini-3.8-flash", history([call("f", None)]))
    assert got.status == 400
    assert got.json["error"]["status"] == "INVALID_ARGUMENT"
    assert got.message.startswith(
        "Function call is missing a thought_signature in functionCall parts. This is required for tools to work"
    )
    assert "function call `default_api:f` , position 2." in got.message


def test_only_the_first_of_parallel_calls_needs_one(upstream: Any) -> None:
    assert upstream.unary("gemini-3.8-flash", history([call("f"), call("g", None)])).status == 200
    assert upstream.unary("gemini-3.8-flash", history([call("f", None), call("g")])).status == 400


def test_every_step_of_the_current_turn_is_checked(upstream: Any) -> None:
    got = upstream.unary("gemini-3.8-flash", history([call("f")], [call("g", None)]))
    assert got.status == 400
    assert "`default_api:g` , position 4." in got.message


def test_parallel_calls_split_over_contents_count_as_steps(upstream: Any) -> None:
    body = history([call("f"), call("g", None)])
    first, second = body["contents"][1]["parts"]
    body["contents"][1:2] = [{"role": "model", "parts": [first]}, {"role": "model", "parts": [second]}]
    assert upstream.unary("gemini-3.8-flash", body).status == 400


def test_earlier_turns_are_not_checked(upstream: Any) -> None:
    body = history([call("f", None)])
    body["contents"] += [{"role": "model", "parts": [{"text": "ok"}]}, {"role": "user", "parts": [{"text": "next"}]}]
    assert upstream.unary("gemini-3.8-flash", body).status == 200


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-2.5-pro"])
def test_older_models_do_not_ask_for_one(upstream: Any, model: str) -> None:
    assert upstream.unary(model, history([call("f", None)])).status == 200


def test_a_signature_moved_to_another_call_is_corrupted(upstream: Any, say: Any) -> None:
    made = upstream.unary("gemini-3.8-flash", say("use f", tools=TOOLS)).candidate["content"]["parts"][0]
    assert made["functionCall"]["name"] == "f"
    kept = upstream.unary("gemini-3.8-flash", history([call("f", made["thoughtSignature"])]))
    moved = upstream.unary("gemini-3.8-flash", history([call("g", made["thoughtSignature"])]))
    assert (kept.status, moved.status) == (200, 400)
    assert moved.message == "Corrupted thought signature."


def test_gemma_refuses_signatures(upstream: Any) -> None:
    assert upstream.unary("gemma-4-31b-it", history([call("f")])).status == 400
    assert upstream.unary("gemma-4-31b-it", history([call("f", None)])).status == 200


def test_returned_signatures_cost_prompt_tokens_at_the_end_of_the_stream(upstream: Any, say: Any) -> None:
    made = upstream.unary("gemini-3-flash-preview", say("use f", tools=TOOLS)).candidate["content"]["parts"][0]
    chunks = upstream.stream("gemini-3-flash-preview", history([made])).chunks
    counts = [chunk["usageMetadata"]["promptTokenCount"] for chunk in chunks]
    assert counts[-1] > counts[0]
    dummy = upstream.stream("gemini-3-flash-preview", history([call("f")])).chunks
    assert len({chunk["usageMetadata"]["promptTokenCount"] for chunk in dummy}) == 1
