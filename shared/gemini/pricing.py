"""What a call costs: one formula, integers only, in nano-dollars (10^-9 USD).

Prices are generated data in nano-dollars per 1,000 tokens, with start dates; `price_of` picks the band of the UTC day
on which the request began. Sources: Google's pricing page by way of genai-prices and the reasons in `infra/catalog`.
"""

import re
from collections.abc import Mapping
from datetime import date
from functools import cache, lru_cache
from typing import Final

from msgspec import Struct

from shared.events import Usage
from shared.gemini.catalog import ResolvedModel, longest_prefix, not_found
from shared.gemini.catalog_data.prices import PRICE_VERSION, PRICES, TIERS

__all__ = ["LONG_PROMPT", "PRICE_VERSION", "Price", "Rates", "TierFactor", "cost_nano", "estimate_nano", "price_of"]

LONG_PROMPT: Final = 200_000  # prompt tokens above which the whole request moves to the long rates

# An answer holds a few images at most (about 1,100 to 2,000 tokens each), however large its token limit is.
_MEDIA_TOKENS: Final = 8_192

_SEARCHES: Final = 4  # queries that one answer may make; the recorded ones made three at most

_NOTHING: Final[Mapping[str, int]] = {}
_PER_CENT: Final = 100
_PARTS: Final = 1_000 * _PER_CENT  # rates are per 1,000 tokens, tiers in percent

# `-09-2025`, `-2025-12-01`, `-05-20`, `-001`, `-preview`: the same model at the same price.
_TRAILER: Final = r"-(?:\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d+|preview)$"


class Rates(Struct, frozen=True):
    """Nano-dollars per 1,000 tokens. The maps hold the modalities (TEXT, IMAGE, AUDIO, VIDEO, DOCUMENT) with a price of
    their own; `cached` is None where the model has no cached price."""

    input: int
    cached: int | None
    output: int
    input_by_modality: Mapping[str, int]
    cached_by_modality: Mapping[str, int]
    output_by_modality: Mapping[str, int]


class TierFactor(Struct, frozen=True):
    """A service tier against the standard one, in percent; `cached` replaces the cached price where that is no multiple
    (nano-dollars per 1,000 tokens)."""

    percent: int
    cached_percent: int
    cached: int | None


class Price(Struct, frozen=True):
    """Everything that prices one model on one day. `search` and `maps` are in nano-dollars per query, or per grounded
    answer where `search_per_answer`."""

    rates: Rates
    long: Rates | None
    tiers: Mapping[str, TierFactor]
    search: int
    search_per_answer: bool
    maps: int

    def rates_for(self, prompt_tokens: int) -> Rates:
        return self.long if self.long is not None and prompt_tokens > LONG_PROMPT else self.rates

    def tier(self, name: str) -> TierFactor:
        """By the upstream's word in any case; an unknown or missing one is the standard tier."""
        return self.tiers.get(name.lower(), _STANDARD)


_STANDARD: Final = TierFactor(_PER_CENT, _PER_CENT, None)


@lru_cache(maxsize=1_024)
def price_of(model: str, today: date, effective: str | None = None) -> tuple[Price, bool]:
    """(price, estimated) of `model`, the response's `modelVersion` or an id, on the UTC day `today`.

    An id outside the catalog is looked up without its trailing date, number or `-preview`; then, marked as estimated,
    by the longest known id that it extends, and last as `effective`. Raises GatewayError `model_not_found` with reason
    `price_unknown` where nothing matches: what has no price is not served.
    """
    known = _trimmed(model.removeprefix("models/"))
    if known in PRICES:
        return _price(known, _band(known, today)), False
    guess = longest_prefix(known, PRICES)
    if not guess and effective:
        guess = _trimmed(effective)
        if guess not in PRICES:
            guess = longest_prefix(guess, PRICES)
    if not guess:
        raise not_found(model, reason="price_unknown")
    return _price(guess, _band(guess, today)), True


def cost_nano(usage: Usage, price: Price) -> int:
    """The cost of ONE upstream call in nano-dollars, rounded up once, never negative.

    Add the costs of several calls, not their usages: long prompts and grounded answers are priced by the call. Thoughts
    cost as text output; tokens that the upstream's own tools put into the prompt cost as text input; tokens without a
    modality cost as text. The tier is the served one and does not touch the price of searches.
    """
    rates, tier = price.rates_for(usage.prompt_tokens), price.tier(usage.service_tier)
    prompt = _split(usage.prompt_tokens, usage.prompt_modalities)
    cached = _cached_split(usage.cached_tokens, usage.cached_modalities, prompt) if usage.cached_tokens else _NOTHING
    full = usage.tool_use_tokens * rates.input + usage.reasoning_tokens * rates.output
    for kind, count in prompt.items():
        full += (count - cached.get(kind, 0)) * rates.input_by_modality.get(kind, rates.input)
    for kind, count in _split(usage.output_tokens, usage.output_modalities).items():
        full += count * rates.output_by_modality.get(kind, rates.output)
    amount = full * tier.percent
    for kind, count in cached.items():
        amount += count * _cached_rate(rates, tier, kind)
    searches, maps = usage.search_queries, usage.map_queries
    if price.search_per_answer:
        searches, maps = min(searches, 1), min(maps, 1)
    return _whole(amount) + price.search * searches + price.maps * maps


