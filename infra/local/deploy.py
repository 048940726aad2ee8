"""`make deploy-local`: the whole deployment on a laptop.

A real `sam build` and `sam deploy` onto ministack with its IAM switched on, then the deployed functions served by the
local edge until Ctrl-C. Every run begins with nothing.

Environment: SHAPE (per-endpoint or single), LOCAL_EDGE_PORT (8081, or a free one) and LOCAL_AWS_PORT (a free one),
GATEWAY_STATE_DIR (default .local; everything stands in its folder `deploy`), GEMINI_API_KEY and GEMINI_BASE_URL
(without both, the bundled emulator is the upstream). SIGHUP reads the stacks anew after a `sam deploy` of your own.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from infra.local import sam
from infra.local.aws import ENVIRONMENT_FILE, EmbeddedAws, write_private
from infra.local.credentials import FILE as CREDENTIALS_FILE
from infra.local.edge import Edge, EdgeServer, open_workshop, verdict, wait_for
from infra.local.emulator import EmulatorServer
from infra.local.local_iam import widen
from infra.local.surroundings import EMULATOR_KEY
from infra.local.tool_environments import ROOT
from shared.gateway.settings import GOOGLE, ConfigurationError

APP = "gw"
_STORES = ("STAGE", "USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "GEMINI_POOL_SECRET_ID", "KEY_STORE")
_FAVOURITE_PORT = 8081


@dataclass(frozen=True, slots=True)
class Plan:
    """`edge_port` and `aws_port` 0 take free ones. `gemini_key` empty: the pool secret holds the emulator's."""

    home: Path
    shape: str
    edge_port: int
    aws_port: int
    gemini_url: str
    gemini_key: str

    @property
    def single(self) -> bool:
        return self.shape == "single"

    @property
    def stacks(self) -> dict[str, Path | None]:
        """Name -> template, None for the built application."""
        around = {"observability": ROOT / "infra" / "observability.yaml"}
        if not self.single:
            around["edge"] = ROOT / "infra" / "edge.yaml"
        return {APP: None, **{f"{APP}-{name}": path for name, path in around.items()}}


def plan(environ: Mapping[str, str]) -> Plan:
    shape = environ.get("SHAPE") or "per-endpoint"
    if shape not in ("per-endpoint", "single"):
        raise ConfigurationError("SHAPE must be per-endpoint or single")
    key = environ.get("GEMINI_API_KEY", "").strip(" ,")
    return Plan(
        home=Path(environ.get("GATEWAY_STATE_DIR") or ".local").absolute() / "deploy",
        shape=shape,
        edge_port=_port(environ, "LOCAL_EDGE_PORT", _FAVOURITE_PORT),
        aws_port=_port(environ, "LOCAL_AWS_PORT", 0),
        gemini_url=environ.get("GEMINI_BASE_URL") or (GOOGLE if key else ""),
        gemini_key=key,
    )


def _port(environ: Mapping[str, str], name: str, favourite: int) -> int:
    """What the variable says; else the favourite if nobody listens there, else any free one."""
    text = environ.get(name, "")
    if text and not (text.isdigit() and int(text) < 65536):
        raise ConfigurationError(f"{name} must be a port number")
    port = int(text or favourite)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if text:
                raise ConfigurationError(f"cannot listen on 127.0.0.1:{port} ({name}): {error.strerror}") from error
            return 0
    return port


def parameters(what: Plan, endpoint: str, gemini_url: str) -> dict[str, str]:
    """Of template.yaml. No real Gemini key is among them: the local AWS keeps secrets in plain text."""
    return {
        "Stage": "local",
        "Shape": what.shape,
        "Edge": "none" if what.single else "required",
        "AwsEndpointUrl": endpoint,
        "GeminiBaseUrl": gemini_url,
        "GeminiApiKeys": EMULATOR_KEY,
    }


@contextmanager
def deployed(what: Plan) -> Iterator[EdgeServer]:
    """The deployment, serving; everything ends with the block."""
    what.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    what.home.chmod(0o700)
    with ExitStack() as stack:
        sam.install()
        _say("starting a local AWS")
        aws = EmbeddedAws(what.home / "aws", persist=False, port=what.aws_port, services=None)
        stack.callback(aws.stop)
        environment = aws.start_bare()
        # only now: nobody else works in this folder
        for name in ("build", "code", CREDENTIALS_FILE):
            _remove(what.home / name)
        gemini_url = what.gemini_url or stack.enter_context(EmulatorServer()).base_url
        _deploy(what, environment, gemini_url)
        log = stack.enter_context((what.home / "functions.log").open("wb", buffering=0))
        extra = {"GEMINI_API_KEY": what.gemini_key} if what.gemini_key else {}
        workshop = open_workshop(environment, what.home / "code", extra=extra, log=log)
        widen(workshop.aws, [APP])
        _say("starting the edge")
        server = stack.enter_context(EdgeServer(Edge(workshop, list(what.stacks)), what.edge_port))
        _first_keys(what, server, environment)
        yield server


