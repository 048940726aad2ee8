"""Prices merged from genai-prices and the overrides, every difference justified."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from infra.catalog import genai
from infra.catalog.genai import Band, CatalogError, Rates, nano

NO_TIER = (100, 100, None)

Tiers = dict[str, tuple[int, int, int | None]]
"""Service tier to (percent of input and output, percent of cached, cached price instead)."""


def price_history(model: str, overrides: Mapping[str, Any]) -> list[Band]:
    """The bands of one model. Raises CatalogError for a price nobody states and for an override that is stale."""
    missing, differences = overrides["price_missing"], overrides["price_differences"]
    known = genai.history(model)
    if model in missing:
        if known is not None:
            raise CatalogError(f"{model}: genai-prices knows it now, remove it from price_missing")
        return _stated(model, missing[model], overrides)
    if known is None:
        raise CatalogError(f"{model}: genai-prices does not know it, add it to price_missing")
    if model in differences:
        known = [_corrected(model, band, differences[model]) for band in known]
    return _merged([_checked(model, band, overrides) for band in known])


def tiers_of(model: str, overrides: Mapping[str, Any]) -> tuple[str, Tiers]:
    """(row name, factors). Where genai-prices states a tier's prices they must agree with the factors."""
    name = longest_prefix(model, overrides["tiers"])
    tiers: Tiers = {}
    for tier, (percent, cached_percent, *cached) in overrides["tiers"][name].items():
        tiers[tier] = (percent, cached_percent, nano(cached[0]) if cached else None)
    return name, tiers


def check_variants(model: str, history: list[Band], tiers: Tiers) -> None:
    for variant in genai.variants(model):
        band = [row for row in history if row.since <= variant.since][-1]
        factor = tiers.get(variant.tier, NO_TIER)
        for stated, standard in ((variant.rates, band.rates), (variant.long, band.long)):
            for key, value in stated.items():
                if value != (ours := _at_tier(key, standard[key], factor)):
                    raise CatalogError(f"{model}: {variant.tier} {key} from {variant.since} is {value}, ours {ours}")


def search_price(model: str, history: list[Band], overrides: Mapping[str, Any]) -> tuple[int, bool, int]:
    """(nano-dollars of one unit, whether the unit is a grounded answer instead of a query, the same unit on Maps)."""
    row = overrides["search"][longest_prefix(model, overrides["search"])]
    stated = {band.search_usd for band in history} - {None}
    if stated and stated != {Decimal(row["usd"])}:
        raise CatalogError(f"{model}: genai-prices charges {stated} per 1,000 searches, the overrides {row['usd']}")
    return int(Decimal(row["usd"]) * 1_000_000), row["per"] == "answer", int(Decimal(row["maps_usd"]) * 1_000_000)


def longest_prefix(model: str, rows: Iterable[str]) -> str:
    return max((prefix for prefix in rows if model.startswith(prefix)), key=len)


def _at_tier(key: str, standard: int, factor: tuple[int, int, int | None]) -> int:
    percent, cached_percent, cached = factor
    if key == "cached" and cached is not None:
        return cached
    return standard * (cached_percent if key.endswith("cached") else percent) // 100


def _stated(model: str, row: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[Band]:
    _justified(model, row)
    if "as" in row:
        return price_history(row["as"], overrides)
    return [Band("", {key: nano(value) for key, value in row["set"].items()}, {})]


def _corrected(model: str, band: Band, row: Mapping[str, Any]) -> Band:
    _justified(model, row)
    wanted: Rates = {key: nano(value) for key, value in row["set"].items()}
    same = [key for key, value in wanted.items() if band.rates.get(key) == value]
    if same:
        raise CatalogError(f"{model}: {same} no longer differ from genai-prices, remove them from price_differences")
    long = {**band.long, **wanted} if band.long else {}
    return Band(band.since, {**band.rates, **wanted}, long, band.search_usd)


def _checked(model: str, band: Band, overrides: Mapping[str, Any]) -> Band:
    """A price of nothing must be meant: an empty row would serve a paid model for free."""
    free = model in overrides["price_free"]
    if free and not band.rates:
        return Band(band.since, {"in": 0, "out": 0}, {}, band.search_usd)
    if free or not band.rates.get("in"):
        raise CatalogError(f"{model}: price_free and genai-prices ({band.rates}) contradict each other")
    if not band.rates.get("out") and overrides["models"][model]["profile"] != "embedding":
        raise CatalogError(f"{model}: no output price")
    return band


def _merged(history: list[Band]) -> list[Band]:
    """Without bands that change nothing but the price of searches, which stands in the overrides."""
    kept: list[Band] = []
    for band in history:
        if not kept or (kept[-1].rates, kept[-1].long) != (band.rates, band.long):
            kept.append(band)
        elif band.search_usd is not None:
            kept[-1] = Band(kept[-1].since, band.rates, band.long, band.search_usd)
    return kept


def _justified(model: str, row: Mapping[str, Any]) -> None:
    if not str(row.get("why", "")).strip():
        raise CatalogError(f"{model}: an override without a reason")
