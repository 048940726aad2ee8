"""One upstream answer: what is asked again, what is repaired, what is final, and what every attempt costs."""

import random
from contextlib import asynccontextmanager
from datetime import date

import pytest
from msgspec import structs

from shared.errors import GatewayError
from shared.events import BlockDelta, End, Usage
from shared.gateway.budgets import Estimate
from shared.gateway.context import Exchange as RealExchange
from shared.gateway.metering import Meter as RealMeter
from shared.gateway.metering import Outcome
from shared.gateway.pool import CredentialPool
from shared.gateway.settings import Settings
from shared.gateway.upstream import Upstream
from shared.gemini.catalog import resolve
from shared.gemini.errors import DENIED
from shared.gemini.pricing import cost_nano, price_of
from shared.stores.protocols import Credential, KeyRecord

NULLABLE = {"type": ["string", "null"]}
USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}


def chunk(*parts, finish=None, usage=True, **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}
    if finish:
        candidate["finishReason"] = finish
    body = {"candidates": [candidate], "modelVersion": "gemini-3.6-flash", "responseId": "r"}
    return body | ({"usageMetadata": USAGE} if usage else {})


OK = [chunk({"text": "fine"}), chunk({"text": ""}, finish="STOP")]
EMPTY = [chunk(finish="STOP")]
INTERRUPTED = GatewayError("upstream_interrupted", "x")
BROKEN_CALL = [chunk(finish="MALFORMED_FUNCTION_CALL")]