def _deploy(what: Plan, environment: Mapping[str, str], gemini_url: str) -> None:
    line = sam.Sam(environment, what.home)
    _say("sam build")
    line.build()
    _say(f"sam deploy: {APP}")
    line.deploy(APP, parameters(what, environment["AWS_ENDPOINT_URL"], gemini_url))
    around = {name: template for name, template in what.stacks.items() if template}
    _say(f"sam deploy: {', '.join(around)}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: line.deploy(item[0], _around_parameters(item[0], what), item[1]), around.items()))


def _around_parameters(stack: str, what: Plan) -> dict[str, str]:
    """Of the stacks beside the application's."""
    if stack.endswith("-edge"):
        return {"AppStack": APP}
    return {"AppStack": APP, "Stage": "local", "Shape": what.shape}


def _first_keys(what: Plan, server: EdgeServer, environment: Mapping[str, str]) -> None:
    """An admin key as an operator of the stack makes it, and a client key made with that over HTTP."""
    functions = list(server.edge.discovered.functions.values())
    stores = {name: functions[0].variables[name] for name in _STORES}
    write_private(what.home / "aws" / ENVIRONMENT_FILE, {**environment, **stores})
    admin_key = _operate(environment, "keys", "create", "local admin", "--endpoints", "admin")["key"]
    client_key = _made(server.base_url, admin_key)
    made = {"base_url": server.base_url, "admin_key": admin_key, "client_key": client_key}
    write_private(what.home / CREDENTIALS_FILE, made)


def _operate(environment: Mapping[str, str], *arguments: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli", "--stack", APP, *arguments, "--json"],
        cwd=ROOT,
        env={**clean, **{name: value for name, value in environment.items() if value}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise ConfigurationError(f"gwctl {' '.join(arguments[:2])}: {done.stderr.strip()}")
    made: dict[str, str] = json.loads(done.stdout)
    return made


def _made(base_url: str, admin_key: str) -> str:
    headers = {"authorization": f"Bearer {admin_key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{base_url}/admin/keys", b'{"name":"local client"}', headers)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            key: str = json.loads(answer.read())["key"]
            return key
    except urllib.error.HTTPError as error:
        with error:
            raise ConfigurationError(f"POST /admin/keys: {error.code} {error.read()[:500]!r}") from None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _say(what: str) -> None:
    print(f"deploy-local: {what}", file=sys.stderr, flush=True)


def _banner(what: Plan, server: EdgeServer) -> None:
    base_url = server.base_url
    upstream = next(iter(server.edge.discovered.functions.values())).variables["GEMINI_BASE_URL"]
    if not what.gemini_url:
        upstream = f"the bundled EMULATOR at {upstream}; set GEMINI_API_KEY for the real Gemini"
    credentials = what.home / CREDENTIALS_FILE
    print(
        f"""
  Deployed gateway   {base_url}   ({"one function" if what.single else "a function per endpoint, behind the edge"})
  upstream           {upstream}
  OpenAI clients     OPENAI_BASE_URL={base_url}/v1   OPENAI_API_KEY=<client_key>
  Claude Code        ANTHROPIC_BASE_URL={base_url}   ANTHROPIC_AUTH_TOKEN=<client_key>
  Gemini clients     GOOGLE_GEMINI_BASE_URL={base_url}   GEMINI_API_KEY=<client_key>
  console            {base_url}/console, with the admin key
  keys               "client_key" and "admin_key" in {credentials}
  gwctl              GATEWAY_STATE_DIR={what.home} .venv/bin/python -m infra.cli keys list
  logs               {what.home / "functions.log"}, {what.home / "sam.log"}
  Ctrl-C stops it, and nothing is kept
""",
        flush=True,
    )


def main(environ: Mapping[str, str]) -> int:
    stopping, reloading = threading.Event(), threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            return
        stopping.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    signal.signal(signal.SIGHUP, lambda *_: reloading.set())
    what = plan(environ)
    try:
        with deployed(what) as server:
            _banner(what, server)
            with suppress(KeyboardInterrupt):
                wait_for(stopping, reloading, server)
            return verdict(server.edge)
    except KeyboardInterrupt:  # before it was deployed
        return 130


if __name__ == "__main__":
    argparse.ArgumentParser(
        "python -m infra.local.deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    try:
        sys.exit(main(os.environ))
    except ConfigurationError as error:
        sys.exit(f"deploy-local: {error}")
