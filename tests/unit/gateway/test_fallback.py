"""Chains of models: which requests go along, in whose words, for whom, at what reserved price, and when never."""

from datetime import date

import pytest
from msgspec import structs

from shared.errors import GatewayError
from shared.gateway import auth
from shared.gateway.budgets import estimate
from shared.gateway.fallback import adapted
from shared.gateway.metering import Outcome
from shared.gateway.pool import CredentialPool
from shared.gateway.settings import ConfigurationError, Settings
from shared.gateway.upstream import Upstream
from shared.gemini.catalog import capabilities_of, resolve
from shared.gemini.signatures import SENTINEL
from shared.stores.protocols import KeyRecord
from tests.unit.gateway.test_upstream import EMPTY, OK, Client, Exchange, Meter, Secrets, chunk, text

DAY = date(2026, 11, 21)
CHAIN = ("gemini-3.8-flash", "gemini-2.5-pro", "gemini-3.5-flash-lite")
ALIASES = {"safe": CHAIN}
DOWN = GatewayError("upstream_overloaded", "x", reason="circuit_open")  # without the waits of retries
ASKED = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


class Watched(Exchange):
    def __init__(self, *, streamed=False, elapsed_ms=0):
        self.served = ""
        self.streamed, self.elapsed_ms = streamed, elapsed_ms


async def ask(client, exchange=None, *, name="safe", request=ASKED):
    exchange, meter = exchange or Watched(), Meter()
    upstream = Upstream(client, CredentialPool(Secrets("a")), Settings(commit_after_s=10))
    events, error = [], None
    try:
        async for burst in upstream.answer(request, resolve(name, DAY, overrides=ALIASES), exchange, meter):
            events += burst
    except GatewayError as caught:
        error = caught
    return text(events), error, exchange, [model for model, _, _ in client.asked], meter.outcome


async def test_the_models_of_a_chain_are_tried_in_order_and_the_one_that_serves_is_named():
    answer, error, exchange, models, _ = await ask(Client(DOWN, DOWN, OK))
    assert (answer, error, tuple(models), exchange.served) == ("fine", None, CHAIN, CHAIN[2])


async def test_the_last_failure_of_a_chain_is_told():
    last = GatewayError("upstream_overloaded", "last", reason="circuit_open")
    _, error, _, models, _ = await ask(Client(DOWN, DOWN, last))
    assert (error, tuple(models)) == (last, CHAIN)


@pytest.mark.parametrize("kind", ["model_not_found", "upstream_quota", "upstream_invalid_response"])
async def test_what_another_model_may_not_suffer_from_leads_on(kind):
    secrets_left = Client(GatewayError(kind, "x"), OK)
    answer, error, _, models, _ = await ask(secrets_left)
    assert (answer, error, tuple(models)) == ("fine", None, CHAIN[:2])


@pytest.mark.parametrize("kind", ["invalid_request", "context_length_exceeded", "request_too_large", "upstream_auth"])
async def test_what_every_model_would_answer_is_final(kind):
    _, error, _, models, _ = await ask(Client(GatewayError(kind, "x"), OK))
    assert (error.kind, len(models)) == (kind, 1)


async def test_nothing_falls_back_once_something_was_shown():
    broken = [chunk({"text": "half"}), GatewayError("upstream_interrupted", "x")]
    answer, error, _, models, _ = await ask(Client(broken, OK))
    assert (answer, error.kind, models) == ("half", "upstream_interrupted", [CHAIN[0]])


async def test_a_stream_whose_status_has_left_keeps_the_model_that_it_names():
    _, error, _, models, _ = await ask(Client(DOWN, OK), Watched(streamed=True, elapsed_ms=10_000))
    assert (error, models) == (DOWN, [CHAIN[0]])
    answer, _, _, _, _ = await ask(Client(DOWN, OK), Watched(streamed=True, elapsed_ms=9_000))
    assert answer == "fine"
    answer, _, _, _, _ = await ask(Client(DOWN, OK), Watched(elapsed_ms=60_000))
    assert answer == "fine"


async def test_a_model_asked_for_by_its_own_name_is_that_model():
    _, error, _, models, _ = await ask(Client(DOWN, OK), name=CHAIN[0])
    assert (error, models) == (DOWN, [CHAIN[0]])


async def test_an_answer_that_was_thrown_away_is_priced_as_its_own_model():
    empty = [{**EMPTY[0], "modelVersion": CHAIN[0]}]
    fine = [{**part, "modelVersion": CHAIN[1]} for part in OK]
    answer, _, _, _, outcome = await ask(Client(empty, DOWN, fine))
    assert answer == "fine"
    assert sorted(outcome.versions.values()) == sorted(CHAIN[:2])
    assert isinstance(outcome, Outcome)
    assert outcome.model_version == CHAIN[1]


def test_a_key_sees_only_the_links_in_its_scope():
    record = KeyRecord("k", "a", "h", "p", models=("safe", "gemini-3.8-*", "gemini-3.5-*"))
    model = auth.scoped(record, resolve("safe", DAY, overrides=ALIASES))
    assert [link.id for link in model.fallbacks] == [CHAIN[2]]
    with pytest.raises(GatewayError) as caught:
        auth.scoped(structs.replace(record, models=("safe", CHAIN[1])), model)
    assert caught.value.kind == "model_not_found"