def estimate_nano(
    price: Price,
    input_tokens: int,
    output_tokens: int,
    *,
    media: Mapping[str, int] = _NOTHING,
    grounded: bool = False,
    service_tier: str = "",
) -> int:
    """What to reserve for one call with at most these tokens, in nano-dollars: long rates where the input may reach
    them, nothing cached, no discount, media output at its own price, a dearer tier where the client asks for one.
    `media` is the part of the input that is no text, by the first word of its MIME type, "" where that is unknown;
    `grounded`: the answer may be, on the web or on Maps."""
    rates = price.rates_for(input_tokens)
    made = min(output_tokens, _MEDIA_TOKENS)
    dearest = max([rates.output, *rates.output_by_modality.values()])
    tokens = input_tokens * rates.input + made * dearest + (output_tokens - made) * rates.output
    if media and rates.input_by_modality:
        tokens += sum([count * (_media_rate(rates, kind) - rates.input) for kind, count in media.items()])
    nano = _whole(tokens * max(_PER_CENT, price.tier(service_tier).percent))
    return nano + max(price.search, price.maps) * (1 if price.search_per_answer else _SEARCHES) * grounded


def reservation_nano(
    model: ResolvedModel,
    today: date,
    input_tokens: int,
    output_tokens: int,
    *,
    media: Mapping[str, int] = _NOTHING,
    grounded: bool = False,
    service_tier: str = "",
) -> int:
    """The estimate at the dearest model that may answer: the one sent, the one Google runs for it, every fallback.
    Raises like `price_of`."""
    names = [model.id, model.effective, model.fallback_on_404]
    for link in model.fallbacks:
        names += (link.id, link.effective)
    prices = _prices(tuple(names), today)
    return max(
        [
            estimate_nano(price, input_tokens, output_tokens, media=media, grounded=grounded, service_tier=service_tier)
            for price in prices
        ]
    )


def _media_rate(rates: Rates, kind: str) -> int:
    """The dearest that such input can be: a film has sound, and a file whose type nobody told may be anything."""
    own = rates.input_by_modality
    if kind == "AUDIO":
        return max(rates.input, own.get("AUDIO", 0))
    if kind in ("IMAGE", "APPLICATION", "TEXT"):
        return max(rates.input, own.get("IMAGE", 0), own.get("DOCUMENT", 0))
    return max(rates.input, *own.values())


@lru_cache(maxsize=256)
def _prices(names: tuple[str | None, ...], today: date) -> tuple[Price, ...]:
    """Of these models; most names of a model have one price."""
    prices: list[Price] = []
    for name in names:
        if name and (price := price_of(name, today)[0]) not in prices:
            prices.append(price)
    return tuple(prices)


def _trimmed(name: str) -> str:
    """The name, or what is left of it when trailers are taken off until the catalog knows it."""
    while name not in PRICES:
        shorter = re.sub(_TRAILER, "", name)
        if shorter == name:
            break
        name = shorter
    return name


def _band(model: str, today: date) -> int:
    day = today.isoformat()
    return max(index for index, (since, *_) in enumerate(PRICES[model]) if since <= day)


@cache
def _price(model: str, band: int) -> Price:
    _, rates, long, tiers, search, search_per_answer, maps = PRICES[model][band]
    return Price(
        rates=Rates(*rates),
        long=Rates(*long) if long else None,
        tiers={name: TierFactor(*factor) for name, factor in TIERS[tiers].items()},
        search=search,
        search_per_answer=search_per_answer,
        maps=maps,
    )


def _split(total: int, modalities: Mapping[str, int]) -> dict[str, int]:
    """`total` by modality; what the details leave out is text, what they claim beyond `total` is ignored."""
    if not modalities or (len(modalities) == 1 and "TEXT" in modalities):
        return {"TEXT": total}
    parts: dict[str, int] = {}
    left = total
    for kind in sorted(modalities):
        if kind != "TEXT":
            parts[kind] = min(modalities[kind], left)
            left -= parts[kind]
    return {"TEXT": left, **parts}


def _cached_split(total: int, modalities: Mapping[str, int], prompt: Mapping[str, int]) -> dict[str, int]:
    """The cached part of every part of the prompt: first what the details say, then text, then the rest. Never more
    than the part itself, whatever `total` claims."""
    parts: dict[str, int] = {}
    left = total
    for kind, count in prompt.items():
        if kind != "TEXT":
            parts[kind] = min(modalities.get(kind, 0), count, left)
            left -= parts[kind]
    for kind, count in prompt.items():
        more = min(count - parts.get(kind, 0), left)
        parts[kind] = parts.get(kind, 0) + more
        left -= more
    return parts


def _cached_rate(rates: Rates, tier: TierFactor, kind: str) -> int:
    """Nano-dollars per 1,000 tokens, times 100; never more than the same token would cost uncached."""
    uncached = rates.input_by_modality.get(kind, rates.input) * tier.percent
    own = rates.cached_by_modality.get(kind)
    if own is not None:
        return min(own * tier.cached_percent, uncached)
    if rates.cached is None:
        return uncached
    if tier.cached is not None:
        return min(tier.cached * _PER_CENT, uncached)
    return min(rates.cached * tier.cached_percent, uncached)


def _whole(amount: int) -> int:
    """Rounded up."""
    return (amount + _PARTS - 1) // _PARTS
