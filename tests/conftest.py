"""What every test runs under: no proxies, no cloud credentials, no metadata service, examples that CI can repeat, and
a search for leaked secrets and prompts afterwards."""

import os

from hypothesis import settings

from tests.canaries import pytest_configure, pytest_runtest_makereport, pytest_runtest_setup

__all__ = ["pytest_configure", "pytest_runtest_makereport", "pytest_runtest_setup"]

for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {"NO_PROXY": "127.0.0.1,localhost", "AWS_EC2_METADATA_DISABLED": "true"}

# no deadlines on noisy machines; a laptop explores new examples each time, CI runs the same ones
settings.register_profile("laptop", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "laptop")
