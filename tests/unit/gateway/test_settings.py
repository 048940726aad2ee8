"""What a deployment's variables mean, and what is said of those that mean nothing."""

import pytest

from shared.gateway.settings import ConfigurationError, Settings


@pytest.mark.parametrize(("given", "level"), [("", "INFO"), ("debug", "DEBUG"), (" Warning ", "WARNING")])
def test_a_log_level_in_any_case(given, level):
    assert Settings.from_env({"LOG_LEVEL": given}).log_level == level


def test_a_log_level_that_is_none_is_named_without_its_value():
    with pytest.raises(ConfigurationError, match=r"^LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL$"):
        Settings.from_env({"LOG_LEVEL": "verbose"})


FLAGS = (
    *("STRICT_PARAMETERS", "SAFETY_OFF", "STRICT_VERSION", "FAST_AS_PRIORITY", "RESOLVE_GROUNDING_URLS"),
    "SHARED_COOLDOWNS",
)


@pytest.mark.parametrize("name", FLAGS)
def test_a_switch_is_on_or_off_and_nothing_else(name):
    for word, on in (("", False), ("false", False), ("0", False), ("Off", False), ("TRUE", True), (" 1 ", True)):
        assert getattr(Settings.from_env({name: word}), name.lower()) is on
    with pytest.raises(ConfigurationError, match=rf"^{name} must be true or false$"):
        Settings.from_env({name: "enabled"})
