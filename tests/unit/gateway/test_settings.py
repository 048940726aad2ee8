"""What a deployment's variables mean, and what is said of those that mean nothing."""

import pytest

from shared.gateway.settings import ConfigurationError, Settings


@pytest.mark.parametrize(("given", "level"), [("", "INFO"), ("debug", "DEBUG"), (" Warning ", "WARNING")])
def test_a_log_level_in_any_case(given, level):
    assert Settings.from_env({"LOG_LEVEL": given}).log_level == level


def test_a_log_level_that_is_none_is_named_without_its_value():
    with pytest.raises(ConfigurationError, match=r"^LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL$"):
        Settings.from_env({"LOG_LEVEL": "verbose"})
