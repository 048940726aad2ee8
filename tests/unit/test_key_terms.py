"""What may be granted, and what is refused by name."""

from typing import Any

import pytest
from msgspec.structs import replace

from shared.errors import GatewayError
from shared.gateway.key_terms import KeyTerms, check_terms

SOUND = KeyTerms("team")
LIMITS = ("rpm", "rpm_burst", "tpm", "tpm_burst", "max_concurrency", "budget_limit_nano", "max_output_tokens")


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [-1, 1.5, float("nan"), True, "7", 2**53])
def test_nothing_but_a_natural_number_is_a_limit(name: str, value: Any) -> None:
    with pytest.raises(GatewayError) as caught:
        check_terms(replace(SOUND, **{name: value}))
    assert (caught.value.kind, caught.value.param) == ("invalid_request", name)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [None, 0, 1, 1_000])
def test_absent_and_zero_are_limits_too(name: str, value: Any) -> None:
    check_terms(replace(SOUND, **{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "x" * 201),
        ("name", "a\nb"),
        ("endpoints", ("chat", "everything")),
        ("models", ("",)),
        ("models", ("gemini 2",)),
        ("ip_allow", ("300.0.0.1",)),
        ("budget_period", "week"),
        ("max_concurrency", 1_001),
        ("expires_at", -1),
        ("expires_at", 1_798_761_600_000),
        ("not_before", 253_402_300_800),
        ("not_before", True),
    ],
)
def test_what_is_wrong_is_named(name: str, value: Any) -> None:
    with pytest.raises(GatewayError) as caught:
        check_terms(replace(SOUND, **{name: value}))
    assert caught.value.param == name


def test_a_period_needs_a_limit() -> None:
    with pytest.raises(GatewayError) as caught:
        check_terms(replace(SOUND, budget_period="day"))
    assert caught.value.param == "budget_limit_nano"
    check_terms(replace(SOUND, budget_period="day", budget_limit_nano=0))


def test_sound_lists_pass() -> None:
    check_terms(
        replace(SOUND, endpoints=("chat", "admin"), models=("gemini-2.5-*",), ip_allow=("192.0.2.7", "2001:db8::/32"))
    )
