"""What a gateway on a laptop stands on: an embedded AWS, an upstream, and two keys to begin with."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.aws import ENVIRONMENT_FILE, EmbeddedAws
from infra.local.credentials import ensure_credentials
from infra.local.emulator import EmulatorServer
from shared.gateway.settings import GOOGLE

EMULATOR_KEY = "emulator-key"


@dataclass(frozen=True)
class Surroundings:
    """`environment` is what a function's variables would be, the caller's own included."""

    environment: Mapping[str, str]
    upstream: str
    emulated: bool


@contextmanager
def surroundings(environ: Mapping[str, str], home: Path, base_url: str) -> Iterator[Surroundings]:
    """Without GEMINI_API_KEY the upstream is the bundled emulator. An embedded AWS that another gateway of the same
    `home` runs is used, not started twice. Gemini credentials stay in the environment: they never enter that AWS."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    with ExitStack() as stack:
        aws = _running(home / "aws")
        if aws is None:
            embedded = EmbeddedAws(home / "aws")
            stack.callback(embedded.stop)
            aws = embedded.start()
        environment = {**environ, **aws}
        emulated = not environ.get("GEMINI_API_KEY", "").strip(" ,")
        upstream = environ.get("GEMINI_BASE_URL") or GOOGLE
        if emulated:
            upstream = stack.enter_context(EmulatorServer()).base_url
            environment["GEMINI_API_KEY"] = EMULATOR_KEY
        environment["GEMINI_BASE_URL"] = upstream
        ensure_credentials(home, base_url, environment)
        yield Surroundings(environment, upstream, emulated)


def _running(home: Path) -> dict[str, str] | None:
    """The environment of an embedded AWS that answers, as its gateway left it."""
    try:
        environment: dict[str, str] = json.loads((home / ENVIRONMENT_FILE).read_text("utf-8"))
        with urllib.request.urlopen(environment["AWS_ENDPOINT_URL"] + "/_ministack/ready", timeout=2):  # noqa: S310
            return environment
    except (OSError, ValueError, KeyError, urllib.error.URLError):
        return None
