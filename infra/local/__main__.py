"""`make run`: the gateway on a laptop, with AWS embedded and, without a Gemini key, the emulator as upstream.

Environment: GATEWAY_HOST and GATEWAY_PORT (127.0.0.1, 8080), GATEWAY_STATE_DIR (.local), GEMINI_API_KEY (one key, or
several separated by commas), GEMINI_BASE_URL, LOG_LEVEL (WARNING), and the variables of the functions in template.yaml.
"""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import uvicorn

from infra.local.plain_http import PlainHttp
from infra.local.server import local_app
from infra.local.surroundings import Surroundings, surroundings
from shared.gateway.settings import ConfigurationError


def main(environ: Mapping[str, str]) -> int:
    host = environ.get("GATEWAY_HOST") or "127.0.0.1"
    port = _port(environ.get("GATEWAY_PORT") or "8080")
    home = Path(environ.get("GATEWAY_STATE_DIR") or ".local")
    if trouble := _listening_trouble(host, port):
        raise ConfigurationError(f"cannot listen on {host}:{port}: {trouble}")
    base_url = address_of(host, port)
    with surroundings(environ, home, base_url) as ground:
        _banner(base_url, home, ground)
        # open streams get one second, the embedded AWS the rest of the five that a stop may take
        config = uvicorn.Config(
            local_app(ground.environment),
            host=host,
            port=port,
            http=PlainHttp,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            lifespan="on",
            proxy_headers=False,  # a request's address is whoever sent it: keys may be bound to addresses
            ws="none",  # an upgrade is answered like any request: with a refusal
        )
        uvicorn.Server(config).run()
    return 0


def address_of(host: str, port: int) -> str:
    """The base URL for a client on this machine. A server on all IPv6 addresses answers on no IPv4 one."""
    named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigurationError("GATEWAY_PORT must be a number from 1 to 65535")
    return int(text)


def _listening_trouble(host: str, port: int) -> str:
    """Asked before anything is started."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _banner(base_url: str, home: Path, ground: Surroundings) -> None:
    source = ground.upstream
    if ground.emulated:
        source = f"the bundled EMULATOR at {ground.upstream}; set GEMINI_API_KEY for the real Gemini"
    print(
        f"""
  Gemini gateway     {base_url}
  upstream           {source}
  OpenAI clients     OPENAI_BASE_URL={base_url}/v1
  API key            "client_key" in {home / "credentials.json"}
  Ctrl-C stops it; state stays in {home}
""",
        flush=True,
    )


def _terminated(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C does: the default would end this process at once, and leave the embedded AWS to find out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    argparse.ArgumentParser(
        "python -m infra.local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(main(os.environ))
    except ConfigurationError as error:
        sys.exit(f"gateway: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
