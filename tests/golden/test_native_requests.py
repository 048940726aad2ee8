"""Recorded requests of client libraries: what goes up means what the client wrote.

The judge is the emulator's parser, which shares no code with the gateway: it reads the client's body and ours, and both
must be the same message but for what the warnings name.
"""

import json
from datetime import date
from pathlib import Path

import pytest

from infra.local.emulator import parsing
from shared.dialects.gemini_native.request import read_generate
from shared.gemini.catalog import resolve
from shared.json_codec import decode_object, encode

FOLDER = Path(__file__).parent / "native_requests"
RECORDED = sorted(FOLDER.glob("*.json"))
TODAY = date(2026, 11, 21)


def read(path):
    recorded = json.loads(path.read_text("utf-8"))
    model = resolve(recorded["model"], TODAY)
    body = decode_object(encode(recorded["body"]))
    return recorded["body"], model, read_generate(body, model)


def understood(body):
    try:
        return parsing.parse("GenerateContentRequest", body)
    except parsing.errors.Refusal as refusal:
        return refusal.message


def expected(message, model, native):
    """The client's message after the changes that the gateway announces, or that change nothing."""
    if isinstance(message, str):
        return message
    message.pop("model", None)
    config = message.get("generationConfig", {})
    for warning in native.warnings:
        kind, _, detail = warning.partition(":")
        if kind == "ignored":
            del config[detail.removeprefix("generationConfig.")]
    if config.get("candidateCount") == 1:
        del config["candidateCount"]
    if "maxOutputTokens" in config:
        config["maxOutputTokens"] = min(config["maxOutputTokens"], model.capabilities.output_limit)
    if not config:
        message.pop("generationConfig", None)
    for content in message.get("contents", []):
        if content.get("role") == "function":
            content["role"] = "user"
        for part in content.get("parts", []):
            for name in ("functionCall", "functionResponse"):
                if name in part and not model.capabilities.call_ids:
                    part[name].pop("id", None)
    return message


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_request_keeps_its_meaning(path):
    body, model, native = read(path)
    changed = [warning for warning in native.warnings if warning.startswith("prefill")]
    wanted = expected(understood(body), model, native)
    got = understood(json.loads(encode(native.request)))
    if isinstance(got, dict):
        for warning in changed:
            assert warning == "prefill:continued" and got["contents"].pop()["role"] == "user"
        if model.include_thoughts:  # asked for by the name of a retired thinking model
            assert got.pop("generationConfig")["thinkingConfig"]["includeThoughts"] is True
    assert got == wanted


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_goes_up_is_in_one_spelling(path):
    """A second reading changes nothing."""
    _, model, native = read(path)
    again = read_generate(decode_object(encode(native.request)), model)
    assert again.request == native.request


def test_at_least_six_libraries_were_recorded():
    assert len({path.stem.partition("__")[0] for path in RECORDED}) >= 6
