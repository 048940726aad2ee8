"""Prices against Google's table, and the one formula: integers, rounded up once."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.errors import GatewayError
from shared.events import Usage
from shared.gemini.catalog import resolve
from shared.gemini.catalog_data.prices import PRICE_VERSION as DATA_VERSION
from shared.gemini.catalog_data.prices import PRICES
from shared.gemini.pricing import (
    PRICE_VERSION,
    Price,
    Rates,
    TierFactor,
    cost_nano,
    estimate_nano,
    price_of,
    reservation_nano,
)

TODAY = date(2026, 11, 21)
DECEMBER = date(2026, 12, 1)
NEW_YEAR = date(2027, 1, 1)
MILLION = 1_000_000

# (model, day) -> USD per million: input, cached (None = none), output. Google's page, litellm 1.109.1.
TABLE: list[tuple[str, date, float, float | None, float]] = [
    ("gemini-4-argon", TODAY, 2, 0.10, 10),
    ("gemini-4-argon", date(2026, 11, 30), 2, 0.10, 10),
    ("gemini-4-argon", DECEMBER, 4, 0.20, 20),
    ("gemini-4-carbon", TODAY, 2, 0.10, 10),
    ("gemini-4-carbon", DECEMBER, 4, 0.20, 20),
    ("gemini-3.8-flash", TODAY, 0.75, 0.075, 3.75),
    ("gemini-3.8-flash", date(2026, 12, 31), 0.75, 0.075, 3.75),
    ("gemini-3.8-flash", NEW_YEAR, 1.50, 0.15, 7.50),
    ("gemini-3.7-flash", TODAY, 0.75, 0.075, 3.75),
    ("gemini-3.7-flash", NEW_YEAR, 1.50, 0.15, 7.50),
    ("gemini-3.6-flash", TODAY, 0.75, 0.075, 3.75),
    ("gemini-3.6-flash", NEW_YEAR, 1.50, 0.15, 7.50),
    ("gemini-3.5-flash", TODAY, 1.50, 0.15, 9),
    ("gemini-3.5-flash-lite", TODAY, 0.30, 0.03, 2.50),
    ("gemini-3.1-pro-preview", TODAY, 2, 0.20, 12),
    ("gemini-3.1-pro-preview-customtools", TODAY, 2, 0.20, 12),
    ("gemini-3-flash-preview", TODAY, 0.50, 0.05, 3),
    ("gemini-3.1-flash-lite", TODAY, 0.25, 0.025, 1.50),
    ("gemini-2.5-pro", TODAY, 1.25, 0.125, 10),
    ("gemini-2.5-flash", TODAY, 0.30, 0.03, 2.50),
    ("gemini-2.5-flash-lite", TODAY, 0.10, 0.01, 0.40),
    ("gemini-flash-latest", TODAY, 0.75, 0.075, 3.75),
    ("gemini-flash-lite-latest", TODAY, 0.30, 0.03, 2.50),
    ("gemini-pro-latest", TODAY, 2, 0.20, 12),
    ("gemini-robotics-er-2-preview", TODAY, 1, 0.10, 5),
    ("gemini-gemma-2-27b-it", TODAY, 0.35, None, 1.05),
    ("gemini-3.1-flash-image", TODAY, 0.50, None, 3),
    ("gemini-3.1-flash-lite-image", TODAY, 0.25, None, 1.50),
    ("gemini-3-pro-image", TODAY, 2, None, 12),
    ("nano-banana-pro-preview", TODAY, 2, None, 12),
    ("gemini-nano-banana-2.1", TODAY, 1.50, None, 7.50),
    ("gemini-2.5-flash-image", TODAY, 0.30, 0.03, 2.50),
    ("gemini-3.8-flash-tts", TODAY, 0.50, 0.125, 9),
    ("gemini-3.8-flash-tts", NEW_YEAR, 1, 0.125, 18),
    ("gemini-3.8-flash-lite-tts", TODAY, 0.50, 0.125, 6),
    ("gemini-3.8-flash-lite-tts", NEW_YEAR, 1, 0.125, 12),
    ("gemini-3.1-flash-tts-preview", TODAY, 1, None, 20),
    ("gemini-2.5-flash-preview-tts", TODAY, 0.50, None, 10),
    ("gemini-2.5-pro-preview-tts", TODAY, 1, 0.125, 20),
    ("gemini-3.5-transcribe", TODAY, 2, None, 12),
    ("gemini-embedding-2", TODAY, 0.20, None, 0),
    ("gemini-embedding-001", TODAY, 0.15, None, 0),
    ("gemma-4-31b-it", TODAY, 0, None, 0),
]


def cost(model: str, day: date = TODAY, **usage: object) -> int:
    return cost_nano(Usage(**usage), price_of(model, day)[0])  # type: ignore[arg-type]


def usd(dollars: float) -> int:
    return round(dollars * 1_000_000_000)


@pytest.mark.parametrize(("model", "day", "per_input", "per_cached", "per_output"), TABLE)
def test_the_table(model: str, day: date, per_input: float, per_cached: float | None, per_output: float) -> None:
    """Per 100,000 tokens, below the border of long prompts."""
    tokens = 100_000
    assert price_of(model, day)[1] is False
    assert cost(model, day, prompt_tokens=tokens) * 10 == usd(per_input)
    cached = cost(model, day, prompt_tokens=tokens, cached_tokens=tokens) * 10
    assert cached == usd(per_input if per_cached is None else per_cached)
    assert cost(model, day, output_tokens=tokens) * 10 == usd(per_output)
    assert cost(model, day, reasoning_tokens=tokens) * 10 == usd(per_output)
    assert cost(model, day, tool_use_tokens=tokens) * 10 == usd(per_input)


def test_every_price_of_the_catalog_stands_in_the_table_or_is_an_alias_of_one_that_does() -> None:
    rest = set(PRICES) - {model for model, *_ in TABLE}
    assert rest == {
        "gemma-4-26b-a4b-it",
        "gemma-3-27b-it",
        "gemma-3",
        "gemma-3n",
        "gemini-gemma-2-9b-it",
        "gemini-2.5-flash-lite-preview-tts",
        "gemini-embedding-2-preview",
    }


@pytest.mark.parametrize(
    ("model", "kind", "prices"),
    [
        ("gemini-2.5-flash", "AUDIO", (1, 0.10)),
        ("gemini-2.5-flash-lite", "AUDIO", (0.30, 0.03)),
        ("gemini-3-flash-preview", "AUDIO", (1, 0.10)),
        ("gemini-3.1-flash-lite", "AUDIO", (0.50, 0.05)),
        ("gemini-3.5-flash-lite", "AUDIO", (0.30, 0.03)),
        ("gemini-2.5-pro-preview-tts", "AUDIO", (0.70, 0.125)),
        ("gemini-2.5-flash", "IMAGE", (0.30, 0.03)),
        ("gemini-embedding-2", "AUDIO", (6.5, 6.5)),
        ("gemini-embedding-2", "IMAGE", (0.45, 0.45)),
        ("gemini-embedding-2", "VIDEO", (12, 12)),
    ],
)
def test_input_by_modality(model: str, kind: str, prices: tuple[float, float]) -> None:
    usage = Usage(prompt_tokens=100_000, prompt_modalities={kind: 100_000})
    price = price_of(model, TODAY)[0]
    assert cost_nano(usage, price) * 10 == usd(prices[0])
    cached = replace(usage, cached_tokens=100_000, cached_modalities={kind: 100_000})
    assert cost_nano(cached, price) * 10 == usd(prices[1])
    assert cost_nano(replace(usage, cached_tokens=100_000), price) * 10 == usd(prices[1])


@pytest.mark.parametrize(
    ("model", "image"),
    [
        ("gemini-3.1-flash-image", 60),
        ("gemini-3.1-flash-lite-image", 30),
        ("gemini-3-pro-image", 120),
        ("gemini-nano-banana-2.1", 30),
        ("gemini-2.5-flash-image", 30),
    ],
)
def test_images_have_their_own_output_price(model: str, image: float) -> None:
    text = cost(model, output_tokens=100)
    both = cost(model, output_tokens=1390, output_modalities={"TEXT": 100, "IMAGE": 1290})
    assert both - text == usd(image) * 1290 // MILLION


def test_long_prompts_move_the_whole_request() -> None:
    at = cost("gemini-2.5-pro", prompt_tokens=200_000, cached_tokens=100_000, output_tokens=1_000)
    above = cost("gemini-2.5-pro", prompt_tokens=200_001, cached_tokens=100_000, output_tokens=1_000)
    assert at == usd(0.1 * 1.25 + 0.1 * 0.125 + 0.001 * 10)
    assert above == usd(0.100001 * 2.50 + 0.1 * 0.25 + 0.001 * 15)
    assert cost("gemini-3.1-pro-preview", prompt_tokens=300_000) == usd(0.3 * 4)
    assert cost("gemini-3.8-flash", prompt_tokens=300_000) == usd(0.3 * 0.75)


def test_a_worked_example() -> None:
    """2.5-flash: 1,000 prompt tokens, of them 200 audio and 400 cached (100 of it audio), tools, thoughts, a search."""
    usage = Usage(
        prompt_tokens=1_000,
        cached_tokens=400,
        tool_use_tokens=50,
        output_tokens=70,
        reasoning_tokens=30,
        search_queries=3,
        prompt_modalities={"TEXT": 800, "AUDIO": 200},
        cached_modalities={"TEXT": 300, "AUDIO": 100},
    )
    text, audio = 500 * 300 + 300 * 30, 100 * 1_000 + 100 * 100
    assert (
        cost_nano(usage, price_of("gemini-2.5-flash", TODAY)[0]) == text + audio + 50 * 300 + 100 * 2_500 + 35_000_000
    )


@pytest.mark.parametrize(
    ("model", "tier", "usd_in", "usd_cached", "usd_out"),
    [
        ("gemini-3.8-flash", "standard", 0.75, 0.075, 3.75),
        ("gemini-3.8-flash", "", 0.75, 0.075, 3.75),
        ("gemini-3.8-flash", "something new", 0.75, 0.075, 3.75),
        ("gemini-3.8-flash", "flex", 0.375, 0.0375, 1.875),
        ("gemini-3.8-flash", "FLEX", 0.375, 0.0375, 1.875),
        ("gemini-3.8-flash", "Priority", 1.35, 0.135, 6.75),
        ("gemini-4-argon", "batch", 1, 0.05, 5),
        ("gemini-3.1-flash-lite", "batch", 0.125, 0.0125, 0.75),
        ("gemini-2.5-flash", "flex", 0.15, 0.03, 1.25),
        ("gemini-3-flash-preview", "batch", 0.25, 0.05, 1.5),
        ("gemini-3.1-pro-preview", "flex", 1, 0.20, 6),
        ("gemini-2.5-flash", "priority", 0.54, 0.054, 4.5),
        ("gemini-3.5-flash-lite", "batch", 0.15, 0.02, 1.25),
        ("gemini-3.5-flash-lite", "flex", 0.15, 0.02, 1.25),
        ("gemini-3.5-flash-lite", "priority", 0.54, 0.05, 4.5),
        ("gemini-3.5-flash", "batch", 0.75, 0.075, 4.5),
        ("gemini-3.5-flash", "flex", 0.75, 0.08, 4.5),
        ("gemini-3.8-flash-tts", "batch", 0.25, 0.0625, 4.5),
        ("gemini-3.8-flash-tts", "flex", 0.25, 0.025, 4.5),
    ],
)
def test_the_served_tier_decides(model: str, tier: str, usd_in: float, usd_cached: float, usd_out: float) -> None:
    tokens = 100_000
    assert cost(model, prompt_tokens=tokens, service_tier=tier) * 10 == usd(usd_in)
    assert cost(model, prompt_tokens=tokens, cached_tokens=tokens, service_tier=tier) * 10 == usd(usd_cached)
    assert cost(model, output_tokens=tokens, service_tier=tier) * 10 == usd(usd_out)


def test_searches_cost_by_query_from_3_on_and_by_answer_on_2_5_in_every_tier() -> None:
    assert cost("gemini-3.8-flash", search_queries=3) == usd(3 * 0.014)
    assert cost("gemini-3.8-flash", search_queries=3, service_tier="flex") == usd(3 * 0.014)
    assert cost("gemini-2.5-flash", search_queries=3) == usd(0.035)
    assert cost("gemini-2.5-flash", search_queries=0) == 0
    assert cost("gemini-3.8-flash", map_queries=3) == usd(3 * 0.014)
    assert cost("gemini-2.5-flash", map_queries=3) == usd(0.025)


def test_rounding_up_happens_once() -> None:
    """A cached token of 3.8-flash in flex is 37.5 nano-dollars: two of them leave nothing to round."""
    assert cost("gemini-3.8-flash", prompt_tokens=1, cached_tokens=1, service_tier="flex") == 38
    assert cost("gemini-3.8-flash", prompt_tokens=2, cached_tokens=2, service_tier="flex") == 75
    assert cost("gemini-3.8-flash") == 0
    thirds = Price(Rates(333, 333, 334, {}, {}, {}), None, {}, 0, False, 0)
    assert cost_nano(Usage(prompt_tokens=2, cached_tokens=1, output_tokens=1), thirds) == 1


def test_details_beyond_the_totals_are_not_billed() -> None:
    price = price_of("gemini-2.5-flash", TODAY)[0]
    whole = Usage(prompt_tokens=100, output_tokens=10, prompt_modalities={"AUDIO": 100})
    odd = replace(whole, prompt_modalities={"AUDIO": 500, "VIDEO": 3}, output_modalities={"IMAGE": 900})
    assert cost_nano(odd, price) == cost_nano(whole, price)
    cached = replace(whole, cached_tokens=100, cached_modalities={"AUDIO": 100})
    assert cost_nano(replace(odd, cached_tokens=700, cached_modalities={"TEXT": 50}), price) == cost_nano(cached, price)
    mixed = Usage(prompt_tokens=300, cached_tokens=250, prompt_modalities={"AUDIO": 100})
    told, overtold = (replace(mixed, cached_modalities={"AUDIO": count}) for count in (100, 250))
    assert cost_nano(overtold, price) == cost_nano(told, price)


@pytest.mark.parametrize(
    ("version", "same_as"),
    [
        ("models/gemini-3.8-flash", "gemini-3.8-flash"),
        ("gemini-3.8-flash-001", "gemini-3.8-flash"),
        ("gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash"),
        ("gemini-2.5-flash-preview-05-20", "gemini-2.5-flash"),
        ("gemini-3.1-flash-lite-preview", "gemini-3.1-flash-lite"),
        ("gemini-3.1-flash-image-preview", "gemini-3.1-flash-image"),
        ("gemini-4-argon-2026-10-13", "gemini-4-argon"),
    ],
)
def test_a_version_of_a_known_model_has_its_price(version: str, same_as: str) -> None:
    assert price_of(version, TODAY) == (price_of(same_as, TODAY)[0], False)


def test_a_longer_name_is_priced_as_the_longest_known_one_and_marked() -> None:
    assert price_of("gemini-2.5-flash-lite-turbo", TODAY) == (price_of("gemini-2.5-flash-lite", TODAY)[0], True)
    assert price_of("gemini-3.8-flash-tts-hd-001", TODAY) == (price_of("gemini-3.8-flash-tts", TODAY)[0], True)


def test_no_model_for_pictures_or_speech_has_the_price_of_one_for_text() -> None:
    """A picture costs sixteen times as much as so many tokens of text."""
    for name in ("gemini-3.8-flash-image", "gemini-2.5-flash-tts"):
        with pytest.raises(GatewayError) as caught:
            price_of(name, TODAY)
        assert caught.value.reason == "price_unknown"
    known = price_of("gemini-3.1-flash-image", TODAY)[0]
    assert price_of("gemini-3.8-flash-image", TODAY, "gemini-3.1-flash-image") == (known, True)
    assert price_of("gemini-3.1-flash-image-large", TODAY) == (known, True)


def test_an_unknown_version_is_priced_as_the_effective_model_and_marked() -> None:
    assert price_of("gemini-x", TODAY, "gemini-3.8-flash") == (price_of("gemini-3.8-flash", TODAY)[0], True)
    assert price_of("", TODAY, "gemini-3.8-flash-001") == (price_of("gemini-3.8-flash", TODAY)[0], True)
    assert price_of("gemini-3.8-flash", TODAY, "gemini-4-argon") == (price_of("gemini-3.8-flash", TODAY)[0], False)


@pytest.mark.parametrize("effective", [None, "", "gemini-9-neon"])
def test_no_price_no_service(effective: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        price_of("gemini-9-neon", TODAY, effective)
    assert (caught.value.kind, caught.value.reason, caught.value.param) == ("model_not_found", "price_unknown", "model")


def test_the_version_of_the_prices() -> None:
    assert PRICE_VERSION == DATA_VERSION
    assert PRICE_VERSION.startswith("2026-")


def test_an_estimate_covers_the_cost_of_text() -> None:
    price = price_of("gemini-2.5-pro", TODAY)[0]
    assert estimate_nano(price, 1_000, 2_000) == usd(0.001 * 1.25 + 0.002 * 10)
    assert estimate_nano(price, 200_001, 1_000) == usd(0.200001 * 2.50 + 0.001 * 15)
    assert estimate_nano(price, 1_000, 0, service_tier="priority") == usd(0.001 * 1.25 * 1.8)
    assert estimate_nano(price, 1_000, 0, service_tier="flex") == usd(0.001 * 1.25)  # may be served as standard


def test_an_estimate_covers_what_is_no_text() -> None:
    """Sound costs three times as much as text on 2.5 Flash, and 32 times where it is embedded."""
    flash, embedding = (price_of(model, TODAY)[0] for model in ("gemini-2.5-flash", "gemini-embedding-2"))
    mixed = {"AUDIO": 800, "IMAGE": 100, "APPLICATION": 50}
    assert estimate_nano(flash, 1_000, 0, media=mixed) == usd(0.0002 * 0.3 + 0.0008 * 1)
    assert estimate_nano(embedding, 1_000, 0, media=mixed) == usd(0.0008 * 6.5 + 0.00015 * 0.45 + 0.00005 * 0.2)
    assert estimate_nano(flash, 1_000, 0, grounded=True) == usd(0.001 * 0.3 + 0.035)
    assert estimate_nano(price_of("gemini-3.8-flash", TODAY)[0], 0, 0, grounded=True) == usd(4 * 0.014)


@pytest.mark.parametrize(
    ("kind", "millionth"),
    [("AUDIO", 6.50), ("VIDEO", 12), ("", 12), ("IMAGE", 0.45), ("APPLICATION", 0.45), ("TEXT", 0.45)],
)
def test_an_estimate_covers_media_that_cost_more_than_text(kind: str, millionth: float) -> None:
    price = price_of("gemini-embedding-2", TODAY)[0]
    assert estimate_nano(price, 1_500, 0, media={kind: 1_000}) == usd((500 * 0.20 + 1_000 * millionth) / MILLION)


def test_an_estimate_reserves_a_few_images_not_a_million_tokens_of_them() -> None:
    price = price_of("gemini-3-pro-image", TODAY)[0]
    assert estimate_nano(price, 0, 2_000) == usd(0.002 * 120)
    assert estimate_nano(price, 0, 32_768) == usd((8_192 * 120 + (32_768 - 8_192) * 12) / MILLION)


def test_a_reservation_takes_the_dearest_model_that_may_answer() -> None:
    def alone(model: str, day: date) -> int:
        return estimate_nano(price_of(model, day)[0], 1_000, 1_000)

    flash = resolve("gemini-3.5-flash", TODAY)  # runs as the cheaper 3.6-flash
    assert reservation_nano(flash, TODAY, 1_000, 1_000) == alone("gemini-3.5-flash", TODAY)
    lite = resolve("gemini-2.5-flash-lite", TODAY)  # may fall back to the dearer 3.1-flash-lite
    assert reservation_nano(lite, TODAY, 1_000, 1_000) == alone("gemini-3.1-flash-lite", TODAY)
    with pytest.raises(GatewayError) as caught:
        reservation_nano(resolve("gemini-9-neon", TODAY), TODAY, 1, 1)
    assert caught.value.reason == "price_unknown"


# ------------------------------------------------------------------------------------------------------- properties

counts = st.integers(0, 2_000_000)
models = st.sampled_from(sorted(PRICES))
days = st.sampled_from([TODAY, DECEMBER, NEW_YEAR])


@st.composite
def usages(draw: st.DrawFn, most: int = 2_000_000, tier: str | None = None) -> Usage:
    """Usage whose details agree with its totals, though they need not be complete."""
    small = st.integers(0, most // 4)
    prompt = {kind: draw(small) for kind in draw(st.sets(st.sampled_from(["TEXT", "AUDIO", "IMAGE", "VIDEO"])))}
    cached = {kind: draw(st.integers(0, count)) for kind, count in prompt.items()}
    output = {kind: draw(small) for kind in draw(st.sets(st.sampled_from(["TEXT", "AUDIO", "IMAGE"])))}
    return Usage(
        prompt_tokens=sum(prompt.values()),
        cached_tokens=sum(cached.values()),
        tool_use_tokens=draw(small),
        output_tokens=sum(output.values()),
        reasoning_tokens=draw(small),
        search_queries=draw(st.integers(0, 20)),
        map_queries=draw(st.integers(0, 20)),
        prompt_modalities=prompt,
        cached_modalities=cached,
        output_modalities=output,
        service_tier=draw(st.sampled_from(["", "standard", "flex", "priority"])) if tier is None else tier,
    )


@st.composite
def odd_usages(draw: st.DrawFn) -> Usage:
    """Usage whose details have nothing to do with its totals, as broken replies have it."""
    details = st.dictionaries(st.sampled_from(["TEXT", "AUDIO", "IMAGE", "VIDEO", "DOCUMENT", "NEW"]), counts)
    return Usage(
        prompt_tokens=draw(counts),
        cached_tokens=draw(counts),
        tool_use_tokens=draw(counts),
        output_tokens=draw(counts),
        reasoning_tokens=draw(counts),
        search_queries=draw(st.integers(0, 50)),
        map_queries=draw(st.integers(0, 50)),
        prompt_modalities=draw(details),
        cached_modalities=draw(details),
        output_modalities=draw(details),
        service_tier=draw(st.sampled_from(["", "STANDARD", "flex", "priority", "batch", "?"])),
    )


def flat(price: Price) -> Price:
    """Without what is priced by the call: long prompts and grounded answers."""
    return replace(price, long=None, search_per_answer=False)


@given(models, days, odd_usages())
@settings(deadline=None)
def test_any_usage_costs_a_whole_number_that_json_can_carry(model: str, day: date, usage: Usage) -> None:
    cost = cost_nano(usage, price_of(model, day)[0])
    assert type(cost) is int
    assert 0 <= cost < 2**53


@given(
    models,
    days,
    odd_usages(),
    st.sampled_from(
        ["tool_use_tokens", "output_tokens", "reasoning_tokens", "prompt_tokens", "search_queries", "map_queries"]
    ),
    st.integers(1, 10_000),
)
@settings(deadline=None, max_examples=300)
def test_more_of_anything_never_costs_less(model: str, day: date, usage: Usage, field: str, more: int) -> None:
    price = price_of(model, day)[0]
    larger = replace(usage, **{field: getattr(usage, field) + more})
    assert cost_nano(usage, price) <= cost_nano(larger, price)


@given(models, days, odd_usages(), st.integers(0, 2_000_000))
@settings(deadline=None, max_examples=300)
def test_caching_never_makes_dearer(model: str, day: date, usage: Usage, fewer: int) -> None:
    price = price_of(model, day)[0]
    less_cached = replace(usage, cached_tokens=max(0, usage.cached_tokens - fewer))
    assert cost_nano(usage, price) <= cost_nano(less_cached, price)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """Prices less round than Google's, so that rounding shows."""
    rate = st.integers(0, 50_000_003)
    own = st.dictionaries(st.sampled_from(["AUDIO", "IMAGE"]), rate)
    rates = Rates(draw(rate), draw(st.none() | rate), draw(rate), draw(own), draw(own), draw(own))
    tiers = {"flex": TierFactor(50, draw(st.integers(1, 100)), draw(st.none() | rate))}
    return Price(rates, None, tiers, draw(st.integers(0, 10**8)), False, draw(st.integers(0, 10**8)))


