"""The gateway as its users run it: a process of its own with embedded AWS, before an upstream of the test's choice."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from shared.gateway.money import usd
from tests.canaries import WATCH

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Gateway:
    base_url: str
    client_key: str
    admin_key: str
    state: Path
    process: subprocess.Popen[str]
    log: Path
    has_control_plane: bool = True  # a function of the data plane alone has none

    def gwctl(self, *arguments: str) -> Any:
        """The operator's command line on this gateway's stores, its `--json` read."""
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", *arguments, "--json"],
            cwd=ROOT,
            env=clean_environment() | {"GATEWAY_STATE_DIR": str(self.state)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def operate(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A call of the control plane with the admin key; a process of gwctl would take a second of CPU."""
        request = urllib.request.Request(
            self.base_url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {self.admin_key}", "content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def new_key(self, name: str, **terms: Any) -> dict[str, Any]:
        """The record of a new key with `kid` and `key`."""
        return self.operate("POST", "/admin/keys", {"name": name, **terms})

    def rows(self, kid: str) -> list[dict[str, Any]]:
        """All rows of a key of today, oldest first, with the cost as gwctl shows it."""
        if not self.has_control_plane:
            day = time.strftime("%Y-%m-%d", time.gmtime())
            return self.gwctl("usage", "requests", "--key", kid, "--day", day, "--oldest-first")["data"]
        rows, cursor = [], ""
        while True:
            query = urlencode({"kid": kid, "day": time.strftime("%Y-%m-%d", time.gmtime()), "cursor": cursor})
            page = self.operate("GET", f"/admin/usage/requests?{query.removesuffix('&cursor=')}")
            rows += [{**row, "cost_usd": usd(row["cost_nano_usd"])} for row in page["data"]]
            cursor = page["next_cursor"]
            if not cursor:
                return rows

    def row(self, kid: str, number: int = 1, patience_s: float = 5.0) -> list[dict[str, Any]]:
        """The rows of a key once there are `number` of them: settlement follows the last byte."""
        end = time.monotonic() + patience_s
        while True:
            rows = self.rows(kid)
            if len(rows) >= number or time.monotonic() > end:
                assert len(rows) == number, rows
                return rows
            time.sleep(0.05)


def clean_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "PYENV_ROOT", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"NO_PROXY": "127.0.0.1,localhost"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_gateway(state: Path, environment: Mapping[str, str]) -> Iterator[Gateway]:
    """`python -m infra.local`, ready; stopped as Ctrl-C would."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    state.mkdir(parents=True, exist_ok=True)
    log = state / "gateway.log"
    given = {"GATEWAY_PORT": str(port), "GATEWAY_STATE_DIR": str(state), "LOG_LEVEL": "INFO"}
    environ = clean_environment() | given | dict(environment)
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local"],
            cwd=ROOT,
            env=environ,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        _await_health(base_url, process, log)
        made = json.loads((state / "credentials.json").read_text())
        secrets = [*environ.get("GEMINI_API_KEY", "").split(","), made["client_key"], made["admin_key"]]
        WATCH.gateway(port, log, secrets)
        yield Gateway(base_url, made["client_key"], made["admin_key"], state, process, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)


def _await_health(base_url: str, process: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{base_url}/health", timeout=2) as answer:
                assert answer.status == 200
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(log.read_text())
