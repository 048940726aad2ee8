"""Models and names from the overrides, checked against each other."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from infra.catalog.genai import CatalogError

ALWAYS = "9999-12-31"
DEFAULT_LIMITS = (1_048_576, 65_536)

ModelRow = tuple[str, str, int, int, int, str]
"""(profile, display name, input limit, output limit, created in epoch seconds, last listed day or "")."""

AliasRow = tuple[str, str | None, bool | None]
"""(target or "" for not served, effort, include thoughts)."""


def profiles(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every profile with its bases laid under it; lists become tuples."""
    rows: Mapping[str, Any] = overrides["profiles"]
    fields = set(rows["text-2.5"])
    flat: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        merged = {**(flat[row["base"]] if "base" in row else {}), **{k: v for k, v in row.items() if k != "base"}}
        if set(merged) != fields:
            raise CatalogError(f"profile {name}: fields differ: {sorted(set(merged) ^ fields)}")
        flat[name] = {key: tuple(value) if isinstance(value, list) else value for key, value in merged.items()}
    return flat


def models(overrides: Mapping[str, Any]) -> dict[str, ModelRow]:
    known = overrides["profiles"]
    rows: dict[str, ModelRow] = {}
    for model, row in overrides["models"].items():
        if row["profile"] not in known:
            raise CatalogError(f"{model}: no profile {row['profile']}")
        input_limit, output_limit = row.get("limits", DEFAULT_LIMITS)
        rows[model] = (
            row["profile"],
            row["name"],
            input_limit,
            output_limit,
            _epoch(row.get("released")),
            _listed(row.get("listed", True)),
        )
    return rows


def aliases(overrides: Mapping[str, Any]) -> dict[str, AliasRow]:
    rows: dict[str, AliasRow] = {}
    for target, names in overrides["aliases"].items():
        for entry in names:
            row = entry if isinstance(entry, dict) else {"id": entry}
            if row["id"] in rows or row["id"] in overrides["models"]:
                raise CatalogError(f"{row['id']} stands twice")
            rows[row["id"]] = (target, row.get("effort"), row.get("include_thoughts"))
    return rows


def prefixes(overrides: Mapping[str, Any]) -> list[tuple[str, AliasRow]]:
    """Longest first, so that the first match is the best."""
    rows: list[tuple[str, AliasRow]] = []
    for prefix, entry in overrides["prefixes"].items():
        row = entry if isinstance(entry, dict) else {"id": entry}
        rows.append((prefix, (row["id"], row.get("effort"), row.get("include_thoughts"))))
    return sorted(rows, key=lambda row: (-len(row[0]), row[0]))


def reroutes(overrides: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {model: (row["since"].isoformat(), row["to"]) for model, row in overrides["reroutes"].items()}


def unknown(overrides: Mapping[str, Any]) -> list[tuple[str, str, int, int]]:
    return [(row["contains"], row["profile"], *row["limits"]) for row in overrides["unknown"]]


def check_targets(overrides: Mapping[str, Any]) -> None:
    """Every name must lead to a model of the catalog: an alias of an alias or a typo would be a 404 for clients."""
    for where, target in _targets(overrides):
        if target not in overrides["models"]:
            raise CatalogError(f"{where} leads to {target}, which is no model of the catalog")


def _targets(overrides: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((f"aliases: {name}", row[0]) for name, row in aliases(overrides).items())
    yield from ((f"prefixes: {prefix}", row[0]) for prefix, row in prefixes(overrides) if row[0])
    yield from ((f"claude_families: {word}", target) for word, target in overrides["claude_families"].items())
    for model, target in overrides["fallbacks"].items():
        yield f"fallbacks: {model}", target
        yield f"fallbacks: {model}", model
    yield from ((f"reroutes: {model}", row["to"]) for model, row in overrides["reroutes"].items())


def _epoch(day: date | None) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) if day else 0


def _listed(value: bool | date) -> str:
    if isinstance(value, bool):
        return ALWAYS if value else ""
    return value.isoformat()