class Client:
    """Plays scripted answers: a list of chunks, or an error; remembers what was asked with which key."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.closed = False

    @asynccontextmanager
    async def stream(self, model, body, credential, *, deadline_s, **more):
        self.asked.append((model, body, credential))
        answer = self.answers.pop(0)
        if isinstance(answer, GatewayError):
            raise answer

        try:
            yield answer if isinstance(answer, Chunks) else Chunks(answer)
        finally:
            self.closed = True


class Chunks:
    def __init__(self, items, service_tier="standard"):
        self.items = iter(items)
        self.service_tier = service_tier

    def __aiter__(self):
        return self

    async def __anext__(self):
        item = next(self.items, None)
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, GatewayError):
            raise item
        return [item]


class Secrets:
    def __init__(self, *ids):
        self.slots = [Credential(id=name, key=f"upstream-{name}") for name in ids]
        self.refreshed = 0

    async def pool(self, *, refresh=False):
        self.refreshed += refresh
        return self.slots


class Exchange:
    request_id = "r1"
    remaining_s = 500.0
    streamed = False
    elapsed_ms = 0
    served = ""

    def mark_first_byte(self):
        pass


class Meter:
    input_bound = 99
    hops_paid = 99

    def __init__(self):
        self.outcome = Outcome()

    def covers_another(self, hops, version):
        return len(hops) < self.hops_paid


async def ask(
    client,
    *,
    slots=("a",),
    model="gemini-3.6-flash",
    request=None,
    settings=None,
    secrets=None,
    pool=None,
    meter=None,
):
    settings = settings or Settings(commit_after_s=0.05)
    pool = pool or CredentialPool(secrets or Secrets(*slots), chance=random.Random(1))
    meter = meter or Meter()
    upstream = Upstream(client, pool, settings)
    request = request or {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    events = []
    error = None
    try:
        resolved = resolve(model, date(2026, 11, 21))
        async for burst in upstream.answer(request, resolved, Exchange(), meter):
            events += burst
    except GatewayError as caught:
        error = caught
    return events, error, meter.outcome


def text(events):
    return "".join(event.text for event in events if isinstance(event, BlockDelta))


@pytest.mark.parametrize("answer", [EMPTY, BROKEN_CALL])
async def test_an_empty_or_faulty_answer_is_asked_for_once_more_and_both_are_paid(answer):
    events, error, outcome = await ask(Client(answer, OK))
    assert (text(events), error) == ("fine", None)
    assert outcome.usage.prompt_tokens == 20
    assert sum(isinstance(event, End) for event in events) == 1


async def test_twice_empty_is_an_empty_answer_and_twice_faulty_an_error():
    events, error, _ = await ask(Client(EMPTY, EMPTY))
    assert error is None
    assert isinstance(events[-1], End)
    events, error, outcome = await ask(Client(BROKEN_CALL, BROKEN_CALL))
    assert (error.kind, error.reason) == ("upstream_fault", "malformed_function_call")
    assert events == []
    assert outcome.usage.prompt_tokens == 20


async def test_a_fault_after_visible_text_ends_the_answer():
    events, error, _ = await ask(Client([chunk({"text": "so far"}), *BROKEN_CALL]))
    assert (text(events), error) == ("so far", None)
    assert events[-1].finish == "fault"


@pytest.mark.parametrize(
    "kind", ["upstream_overloaded", "upstream_internal", "upstream_unreachable", "upstream_timeout"]
)
async def test_passing_trouble_is_retried_before_the_first_byte_at_most_three_times(kind, monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    events, error, outcome = await ask(Client(*[GatewayError(kind, "x")] * 2, OK))
    assert (text(events), error, outcome.attempts) == ("fine", None, 3)
    _, error, outcome = await ask(Client(*[GatewayError(kind, "x")] * 9))
    assert (error.kind, outcome.attempts) == (kind, 3)


async def test_nothing_is_retried_after_the_first_visible_byte():
    client = Client([chunk({"text": "half"}), INTERRUPTED], OK)
    events, error, _ = await ask(client)
    assert (text(events), error.kind, len(client.asked)) == ("half", "upstream_interrupted", 1)


async def test_a_refused_credential_rests_and_the_next_one_serves():
    secrets = Secrets("a", "b")
    client = Client(GatewayError("upstream_auth", "bad key"), OK)
    events, error, _ = await ask(client, secrets=secrets)
    assert (text(events), error, secrets.refreshed) == ("fine", None, 1)
    assert {credential for _, _, credential in client.asked} == {"upstream-a", "upstream-b"}
    _, error, _ = await ask(Client(GatewayError("upstream_auth", "bad key")))
    assert error.kind == "upstream_auth"


@pytest.mark.parametrize("slots", [("a",), ("a", "b"), ("a", "b", "c", "d")])
async def test_a_request_that_every_credential_is_denied_leaves_the_others_one(slots):
    denied = GatewayError("upstream_auth", "x", reason=DENIED)
    pool = CredentialPool(Secrets(*slots), chance=random.Random(1))
    client = Client(*[denied] * min(len(slots), 3), OK)
    _, error, _ = await ask(client, pool=pool)
    assert error.kind == "upstream_auth"
    events, error, _ = await ask(client, pool=pool)
    assert (text(events), error) == ("fine", None)


async def test_a_minute_quota_is_waited_out_only_if_the_wait_is_short():
    short = GatewayError("upstream_rate_limited", "x", retry_after=0.01)
    events, error, _ = await ask(Client(short, OK))
    assert (text(events), error) == ("fine", None)
    long = GatewayError("upstream_rate_limited", "x", retry_after=47)
    client = Client(long, OK)
    _, error, _ = await ask(client)
    assert (error.kind, error.retry_after, len(client.asked)) == ("upstream_rate_limited", 47, 1)


async def test_a_day_quota_is_never_retried_on_the_same_credential():
    client = Client(GatewayError("upstream_quota", "x"), OK)
    _, error, _ = await ask(client)
    assert (error.kind, len(client.asked)) == ("upstream_quota", 1)


async def test_who_meets_the_quota_first_is_told_the_wait_as_those_after_are(monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    for kind, most in (("upstream_rate_limited", 5), ("upstream_quota", 25 * 3600)):
        pool = CredentialPool(Secrets("a", "b"), chance=random.Random(1))
        client = Client(*[GatewayError(kind, "x")] * 9)
        _, first, _ = await ask(client, pool=pool)
        _, second, _ = await ask(client, pool=pool)
        assert (first.kind, second.kind) == (kind, kind)
        assert second.retry_after <= first.retry_after <= most
        assert first.retry_after - second.retry_after < 1


async def test_a_model_at_risk_falls_back_when_google_has_closed_it_and_stays_there():
    client = Client(GatewayError("model_not_found", "gone"), OK, OK)
    pool = CredentialPool(Secrets("a"))
    upstream = Upstream(client, pool, Settings())
    resolved = resolve("gemini-2.5-pro", date(2026, 11, 21))
    for _ in range(2):
        async for _ in upstream.answer({"contents": []}, resolved, Exchange(), Meter()):
            pass
    assert [model for model, _, _ in client.asked] == ["gemini-2.5-pro", "gemini-3.8-flash", "gemini-3.8-flash"]


GONE = GatewayError("model_not_found", "gone")


async def test_the_successor_of_a_model_that_is_gone_is_asked_by_its_own_rules():
    """By the rules of the one that is gone it refused every prefill, and every call without a signature once."""
    client = Client(GONE, OK)
    upstream = Upstream(client, CredentialPool(Secrets("a")), Settings())
    resolved = resolve("gemini-2.5-flash", date(2026, 11, 21))
    called = {"functionCall": {"name": "f", "args": {}}}
    contents = [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [called]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        {"role": "model", "parts": [{"text": "so"}]},
    ]
    request = {"contents": contents, "generationConfig": {"temperature": 0.5, "responseLogprobs": True}}
    assert upstream.recovery.as_served(resolved) is resolved
    async for _ in upstream.answer(request, resolved, Exchange(), Meter()):
        pass
    assert client.asked[0][1] == request
    taken = client.asked[1][1]
    assert [content["role"] for content in taken["contents"]] == ["user", "model", "user", "model", "user"]
    assert "thoughtSignature" in taken["contents"][1]["parts"][0]
    assert not taken["generationConfig"]
    served = upstream.recovery.as_served(resolved)
    assert (served.id, served.effective) == (resolved.id, "gemini-3.5-flash-lite")
    assert served.capabilities == resolve("gemini-3.5-flash-lite", date(2026, 11, 21)).capabilities


async def test_a_successor_that_a_key_may_not_reach_never_answers_it():
    """What another key's call found out changes nothing for it."""
    client = Client(GONE, OK, GONE)
    upstream = Upstream(client, CredentialPool(Secrets("a")), Settings())
    resolved = resolve("gemini-2.5-flash", date(2026, 11, 21))
    bound = structs.replace(resolved, fallback_on_404=None)
    async for _ in upstream.answer({"contents": []}, resolved, Exchange(), Meter()):
        pass
    assert upstream.recovery.as_served(bound) is bound
    with pytest.raises(GatewayError) as caught:
        async for _ in upstream.answer({"contents": []}, bound, Exchange(), Meter()):
            pass
    assert (caught.value.kind, client.asked[-1][0]) == ("model_not_found", "gemini-2.5-flash")


