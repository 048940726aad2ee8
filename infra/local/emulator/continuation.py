"""Long decode: an answer in several hops, each ended by CONTINUATION and resumed by the same request plus its token.

A token is stateless: it names the next hop and a digest of the request it belongs to, so a hop that changes the
request is refused.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

from infra.local.emulator.errors import invalid, overloaded
from infra.local.emulator.parsing import decode_bytes
from infra.local.emulator.usage import tokens

if TYPE_CHECKING:
    from infra.local.emulator.generate import Reply

type Json = dict[str, Any]


def digest(body: Json) -> str:
    plain = {key: value for key, value in body.items() if key != "continuationToken"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def token(body: Json, hop: int, mark: int = 0) -> str:
    raw = json.dumps({"hop": hop, "mark": mark, "of": digest(body)}).encode()
    return base64.b64encode(raw).decode()


def hop_of(body: Json) -> tuple[int, int]:
    """The hop a request asks for and the text offset it resumes at; 400 for a token of another request."""
    given = body.get("continuationToken")
    if not given:
        return 0, 0
    try:
        row = json.loads(decode_bytes(given))
        hop, mark, of = int(row["hop"]), int(row["mark"]), row["of"]
    except (ValueError, KeyError, TypeError):
        raise invalid("Invalid continuation token.") from None  # plausible
    if of != digest(body):
        raise invalid("The continuation token does not match the request.")  # plausible
    return hop, mark


def play(reply: Reply, spec: Json, body: Json) -> None:
    """Cuts the reply's text down to the hop the request asks for and sets finishReason and token."""
    hops = int(spec.get("hops", 2))
    hop, mark = hop_of(body)
    if spec.get("fail_hop") == hop:
        raise overloaded()
    zero = spec.get("zero_output_hop", hops)
    shares = _shares([group for group in reply.groups if "text" in group[0]], hops - (zero < hops))
    at = hop - (zero < hop)
    share = [] if hop == zero or at >= len(shares) else shares[at][mark:]
    said = [group for before in shares[:at] for group in before] + (shares[at][:mark] if at < len(shares) else [])
    reply.reread_tokens = tokens("".join(group[0]["text"] for group in said))
    reply.groups = share
    if not share:
        reply.shape = "no_parts"
    if spec.get("checkpoints"):
        reply.checkpoints = {i: token(body, hop, mark + i + 1) for i in range(len(share) - 1)}
    if hop >= hops - 1:
        if spec.get("max_tokens"):
            reply.finish = "MAX_TOKENS"
            reply.extra["continuationToken"] = token(body, hop + 1)
        return
    reply.finish = "CONTINUATION"
    kind = spec.get("token", "new")
    if kind == "same":
        reply.extra["continuationToken"] = body.get("continuationToken") or token(body, hop + 1)
    elif kind == "new":
        reply.extra["continuationToken"] = token(body, hop + 1)


def _shares(groups: list[list[Json]], hops: int) -> list[list[list[Json]]]:
    """The groups of each hop; a text with fewer chunks than hops is cut finer first."""
    if len(groups) < hops:
        text = "".join(group[0]["text"] for group in groups)
        groups = [[{"text": letter}] for letter in text] if len(text) < hops else _cut(text, hops)
    edges = [len(groups) * i // hops for i in range(hops + 1)]
    return [groups[a:b] for a, b in itertools.pairwise(edges)]


def _cut(text: str, count: int) -> list[list[Json]]:
    edges = [len(text) * i // count for i in range(count + 1)]
    return [[{"text": text[a:b]}] for a, b in itertools.pairwise(edges)]