def test_the_dearest_link_is_reserved():
    def reserved(name):
        model = resolve(name, DAY, overrides={**ALIASES, "alone": CHAIN[2], "rich": (CHAIN[2], CHAIN[1])})
        return estimate(ASKED, model, DAY, choices=1, default_output=1000).nano

    assert reserved("rich") == max(reserved(CHAIN[1]), reserved("alone"))
    assert reserved("rich") > reserved("alone")


def test_suffixes_of_an_alias_keep_its_chain():
    model = resolve("safe-nothinking", DAY, overrides=ALIASES)
    assert (model.id, model.effort, [link.id for link in model.fallbacks]) == (CHAIN[0], "none", list(CHAIN[1:]))


def test_a_chain_is_configured_as_a_list_and_never_for_a_models_own_name():
    made = Settings.from_env({"MODEL_ALIASES": '{"safe": ["gemini-3.8-flash", "gemini-2.5-pro"], "one": "gpt-4o"}'})
    assert made.model_aliases == {"safe": ("gemini-3.8-flash", "gemini-2.5-pro"), "one": "gpt-4o"}
    for wrong in ('{"safe": []}', '{"safe": [1]}', '{"safe": [""]}', '{"gemini-3.8-flash": ["a", "b"]}', '["x"]'):
        with pytest.raises(ConfigurationError):
            Settings.from_env({"MODEL_ALIASES": wrong})


# the request in the next model's words


def capabilities(model):
    return capabilities_of(model)


def test_thinking_is_said_in_the_next_models_words():
    level = {**ASKED, "generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True}}}
    changed = adapted(level, capabilities("gemini-3.8-flash"), capabilities("gemini-2.5-flash"))
    assert changed["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 24_576, "includeThoughts": True}
    budget = {**ASKED, "generationConfig": {"thinkingConfig": {"thinkingBudget": 500}}}
    changed = adapted(budget, capabilities("gemini-2.5-flash"), capabilities("gemini-3.8-flash"))
    assert changed["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW"}
    changed = adapted(budget, capabilities("gemini-2.5-flash"), capabilities("gemma-3-27b-it"))
    assert "thinkingConfig" not in changed["generationConfig"]


def test_what_the_next_model_lacks_is_left_out_and_what_it_has_stays():
    config = {
        "temperature": 0.3,
        "topK": 4,
        "logprobs": 2,
        "responseLogprobs": True,
        "maxOutputTokens": 900_000,
        "seed": 1,
    }
    request = {**ASKED, "generationConfig": config}
    changed = adapted(request, capabilities("gemini-4-argon"), capabilities("gemini-3.8-flash"))
    assert changed["generationConfig"] == {"maxOutputTokens": 65_536, "seed": 1}
    changed = adapted(request, capabilities("gemini-4-argon"), capabilities("gemini-2.5-flash"))
    assert changed["generationConfig"] == {**config, "maxOutputTokens": 65_536}
    assert request["generationConfig"] == config


def test_signatures_of_another_generation_become_the_documented_dummy():
    call = {"functionCall": {"name": "f", "args": {}, "id": "x"}, "thoughtSignature": "c2ln"}
    answer = {"functionResponse": {"name": "f", "response": {}, "id": "x"}}
    contents = [*ASKED["contents"], {"role": "model", "parts": [call]}, {"role": "user", "parts": [answer]}]
    request = {"contents": contents}
    old = adapted(request, capabilities("gemini-3.8-flash"), capabilities("gemini-2.5-flash"))
    assert old["contents"][1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
    assert old["contents"][2]["parts"] == [{"functionResponse": {"name": "f", "response": {}}}]
    near = adapted(request, capabilities("gemini-3.8-flash"), capabilities("gemini-3.5-flash-lite"))
    assert near["contents"] == contents
    new = adapted(request, capabilities("gemini-3.8-flash"), capabilities("gemini-4-argon"))
    assert new["contents"][1]["parts"][0]["thoughtSignature"] == SENTINEL


@pytest.mark.parametrize(
    ("request_body", "target"),
    [
        ({**ASKED, "cachedContent": "cachedContents/x"}, "gemini-3.8-flash"),
        ({**ASKED, "continuationToken": "dDE="}, "gemini-3.8-flash"),
        ({"contents": [{"role": "model", "parts": [{"text": "Once"}]}]}, "gemini-3.8-flash"),
        ({**ASKED, "tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}]}, "gemini-2.5-flash"),
        (
            {
                **ASKED,
                "tools": [{"functionDeclarations": [{"name": "f"}]}],
                "generationConfig": {"responseJsonSchema": {}},
            },
            "gemini-2.5-flash",
        ),
        (
            {"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "parts": [{}]}}]}]},
            "gemini-2.5-flash",
        ),
    ],
)
async def test_content_that_the_next_model_cannot_take_is_never_dropped(request_body, target):
    assert adapted(request_body, capabilities("gemini-3.1-pro-preview"), capabilities(target)) is None


async def test_a_link_that_cannot_take_the_request_is_passed_over():
    tools = [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}]
    answer, _, _, models, _ = await ask(Client(DOWN, OK), request={**ASKED, "tools": tools})
    assert (answer, models) == ("fine", [CHAIN[0], CHAIN[2]])