async def test_an_unknown_model_upstream_is_final():
    _, error, _ = await ask(Client(GatewayError("model_not_found", "x")))
    assert error.kind == "model_not_found"


@pytest.mark.parametrize(
    ("reason", "request_body", "wanted"),
    [
        (
            "missing_signature",
            {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}]},
            lambda body: body["contents"][0]["parts"][0].get("thoughtSignature") == "skip_thought_signature_validator",
        ),
        (
            "level_unsupported",
            {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}},
            lambda body: body["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "LOW",
        ),
        (
            "level_and_budget",
            {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 5}}},
            lambda body: body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW"},
        ),
        (
            "budget_unsupported",
            {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingBudget": 5, "includeThoughts": True}}},
            lambda body: body["generationConfig"]["thinkingConfig"] == {"includeThoughts": True},
        ),
        (
            "json_schema",
            {
                "contents": [],
                "tools": [
                    {"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": ["string", "null"]}}]}
                ],
                "generationConfig": {"responseJsonSchema": {"type": "object", "properties": {"a": {"const": "x"}}}},
            },
            lambda body: (
                body["tools"][0]["functionDeclarations"][0].get("parameters", {}).get("nullable") is True
                and body["generationConfig"]["responseSchema"]["properties"]["a"]["enum"] == ["x"]
                and "responseJsonSchema" not in body["generationConfig"]
            ),
        ),
        (
            "logprobs",
            {"contents": [], "generationConfig": {"responseLogprobs": True, "logprobs": 3, "seed": 1}},
            lambda body: body["generationConfig"] == {"seed": 1},
        ),
    ],
)
async def test_a_refusal_that_says_how_is_repaired_once(reason, request_body, wanted):
    refusal = GatewayError("invalid_request", "x", reason=reason)
    client = Client(refusal, OK)
    events, error, _ = await ask(client, request=request_body)
    assert (text(events), error) == ("fine", None)
    assert wanted(client.asked[1][1])
    assert not wanted(client.asked[0][1])
    _, error, _ = await ask(Client(refusal, refusal, OK), request=request_body)
    assert error is refusal


