"""A parsed request -> the answer to write: status, headers, body writes. One function per method."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import Any

from infra.local.emulator import chunks, errors, faults, framing, generate, media, models, parsing, usage, validate
from infra.local.emulator.errors import invalid
from infra.local.emulator.faults import Playback, Write
from infra.local.emulator.models import Model
from infra.local.emulator.replay import ROOT_MESSAGE, Recording
from infra.local.emulator.script import GENERATING, Step
from infra.local.emulator.state import State

type Json = dict[str, Any]

JSON_TYPE = "application/json; charset=UTF-8"
SSE_TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Call:
    """The addressed method: version, model id and method of the path, alt=sse, and a seed for ids."""

    version: str
    model_id: str
    method: str
    sse: bool
    seed: str


@dataclass(frozen=True, slots=True)
class Answer:
    playback: Playback
    status: int = 200
    content_type: str = JSON_TYPE
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    silence: float = 0.0
    unary: bool = False  # one JSON body, which may be gzipped
    hang_up: bool = False  # no answer at all


def plain(body: Json) -> Answer:
    return Answer(Playback([Write(framing.unary(body))]), unary=True)


def recorded(recording: Recording) -> Answer:
    types = [value.decode() for key, value in recording.headers if key == b"content-type"]
    return Answer(
        Playback([Write(block) for block in recording.blocks]),
        recording.status,
        types[0] if types else JSON_TYPE,
        [pair for pair in recording.headers if pair[0] != b"content-type"],
    )


def answer(state: State, call: Call, raw: Any) -> Answer:
    """Answers one POST; raises the Refusal of the parser, the model table, a validator or the step."""
    message = ROOT_MESSAGE.get(call.method)
    if message is None:
        raise errors.model_not_found(f"models/{call.model_id}", call.version, call.method)
    body = parsing.parse(message, raw)
    model = models.effective(call.model_id, call.version, call.method, state.now(), state.overrides)
    if call.method not in GENERATING:
        step = state.script.take(call.method, call.model_id, embedded(body))
        play_error(step, call)
        if foreign := not_googles(step):
            return foreign
    if call.method == "countTokens":
        return plain(count_tokens(body, model))
    if call.method == "embedContent":
        return plain(embed([body], model, batch=False))
    if call.method == "batchEmbedContents":
        return plain(embed(body.get("requests") or [], model, batch=True))
    if call.method == "predict":
        raise errors.model_not_found(f"models/{call.model_id}", call.version, call.method)
    return generate_content(state, call, body, model)


# ---------------------------------------------------------------- generateContent


def generate_content(state: State, call: Call, body: Json, model: Model) -> Answer:
    stream = call.method == "streamGenerateContent"
    fill_parts(body)
    step = state.script.take(call.method, call.model_id, body.get("contents") or [])
    play_error(step, call)
    if foreign := not_googles(step):
        return foreign
    validate.check(body, model, stream=stream, refuse_old_ids=state.refuse_old_call_ids)
    prompt = usage.count_prompt(body, model)
    if prompt.total > model.limits[0]:
        raise invalid(
            f"The input token count ({prompt.total}) exceeds the maximum number of tokens allowed ({model.limits[0]})."
        )
    reply = generate.plan(body, model, step)
    tier = served_tier(body, step)
    prompt.add("TEXT", reply.reread_tokens)
    frame = chunks.Frame(
        model=model,
        prompt=prompt,
        model_version=step.get("model_version", model.id),
        response_id=generate.response_id(call.seed),
        tier=tier,
        signed=not step.get("unsigned"),
    )
    headers = [(b"x-gemini-service-tier", tier.encode())]
    silence = step.get("silence_ms", 0) / 1000
    if not stream:
        bent = faults.bend([chunks.unary(reply, frame)], {k: v for k, v in step.items() if k in UNARY_SWITCHES})
        return Answer(faults.play_unary(bent[0], step), headers=headers, silence=silence, unary=True)
    bent = faults.bend(chunks.stream(reply, frame), step)
    playback = faults.play_stream(bent, step, sse=call.sse)
    return Answer(playback, 200, SSE_TYPE if call.sse else JSON_TYPE, headers, silence)


UNARY_SWITCHES = ("usage", "drop", "awkward")


def not_googles(step: Step) -> Answer | None:
    """What only something between the client and Google would answer: any bytes, or nothing."""
    silence = step.get("silence_ms", 0) / 1000
    if step.get("hang_up"):
        return Answer(Playback([]), silence=silence, hang_up=True)
    spec = step.get("raw")
    if spec is None:
        return None
    body = (str(spec.get("body", "")) * int(spec.get("repeat", 1))).encode()
    headers = [(name.lower().encode(), str(value).encode()) for name, value in spec.get("headers", {}).items()]
    if spec.get("gzip"):
        body, headers = gzip.compress(body, mtime=0), [*headers, (b"content-encoding", b"gzip")]
    playback = Playback([Write(body)] if body else [])
    return Answer(playback, int(spec.get("status", 200)), str(spec.get("type", JSON_TYPE)), headers, silence)


def fill_parts(body: Json) -> None:
    """Contents whose `parts` the parser left out get an empty list, so that validators can name it."""
    for content in body.get("contents") or []:
        content.setdefault("parts", [])


def embedded(body: Json) -> list[Json]:
    """The texts to embed, as contents that may hold a directive; countTokens bodies never do."""
    rows = [request.get("content") for request in body.get("requests") or [body]]
    return [row for row in rows if row and row.get("parts")][-1:]


def play_error(step: Step, call: Call) -> None:
    """Raises the refusal the step asks for, after the step's silence."""
    spec = step.get("error")
    if spec is None:
        return
    spec = {"status": spec} if isinstance(spec, int) else spec
    method = models.METHOD_NAME.get(call.method, call.method)
    refusal = errors.scripted(spec, call.model_id, call.version, method)
    refusal.silence = step.get("silence_ms", 0) / 1000
    raise refusal


