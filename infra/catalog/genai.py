"""Google's prices as the installed genai-prices knows them, in the catalog's own units."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from genai_prices import data
from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint, TieredPrices

Rates = dict[str, int]
"""Price key (`in`, `cached`, `out`, `audio_in`, ...) to nano-dollars per 1,000 tokens."""

LONG_PROMPT = 200_000
NANO_PER_1000_TOKENS = 1_000_000  # of one dollar per million tokens

_KEYS = {
    "input_mtok": "in",
    "cache_read_mtok": "cached",
    "output_mtok": "out",
    "input_audio_mtok": "audio_in",
    "cache_audio_read_mtok": "audio_cached",
    "output_audio_mtok": "audio_out",
    "input_image_mtok": "image_in",
    "output_image_mtok": "image_out",
    "input_video_mtok": "video_in",
    "output_video_mtok": "video_out",
}
_SEARCH = "web_searches_kcount"


class CatalogError(ValueError):
    """The sources contradict each other or hold what the generator does not understand."""


@dataclass(frozen=True, slots=True)
class Band:
    """The prices from `since` (ISO date, "" = always) on. `long` holds the prices above 200,000 prompt tokens, where a
    model has them; `search_usd` is per 1,000 searches, None where the source is silent."""

    since: str
    rates: Rates
    long: Rates
    search_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """Prices of another service tier from `since` on, as the source states them."""

    tier: str
    since: str
    rates: Rates
    long: Rates


def nano(usd_per_million: Decimal | str) -> int:
    value = Decimal(usd_per_million) * NANO_PER_1000_TOKENS
    if value != value.to_integral_value() or value < 0:
        raise CatalogError(f"{usd_per_million} $/M is not a whole number of nano-dollars per 1,000 tokens")
    return int(value)


def history(model: str) -> list[Band] | None:
    """The bands of a model, oldest first; None for a model that genai-prices does not know."""
    info = _find(model)
    if info is None:
        return None
    prices = info.prices
    conditional = [ConditionalPrice(prices=prices)] if isinstance(prices, ModelPrice) else prices
    return [_band(_since(row.constraint, model), row.prices) for row in conditional]


def variants(model: str) -> Iterator[Variant]:
    info = _find(model)
    for row in (info.price_variants if info else None) or ():
        when = dict(row.when)
        tier = when.pop("service_tier", None) or when.pop("processing", None)
        if tier is None or when:
            raise CatalogError(f"{model}: a price variant for {row.when} is not understood")
        band = _band(_since(row.constraint, model), row.prices)
        yield Variant(tier, band.since, band.rates, band.long)


def _find(model: str) -> Any | None:
    google = next(provider for provider in data.providers if provider.id == "google")
    return next((info for info in google.models if info.is_match(model)), None)


def _since(constraint: Any, model: str) -> str:
    if constraint is None:
        return ""
    if not isinstance(constraint, StartDateConstraint):
        raise CatalogError(f"{model}: a price with {constraint!r} is not understood")
    return constraint.start_date.isoformat()


def _band(since: str, prices: ModelPrice) -> Band:
    stated: Mapping[str, Any] = {key: value for key, value in vars(prices).items() if value is not None}
    unknown = set(stated) - set(_KEYS) - {_SEARCH}
    if unknown:
        raise CatalogError(f"prices of an unknown kind: {sorted(unknown)}")
    rates: Rates = {}
    long: Rates = {}
    for source, key in _KEYS.items():
        value = stated.get(source)
        if isinstance(value, TieredPrices):
            if [tier.start for tier in value.tiers] != [LONG_PROMPT]:
                raise CatalogError(f"tiers other than one at {LONG_PROMPT} tokens: {value}")
            rates[key], long[key] = nano(value.base), nano(value.tiers[0].price)
        elif value is not None:
            rates[key] = nano(value)
    return Band(since, rates, {**rates, **long} if long else {}, stated.get(_SEARCH))