@given(prices(), usages(tier="flex"), usages(tier="flex"))
@settings(deadline=None, max_examples=300)
def test_splitting_a_request_at_any_price(price: Price, a: Usage, b: Usage) -> None:
    apart, together = cost_nano(a, price) + cost_nano(b, price), cost_nano(a + b, price)
    assert apart >= together >= apart - 1


@given(models, days, st.sampled_from(["", "flex", "priority"]), st.data())
@settings(deadline=None, max_examples=300)
def test_splitting_a_request_changes_its_cost_by_rounding_only(
    model: str, day: date, tier: str, data: st.DataObject
) -> None:
    price = flat(price_of(model, day)[0])
    a, b = data.draw(usages(tier=tier)), data.draw(usages(tier=tier))
    apart, together = cost_nano(a, price) + cost_nano(b, price), cost_nano(a + b, price)
    assert apart >= together >= apart - 1


@given(models, days, usages(most=100_000))
@settings(deadline=None)
def test_the_tiers_keep_their_order(model: str, day: date, usage: Usage) -> None:
    price = price_of(model, day)[0]
    flex, standard, priority = (cost_nano(replace(usage, service_tier=t), price) for t in ("flex", "", "priority"))
    assert flex <= standard <= priority


@given(
    models, days, st.integers(0, 2_000_000), st.integers(0, 100_000), st.integers(0, 100_000), st.integers(0, 2_000_000)
)
@settings(deadline=None, max_examples=300)
def test_no_text_answer_costs_more_than_its_estimate(
    model: str, day: date, prompt: int, output: int, thoughts: int, cached: int
) -> None:
    price = price_of(model, day)[0]
    usage = Usage(prompt_tokens=prompt, cached_tokens=cached, output_tokens=output, reasoning_tokens=thoughts)
    estimate = estimate_nano(price, prompt, output + thoughts)
    assert type(estimate) is int
    assert cost_nano(usage, price) <= estimate