async def test_hops_of_a_long_decode_are_one_answer():
    one = chunk({"text": "one "}, finish="CONTINUATION", continuationToken="dDE=")
    two = chunk({"text": "two"}, finish="STOP")
    client = Client([one], [two])
    events, error, outcome = await ask(client, model="gemini-4-argon")
    assert (text(events), error) == ("one two", None)
    assert client.asked[1][1]["continuationToken"] == "dDE="
    assert {**client.asked[1][1], "continuationToken": None} == {**client.asked[0][1], "continuationToken": None}
    assert (outcome.usage.prompt_tokens, sum(isinstance(event, End) for event in events)) == (20, 1)


async def test_each_hop_is_billed_as_the_call_that_it_is():
    """Two prompts below the border of long ones do not make a long one, and each grounded hop is a grounded answer."""
    today = date(2026, 11, 21)
    counts = {"promptTokenCount": 150_000, "candidatesTokenCount": 9, "totalTokenCount": 150_009}
    searched = {"groundingMetadata": {"webSearchQueries": ["a", "b"]}}
    one = chunk({"text": "one "}, finish="CONTINUATION", continuationToken="dDE=", **searched)
    two = chunk({"text": "two"}, finish="STOP", **searched)
    for hop in (one, two):
        hop |= {"usageMetadata": counts, "modelVersion": "gemini-2.5-pro"}
    _, error, outcome = await ask(Client([one], [two]), model="gemini-2.5-pro")
    meter = RealMeter(
        None,
        None,
        Settings(),
        KeyRecord("k", "acct", "h", "p"),
        RealExchange("r", "r", 1_795_000_000_000, 0.0, 60.0, ""),
        resolve("gemini-2.5-pro", today),
        Estimate(1, 1, 1),
        dialect="d",
        endpoint="chat",
        stream=True,
    )
    meter.outcome = outcome
    alone = cost_nano(Usage(150_000, output_tokens=9, search_queries=2), price_of("gemini-2.5-pro", today)[0])
    assert error is None
    assert (outcome.usage.prompt_tokens, outcome.usage.output_tokens, outcome.attempts) == (300_000, 18, 1)
    assert meter.cost() == meter.settlement().cost_nano == 2 * alone


