"""Long decode: hops, tokens and everything that can be wrong with them."""

from __future__ import annotations

import json
from typing import Any

MODEL = "gemini-4-argon"
WORDS = "A long story about a cat that walks and walks and never comes home again. " * 4


def ask(upstream: Any, spec: dict[str, Any], token: str | None = None, model: str = MODEL, **rest: Any) -> Any:
    prompt = f"@emulator {json.dumps({'text': WORDS, 'continuation': spec})}"
    body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **rest}
    return upstream.stream(model, body | ({"continuationToken": token} if token else {}))


def outcome(got: Any) -> tuple[str, str, str | None]:
    """Text, finishReason and the last token of one hop."""
    rows = [row for chunk in got.chunks for row in chunk["candidates"]]
    text = "".join(part.get("text", "") for row in rows for part in row["content"].get("parts", []))
    tokens = [row["continuationToken"] for row in rows if "continuationToken" in row]
    return text, rows[-1]["finishReason"], tokens[-1] if tokens else None


def run(upstream: Any, spec: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    hops, token = [], None
    for _ in range(6):
        hop = outcome(ask(upstream, spec, token))
        hops.append(hop)
        if hop[1] != "CONTINUATION" or hop[2] in (None, token):
            break
        token = hop[2]
    return hops


def test_hops_add_up_to_the_whole_text(upstream: Any) -> None:
    hops = run(upstream, {"hops": 3})
    assert "".join(hop[0] for hop in hops) == WORDS
    assert [hop[1] for hop in hops] == ["CONTINUATION", "CONTINUATION", "STOP"]
    assert len({hop[2] for hop in hops}) == 3
    assert hops[-1][2] is None


def test_no_token_and_same_token(upstream: Any) -> None:
    assert run(upstream, {"hops": 3, "token": "none"})[0][1:] == ("CONTINUATION", None)
    first, second = run(upstream, {"hops": 3, "token": "same"})
    assert first[2] == second[2]


def test_zero_output_hop(upstream: Any) -> None:
    hops = run(upstream, {"hops": 3, "zero_output_hop": 1})
    assert "".join(hop[0] for hop in hops) == WORDS
    assert hops[0][0]
    assert hops[1][0] == ""
    assert hops[1][1] == "CONTINUATION"


def test_failing_hop(upstream: Any) -> None:
    spec = {"hops": 2, "fail_hop": 1}
    _, _, token = outcome(ask(upstream, spec))
    assert ask(upstream, spec, token).status == 503


def test_checkpoints_resume_in_the_middle(upstream: Any) -> None:
    spec = {"hops": 2, "checkpoints": True}
    chunks = ask(upstream, spec).chunks
    texts = [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks]
    token = chunks[0]["candidates"][0]["continuationToken"]
    again = outcome(ask(upstream, spec, token))
    assert again[0] == "".join(texts[1:])
    assert again[1] == "CONTINUATION"


def test_max_tokens_may_carry_a_token_to_ignore(upstream: Any) -> None:
    assert run(upstream, {"hops": 1, "max_tokens": True})[0][1:][0] == "MAX_TOKENS"
    assert run(upstream, {"hops": 1, "max_tokens": True})[0][2]


def test_a_hop_is_the_same_request_plus_the_token(upstream: Any) -> None:
    spec = {"hops": 2}
    _, _, token = outcome(ask(upstream, spec))
    changed = ask(upstream, spec, token, generationConfig={"temperature": 1})
    assert changed.status == 400
    assert "does not match" in changed.message
    assert ask(upstream, spec, "AAAA").status == 400


def test_later_hops_read_the_output_so_far_again(upstream: Any) -> None:
    spec = {"hops": 2}
    first = ask(upstream, spec).chunks[-1]
    second = ask(upstream, spec, first["candidates"][0]["continuationToken"]).chunks[-1]
    said = first["usageMetadata"]["candidatesTokenCount"]
    assert second["usageMetadata"]["promptTokenCount"] == first["usageMetadata"]["promptTokenCount"] + said


def test_only_gemini_4_continues(upstream: Any) -> None:
    assert ask(upstream, {"hops": 2}, "AAAA", model="gemini-3.8-flash").status == 400
