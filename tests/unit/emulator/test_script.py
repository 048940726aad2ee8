"""Steps: from the prompt, in words, over several turns, and from the queue."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.emulator import script

MODEL = "gemini-3.8-flash"
TOOLS = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]


def text(got: Any) -> str:
    return "".join(part.get("text", "") for part in got.candidate["content"].get("parts", []))


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ('call get_weather {"city": "Paris"}', {"call": [{"name": "get_weather", "args": {"city": "Paris"}}]}),
        ("call tool f with args {}; call g", {"call": [{"name": "f", "args": {}}, {"name": "g", "args": {}}]}),
        ('say "hello, you"', {"text": "hello, you"}),
        ("fail with 503", {"error": {"status": 503}}),
        ("fail with 429 RetryInfo 2 s", {"error": {"status": 429, "retry": 2.0}}),
        ("fail with 429 per-day", {"error": {"status": 429, "kind": "per-day"}}),
        ("cut after 3 chunks", {"cut_after": 3}),
        ("reset after 1", {"reset_after": 1}),
        ("pace 200 ms; 5 chunks", {"pace_ms": 200, "chunks": 5}),
        ("silence 300 ms", {"silence_ms": 300}),
        ("finish MAX_TOKENS", {"finish": "MAX_TOKENS"}),
        ("block SAFETY", {"block": "SAFETY"}),
        ("awkward; unsigned", {"awkward": True, "unsigned": True}),
    ],
)
def test_words(line: str, step: dict[str, Any]) -> None:
    assert script.words(line) == step


def test_a_directive_in_the_prompt(upstream: Any, say: Any) -> None:
    got = upstream.unary(MODEL, say('Weather?\n@emulator {"call": [{"name": "f", "args": {"x": "{y}"}}]}\nThanks'))
    assert got.candidate["content"]["parts"][0]["functionCall"]["args"] == {"x": "{y}"}


def test_a_directive_does_not_show_in_the_echo(upstream: Any, say: Any) -> None:
    assert text(upstream.unary(MODEL, say('Hi @emulator {"chunks": 2} there'))) == "Echo: Hi there"


@pytest.mark.parametrize("prompt", ['@emulator {"nonsense": 1}', "@emulator {broken", "@emulator do something odd"])
def test_a_directive_that_is_not_understood_is_refused(upstream: Any, say: Any, prompt: str) -> None:
    got = upstream.unary(MODEL, say(prompt))
    assert got.status == 400
    assert got.message.startswith("emulator: ")


def test_a_directive_holds_for_one_answer(upstream: Any, say: Any) -> None:
    contents = say("@emulator say one")["contents"]
    contents.append(upstream.unary(MODEL, {"contents": contents}).candidate["content"])
    contents.append({"role": "user", "parts": [{"text": "and now?"}]})
    assert text(upstream.unary(MODEL, {"contents": contents})) == "Echo: and now?"


def test_turns_drive_a_stateless_agent(upstream: Any, say: Any) -> None:
    plan = '@emulator {"turns": [{"call": {"name": "f"}}, {"call": [{"name": "g"}, {"name": "f"}]}, {"text": "done"}]}'
    contents = say(f"Do it. {plan}")["contents"]
    seen = []
    for _ in range(4):
        content = upstream.unary(MODEL, {"contents": contents, "tools": TOOLS}).candidate["content"]
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        seen.append([call["name"] for call in calls] or content["parts"][0]["text"])
        results = [{"functionResponse": {"name": c["name"], "id": c["id"], "response": {"r": 1}}} for c in calls]
        contents += [content, {"role": "user", "parts": results or [{"text": "thanks"}]}]
    assert seen == [["f"], ["g", "f"], "done", "Echo: thanks"]


def test_turns_share_the_other_keys(upstream: Any, say: Any) -> None:
    got = upstream.unary(MODEL, say('@emulator {"model_version": "m", "turns": [{"text": "a"}]}'))
    assert (text(got), got.json["modelVersion"]) == ("a", "m")


def test_times_in_a_prompt(upstream: Any, say: Any) -> None:
    body = say('@emulator {"error": {"status": 503}, "times": 2}')
    assert [upstream.unary(MODEL, body).status for _ in range(4)] == [503, 503, 200, 200]


def test_the_queue_is_played_in_order_and_repeats(upstream: Any, say: Any) -> None:
    upstream.server.script({"text": "a", "times": 2}, {"text": "b"})
    assert [text(upstream.unary(MODEL, say("x"))) for _ in range(4)] == ["a", "a", "b", "Echo: x"]


def test_match_conditions(upstream: Any, say: Any) -> None:
    upstream.server.script(
        {"text": "for flash 2.5", "match": {"model": "gemini-2.5-flash"}},
        {"text": "for streams", "match": {"method": "streamGenerateContent"}},
        {"text": "for cats", "match": {"text": "cat"}},
    )
    assert text(upstream.unary(MODEL, say("dog"))) == "Echo: dog"
    assert text(upstream.unary(MODEL, say("a cat"))) == "for cats"
    assert text(upstream.unary("gemini-2.5-flash", say("dog"))) == "for flash 2.5"
    assert b"for streams" in upstream.stream(MODEL, say("dog")).raw


def test_other_methods_take_only_steps_made_for_them(upstream: Any, say: Any) -> None:
    upstream.server.script({"error": 503}, {"error": 429, "match": {"method": "batchEmbedContents"}})
    row = {"model": "models/gemini-embedding-2", "content": {"parts": [{"text": "x"}]}}
    assert upstream.unary(MODEL, say("x"), "countTokens").status == 200
    assert upstream.unary("gemini-embedding-2", {"requests": [row]}, "batchEmbedContents").status == 429
    assert upstream.unary("gemini-embedding-2", {"requests": [row]}, "batchEmbedContents").status == 200
    assert upstream.unary(MODEL, say("x")).status == 503


def test_control_endpoints(upstream: Any, say: Any) -> None:
    assert upstream.send("POST", "/emulator/script", [{"text": "scripted"}]).json == {"waiting": 1}
    assert text(upstream.unary(MODEL, say("x"))) == "scripted"
    (row,) = upstream.send("GET", "/emulator/requests").json
    assert (row["method"], row["path"]) == ("POST", f"/v1beta/models/{MODEL}:generateContent")
    assert row["credentials"] == [["x-goog-api-key", "k"]]
    assert row["body"] == say("x")
    assert (row["status"], row["done"]) == (200, True)
    assert upstream.send("POST", "/emulator/script", [{"bogus": 1}]).json == {"error": "unknown step key: bogus"}
    assert upstream.send("POST", "/emulator/script", b"{").status == 400
    assert upstream.send("POST", "/emulator/reset").json == {"ok": True}
    assert upstream.send("GET", "/emulator/requests").json == []
    assert upstream.send("GET", "/emulator/health").json["ok"] is True


@pytest.mark.parametrize("step", [{"nonsense": 1}, {"turns": [{"nonsense": 1}]}])
def test_a_queued_step_with_an_unknown_key_is_refused(upstream: Any, step: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        upstream.server.script(step)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (5, 5), (11, 11), (99, 11)])
def test_the_number_of_text_chunks(upstream: Any, say: Any, count: int, expected: int) -> None:
    upstream.server.script({"text": "eleven char", "chunks": count})
    chunks = upstream.stream(MODEL, say("x")).chunks
    texts = [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks]
    assert "".join(texts) == "eleven char"
    assert len([text for text in texts if text]) == expected