async def test_each_call_is_paid_in_the_tier_that_served_it():
    """Hops follow one another and choices stand side by side; the tier that was told last was that of all."""
    one = chunk({"text": "one "}, finish="CONTINUATION", continuationToken="dDE=")
    two = chunk({"text": "two"}, finish="STOP")
    client = Client(Chunks([one], "priority"), Chunks([two], ""), Chunks(OK, "flex"), Chunks(OK, "standard"))
    _, _, outcome = await ask(client, model="gemini-4-argon")
    assert [usage.service_tier for usage in (*outcome.hops[1], outcome.calls[1])] == ["priority", ""]
    meter = Meter()
    upstream = Upstream(client, CredentialPool(Secrets("a")), Settings())
    model = resolve("gemini-3.6-flash", date(2026, 11, 21))
    answers = [upstream.answer({"contents": []}, model, Exchange(), meter) for _ in range(2)]
    begun = [await anext(answer) for answer in answers]
    assert all(begun) and [[burst async for burst in answer] for answer in answers]
    assert [usage.service_tier for usage in meter.outcome.calls.values()] == ["flex", "standard"]


async def test_hops_end_at_the_limit_with_what_there_is():
    hops = [[chunk({"text": f"{n} "}, finish="CONTINUATION", continuationToken=f"dD{n}=")] for n in range(9)]
    events, error, _ = await ask(Client(*hops), model="gemini-4-argon", settings=Settings(max_hops=2))
    assert (text(events), error, events[-1].finish) == ("0 1 2 ", None, "continuation")


async def test_hops_end_where_the_budget_does():
    hops = [[chunk({"text": f"{i} "}, finish="CONTINUATION", continuationToken=f"t{i}")] for i in range(4)]
    meter = Meter()
    meter.hops_paid = 2
    events, error, _ = await ask(Client(*hops), model="gemini-4-argon", meter=meter)
    assert (text(events), error, events[-1].finish) == ("0 1 ", None, "continuation")
    meter = Meter()
    meter.hops_paid = 1
    _, error, _ = await ask(Client(COVERED, TWO), model="gemini-4-argon", meter=meter)
    assert error.kind == "upstream_truncated"


async def test_a_hop_that_brings_nothing_or_repeats_its_token_is_the_last():
    one = chunk({"text": "one "}, finish="CONTINUATION", continuationToken="dDE=")
    same = chunk({"text": "two"}, finish="CONTINUATION", continuationToken="dDE=")
    empty = chunk(finish="CONTINUATION", continuationToken="dDI=")
    for last in (same, empty):
        client = Client([one], [last], OK)
        events, error, _ = await ask(client, model="gemini-4-argon")
        assert (len(client.asked), error, events[-1].finish) == (2, None, "continuation")


async def test_a_checkpoint_without_a_hop_end_is_not_followed():
    client = Client([chunk({"text": "all"}, continuationToken="dDE="), chunk({"text": ""}, finish="STOP")], OK)
    events, error, _ = await ask(client, model="gemini-4-argon")
    assert (text(events), error, len(client.asked)) == ("all", None, 1)


async def test_a_long_decode_that_breaks_goes_on_from_a_checkpoint_that_covers_what_was_sent():
    broken = [
        chunk({"text": "one "}),
        chunk({"text": ""}, continuationToken="dDE="),
        INTERRUPTED,
    ]
    client = Client(broken, [chunk({"text": "two"}, finish="STOP")])
    events, error, _ = await ask(client, model="gemini-4-argon")
    assert (text(events), error) == ("one two", None)
    assert client.asked[1][1]["continuationToken"] == "dDE="
    told = [*broken[:-1], {"error": {"code": 503, "message": "x"}}]
    more = [chunk({"text": "two "}), chunk({"text": "three"}, finish="STOP")]
    events, error, _ = await ask(Client(told, more), model="gemini-4-argon")
    assert (text(events), error) == ("one two three", None)
    uncovered = [
        chunk({"text": "one "}, continuationToken="dDE="),
        chunk({"text": "more"}),
        INTERRUPTED,
    ]
    _, error, _ = await ask(Client(uncovered, OK), model="gemini-4-argon")
    assert error.kind == "upstream_interrupted"


