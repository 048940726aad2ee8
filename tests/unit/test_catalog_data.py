"""The generated data is what its sources say, and the sources may not contradict each other unnoticed."""

import copy
import subprocess
import sys
import time
from typing import Any

import pytest

from infra.catalog.emit import TARGET, load_overrides, rendered
from infra.catalog.genai import CatalogError
from shared.gemini.catalog_data.models import MODELS
from shared.gemini.catalog_data.prices import PRICES


@pytest.fixture
def overrides() -> dict[str, Any]:
    return copy.deepcopy(load_overrides())


def test_the_data_is_current() -> None:
    for name, text in rendered(load_overrides()).items():
        assert (TARGET / name).read_text(encoding="utf-8") == text, f"{name} is stale: run `python -m infra.catalog`"


def test_every_model_has_a_price() -> None:
    assert set(MODELS) <= set(PRICES)


def test_a_price_of_zero_must_be_meant(overrides: dict[str, Any]) -> None:
    overrides["price_free"].remove("gemma-4-31b-it")
    with pytest.raises(CatalogError, match="gemma-4-31b-it"):
        rendered(overrides)


def test_a_paid_model_cannot_be_declared_free(overrides: dict[str, Any]) -> None:
    overrides["price_free"].append("gemini-3.8-flash")
    with pytest.raises(CatalogError, match=r"gemini-3\.8-flash"):
        rendered(overrides)


def test_a_difference_that_is_none_any_more_is_refused(overrides: dict[str, Any]) -> None:
    overrides["price_differences"]["gemini-3.8-flash"] = {"set": {"in": "0.75"}, "why": "a stale row"}
    with pytest.raises(CatalogError, match="no longer differ"):
        rendered(overrides)


def test_a_model_that_genai_prices_learned_leaves_the_list_of_missing_ones(overrides: dict[str, Any]) -> None:
    overrides["price_missing"]["gemini-4-argon"] = {"set": {"in": "2", "out": "10"}, "why": "a stale row"}
    with pytest.raises(CatalogError, match="knows it now"):
        rendered(overrides)


def test_a_model_without_any_price_is_refused(overrides: dict[str, Any]) -> None:
    del overrides["price_missing"]["gemini-4-carbon"]
    with pytest.raises(CatalogError, match="gemini-4-carbon"):
        rendered(overrides)


@pytest.mark.parametrize(
    ("table", "model"), [("price_differences", "gemini-2.5-flash-image"), ("price_missing", "gemini-4-carbon")]
)
def test_every_override_of_a_price_has_a_reason(overrides: dict[str, Any], table: str, model: str) -> None:
    overrides[table][model]["why"] = " "
    with pytest.raises(CatalogError, match="without a reason"):
        rendered(overrides)


def test_tier_factors_that_contradict_stated_tier_prices_are_refused(overrides: dict[str, Any]) -> None:
    overrides["tiers"]["gemini-3.8"]["batch"] = [60, 50]
    with pytest.raises(CatalogError, match="batch in"):
        rendered(overrides)


def test_a_search_price_that_contradicts_the_stated_one_is_refused(overrides: dict[str, Any]) -> None:
    overrides["search"][""]["usd"] = "15"
    with pytest.raises(CatalogError, match="per 1,000 searches"):
        rendered(overrides)


@pytest.mark.parametrize("table", ["fallbacks", "claude_families"])
def test_a_name_that_leads_nowhere_is_refused(overrides: dict[str, Any], table: str) -> None:
    overrides[table][next(iter(overrides[table]))] = "gemini-3.8-flahs"
    with pytest.raises(CatalogError, match="flahs"):
        rendered(overrides)


def test_what_ships_never_imports_the_sources() -> None:
    code = (
        "import sys, shared.gemini.pricing, shared.gemini.thinking; "
        "sys.exit(','.join({'genai_prices', 'yaml', 'pydantic', 'infra'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=TARGET.parents[2], check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_loading_the_data_takes_no_time_worth_naming() -> None:
    codes = [compile((TARGET / name).read_text(encoding="utf-8"), name, "exec") for name in ("models.py", "prices.py")]
    spent = []
    for _ in range(5):
        start = time.process_time()
        for code in codes:
            exec(code, {})
        spent.append(time.process_time() - start)
    assert min(spent) < 0.005