def served_tier(body: Json, step: Step) -> str:
    """The tier that is billed: the step's, else the requested one (the upstream may downgrade priority silently)."""
    if "service_tier" in step:
        return str(step["service_tier"])
    asked = str(body.get("serviceTier", "standard")).lower().removeprefix("service_tier_")
    return "standard" if asked == "unspecified" else asked


# ---------------------------------------------------------------- countTokens, embeddings, models


def count_tokens(body: Json, model: Model) -> Json:
    inner = body.get("generateContentRequest")
    if inner and body.get("contents"):
        raise invalid("Only one of contents and generate_content_request may be set.")  # plausible
    request = inner or body
    fill_parts(request)
    if not request.get("contents"):
        raise invalid("* CountTokensRequest.contents: contents is not specified\n")
    for content in request["contents"]:
        if not content["parts"]:
            raise invalid("* CountTokensRequest.contents.parts: contents.parts must not be empty.\n")
    prompt = usage.count_prompt(request, model)
    return {"totalTokens": prompt.total, "promptTokensDetails": usage.details(prompt.by_modality)}


def embed(requests: list[Json], model: Model, *, batch: bool) -> Json:
    """Unit vectors; embedding-001 answers without usage, embedding-2 with promptTokenCount and promptTokenDetails."""
    if batch and not requests:
        raise invalid("* BatchEmbedContentsRequest.requests: requests is not specified\n")
    if len(requests) > 100:
        raise invalid("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n")
    vectors: list[Json] = []
    prompt = usage.Prompt()
    for i, request in enumerate(requests):
        where = f"BatchEmbedContentsRequest.requests[{i}]" if batch else "EmbedContentRequest"
        vectors.append({"values": _vector(request, model, where, batch=batch)})
        for kind, count in usage.count_prompt({"contents": [request["content"]]}, model).by_modality.items():
            prompt.add(kind, count)
    out: Json = {"embeddings": vectors} if batch else {"embedding": vectors[0]}
    if model.id.startswith("gemini-embedding-2"):
        out["usageMetadata"] = {
            "promptTokenCount": prompt.total,
            "promptTokenDetails": usage.details(prompt.by_modality),
        }
    return out


def _vector(request: Json, model: Model, where: str, *, batch: bool) -> list[float]:
    if batch and request.get("model") is None:
        raise invalid(f"* {where}.model: model is required\n")
    if batch and request["model"].removeprefix("models/") != model.id:
        raise invalid(f"* {where}.model: model does not match the model of the batch\n")  # plausible
    parts = (request.get("content") or {}).get("parts")
    if not parts:
        raise invalid(f"* {where}.content: content is not specified\n")
    size = request.get("outputDimensionality", model.dimensions)
    if not 1 <= size <= model.dimensions:
        raise invalid(f"* {where}.output_dimensionality: must be between 1 and {model.dimensions}\n")  # plausible
    text = " ".join(part.get("text", "") + media.describe(part) for part in parts)
    return media.embedding(text, size)


def models_page(state: State, version: str, model_id: str | None, query: dict[str, str]) -> Answer:
    """GET models (pageSize up to 1000, pageToken) and GET models/{id}."""
    rows = models.listed(state.now(), state.overrides)
    if model_id is not None:
        found = [row for row in rows if row.id == model_id]
        if not found:
            raise errors.no_such_model(f"models/{model_id}", version)
        return plain(models.resource(found[0]))
    try:
        size = min(int(query.get("pageSize") or 50), 1000)
        start = int(query.get("pageToken") or 0)
    except ValueError:
        raise invalid("Request contains an invalid argument.") from None
    if size < 0 or not 0 <= start <= len(rows):
        raise invalid("Request contains an invalid argument.")
    page = rows[start : start + (size or 50)]
    body: Json = {"models": [models.resource(row) for row in page]}
    if start + len(page) < len(rows):
        body["nextPageToken"] = str(start + len(page))
    return plain(body)