COVERED = [chunk({"text": "one "}), chunk({"text": ""}, continuationToken="dDE=")]
HOP = [chunk({"text": "one "}, finish="CONTINUATION", continuationToken="dDE=")]
SILENT = chunk({"text": ""})
TWO = [chunk({"text": "two"}, finish="STOP")]


@pytest.mark.parametrize(
    "hops",
    [
        [COVERED],
        [[chunk({"text": "one "}, continuationToken="dDE=")]],
        [HOP, []],
        [HOP, [SILENT]],
        [HOP, [SILENT, INTERRUPTED]],
        [HOP, [], [SILENT]],
    ],
)
async def test_a_hop_that_ends_without_a_word_goes_on_where_nothing_is_lost(monkeypatch, hops):
    """From the checkpoint that covers all that was sent, or from its start where it said nothing."""
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    client = Client(*hops, TWO)
    events, error, _ = await ask(client, model="gemini-4-argon")
    assert (text(events), error, events[-1].finish) == ("one two", None, "stop")
    assert {body["continuationToken"] for _, body, _ in client.asked[1:]} == {"dDE="}


async def test_a_hop_that_ends_without_a_word_is_cut_off_where_something_is_lost(monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    for hops in (
        [HOP, [chunk({"text": "tw"})]],
        [HOP, [SILENT], [SILENT], [SILENT]],
        [[*COVERED, chunk({"text": "x"})]],
    ):
        _, error, _ = await ask(Client(*hops, TWO), model="gemini-4-argon")
        assert error.kind == "upstream_truncated"
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    events, error, _ = await ask(Client(HOP, [blocked], TWO), model="gemini-4-argon")
    assert (error, events[-1].finish) == (None, "blocked")


async def test_a_hop_that_is_refused_ends_the_answer_where_it_is(monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    one = chunk({"text": "one "}, finish="CONTINUATION", continuationToken="dDE=")
    refusals = [GatewayError("upstream_overloaded", "x")] * 3
    events, error, _ = await ask(Client([one], *refusals), model="gemini-4-argon")
    assert (text(events), error, events[-1].finish) == ("one ", None, "continuation")
    events, error, _ = await ask(
        Client([one], refusals[0], [chunk({"text": "two"}, finish="STOP")]), model="gemini-4-argon"
    )
    assert (text(events), events[-1].finish) == ("one two", "stop")


async def test_an_upstream_that_never_counts_is_billed_by_estimates():
    _, _, outcome = await ask(Client([chunk({"text": "x" * 40}, usage=False), chunk(finish="STOP", usage=False)]))
    assert outcome.usage.estimated
    assert (outcome.usage.prompt_tokens, outcome.usage.output_tokens) == (99, 10)


async def test_an_answer_that_is_left_early_closes_the_upstream_and_costs_what_was_counted():
    client = Client([chunk({"text": "one"}), chunk({"text": "two"}), chunk({"text": "three"}, finish="STOP")])
    meter = Meter()
    upstream = Upstream(client, CredentialPool(Secrets("a")), Settings())
    answer = upstream.answer({"contents": []}, resolve("gemini-3.6-flash", date(2026, 11, 21)), Exchange(), meter)
    async for burst in answer:
        if any(isinstance(event, BlockDelta) for event in burst):
            break
    await answer.aclose()
    assert meter.outcome.usage.prompt_tokens == 10
    assert client.closed


# how often, and for how long


async def test_a_429_without_a_word_is_tried_again_with_the_same_credential(monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    vague = GatewayError("upstream_rate_limited", "x")
    events, error, outcome = await ask(Client(vague, vague, OK))
    assert (text(events), error, outcome.attempts) == ("fine", None, 3)
    _, error, outcome = await ask(Client(vague, vague, vague, OK))
    assert (error.kind, error.retried, outcome.attempts) == ("upstream_rate_limited", True, 3)


async def test_a_day_quota_moves_to_another_project_and_never_within_one():
    day = GatewayError("upstream_quota", "x")
    secrets = Secrets("a", "b")
    secrets.slots = [Credential(id=name, key=f"upstream-{name}", project="p") for name in "ab"]
    client = Client(day, OK)
    _, error, _ = await ask(client, secrets=secrets)
    assert (error.kind, len(client.asked)) == ("upstream_quota", 1)
    secrets.slots[1] = Credential(id="b", key="upstream-b", project="q")
    client = Client(day, OK)
    events, error, _ = await ask(client, secrets=secrets)
    assert (text(events), error) == ("fine", None)
    assert {credential for _, _, credential in client.asked} == {"upstream-a", "upstream-b"}


@pytest.mark.parametrize(("left", "attempts"), [(1.9, 1), (2.5, 3)])
async def test_nothing_is_tried_again_without_two_seconds_to_do_it(left, attempts, monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    monkeypatch.setattr(Exchange, "remaining_s", left)
    _, error, outcome = await ask(Client(*[GatewayError("upstream_overloaded", "x")] * 9))
    assert (error.kind, error.retried, outcome.attempts) == ("upstream_overloaded", attempts > 1, attempts)


async def test_an_environment_stops_trying_again_when_its_budget_is_spent(monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.0)
    pool = CredentialPool(Secrets("a"), chance=random.Random(1))
    client = Client(*[GatewayError("upstream_unreachable", "x")] * 1000)
    upstream, model = Upstream(client, pool, Settings()), resolve("gemini-3.6-flash", date(2026, 11, 21))
    for _ in range(200):
        with pytest.raises(GatewayError):
            async for _ in upstream.answer({"contents": []}, model, Exchange(), Meter()):
                pass
    # 200 calls, 100 retries at first, and a tenth of a retry for every call
    assert 320 <= len(client.asked) <= 335


async def test_an_open_circuit_is_not_asked_again():
    shut = GatewayError("upstream_overloaded", "x", retry_after=12, reason="circuit_open")
    client = Client(shut, OK)
    _, error, _ = await ask(client)
    assert (error, error.retried, len(client.asked)) == (shut, False, 1)


class Counting(Client):
    async def call(self, method, model, body, credential, *, deadline_s):
        self.asked.append((model, body, credential))
        answer = self.answers.pop(0)
        if isinstance(answer, GatewayError):
            raise answer
        return answer


async def test_a_count_is_retried_like_an_answer(monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)

    async def count(*answers, slots=("a",)):
        client = Counting(*answers)
        upstream = Upstream(client, CredentialPool(Secrets(*slots), chance=random.Random(1)), Settings())
        return await upstream.count({"contents": []}, "m", Exchange()), [key for *_, key in client.asked]

    down, refused = GatewayError("upstream_internal", "x"), GatewayError("upstream_auth", "x")
    assert (await count(down, down, {"totalTokens": 7}))[0] == 7
    total, keys = await count(refused, {"totalTokens": 7}, slots=("a", "b"))
    assert (total, set(keys)) == (7, {"upstream-a", "upstream-b"})
    with pytest.raises(GatewayError) as caught:
        await count(down, down, down)
    assert caught.value.retried
    with pytest.raises(GatewayError) as caught:
        await count(GatewayError("invalid_request", "x"))
    assert not caught.value.retried


async def test_the_successor_of_a_model_that_is_gone_counts_for_it():
    client = Counting(GONE, {"totalTokens": 7}, {"totalTokens": 8}, GONE)
    upstream = Upstream(client, CredentialPool(Secrets("a")), Settings())
    model, successor = "gemini-2.5-flash", "gemini-3.5-flash-lite"
    for total in (7, 8):
        assert await upstream.count({"contents": []}, model, Exchange(), fallback=successor) == total
    with pytest.raises(GatewayError):
        await upstream.count({"contents": []}, model, Exchange())
    assert [asked for asked, *_ in client.asked] == [model, successor, successor, model]
    assert client.asked[1][1]["generateContentRequest"]["model"] == f"models/{successor}"
