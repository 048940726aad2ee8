"""After every test, everything it wrote is searched for secrets and prompts.

Searched are captured standard output and error, the lines of every logger as the product formats them, the log files of
gateways that run as processes, and the bodies and headers that gateways answered. Looked for are client keys by their
shape, every credential a gateway was started with, every secret the product loaded in this process, and every prompt
that reached an emulator: each prompt of each test is a canary. A test that passes but leaked fails.
"""

import logging
import re
import threading
import weakref
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.local.emulator import EmulatorServer
from shared.gateway import telemetry

PROMPT = "canary prompt 5f0c: the heron counts seven lanterns"
CREDENTIAL = "pool-canary-0b7d41-of-no-known-shape"

_KEY = re.compile(r"sk-gw1_[0-9A-Za-z]{10,}_[0-9A-Za-z_]{20,}|AIza[\w-]{35}")
_WORDS = re.compile(r"[A-Za-z0-9 .,:;?!'-]{16,}")
_MAX_NEEDLE = 48
_MAX_BODIES = 8_000_000  # bytes of answers that one test may leave to be searched


class Lines(telemetry.JsonLines):
    """Every line as the product makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def write(self, line: str) -> None:
        self.texts.append(line)


class Watch:
    """What is looked at, and what for."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.secrets: set[str] = set()
        self._logs: dict[Path, int] = {}
        self._ports: set[int] = set()
        self._emulators: weakref.WeakSet[EmulatorServer] = weakref.WeakSet()
        self._bodies: list[tuple[str, bytes]] = []
        self._size = 0
        self._lock = threading.Lock()
        self._known: set[str] = set()  # secrets that other tests loaded in this process

    def gateway(self, port: int, log: Path, secrets: Iterable[str]) -> None:
        """A gateway that runs as a process, and what it must keep to itself."""
        self._logs[log] = 0
        self._ports.add(port)
        self.secrets.update(secret for secret in secrets if len(secret) >= 8)

    def emulator(self, server: EmulatorServer) -> None:
        self._emulators.add(server)

    def answered(self, host: str, port: int | None, data: bytes) -> None:
        """A piece of an answer; only those of gateways count."""
        if data and (host == "testserver" or port in self._ports):
            with self._lock:
                if self._size < _MAX_BODIES:
                    self._size += len(data)
                    self._bodies.append((host, data))

    def begin(self) -> None:
        root = logging.getLogger()
        if self.lines not in root.handlers:
            root.addHandler(self.lines)
        self._known = set(telemetry._literals)
        self.drop()

    def drop(self) -> None:
        self.lines.texts.clear()
        with self._lock:
            self._bodies.clear()
            self._size = 0

    def leaks(self, printed: Mapping[str, str]) -> list[str]:
        """Where what was found. `printed` is captured output by the name of its section."""
        loaded = {text for text in telemetry._literals - self._known if len(text) >= 12}
        secrets = self.secrets | loaded
        found: list[str] = []
        logged = "\n".join(self.lines.texts)
        written = {**printed, "log lines": logged, **{f"log file {path.name}": text for path, text in self._new_text()}}
        needles = self._prompts() if any(written.values()) else set()
        for place, text in written.items():
            if text:
                found += [f"a key in {place}: {match.group()[:12]}..." for match in _KEY.finditer(text)]
                found += [f"a secret in {place}: {secret[:8]}..." for secret in secrets if secret in text]
            if text and place.startswith("log"):
                found += [f"a prompt in {place}: {needle!r}" for needle in needles if needle in text]
        with self._lock:
            answers = b"".join(data for _, data in self._bodies)
        if answers:
            kept = [secret for secret in secrets if secret.encode() in answers]
            found += [f"a secret in an answer: {secret[:8]}..." for secret in kept]
        self.drop()
        return found

    def _new_text(self) -> Iterator[tuple[Path, str]]:
        """What the gateways wrote since the last look."""
        for path, offset in list(self._logs.items()):
            try:
                with path.open("rb") as file:
                    file.seek(offset)
                    data = file.read()
            except OSError:  # its folder went with its test
                del self._logs[path]
                continue
            self._logs[path] = offset + len(data)
            if data:
                yield path, data.decode("utf-8", "replace")

    def _prompts(self) -> set[str]:
        """A piece of every text that reached an emulator since it was reset, as it would stand inside JSON."""
        texts: set[str] = set()
        for server in self._emulators:
            for row in server.requests:
                texts.update(_texts(row.get("body")))
        return {found.group().strip()[:_MAX_NEEDLE] for text in texts if (found := _WORDS.search(text))}


def _texts(value: Any) -> Iterator[str]:
    """The texts that a user wrote in a Gemini request."""
    contents = value.get("contents") if isinstance(value, dict) else None
    for content in contents if isinstance(contents, list) else []:
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"].partition("@emulator")[0]


WATCH = Watch()


def _listen() -> None:
    """From now on every answer that comes through httpx2 (the official SDKs, Starlette's test client) and every
    emulator of this process is known."""
    iter_raw, aiter_raw, start = httpx2.Response.iter_raw, httpx2.Response.aiter_raw, EmulatorServer.start

    def headers_of(response: httpx2.Response) -> tuple[str, int | None]:
        if response._request is None:  # made by a test, sent by nobody
            return "", None
        url = response.request.url
        head = "\n".join(response.headers.values()).encode("utf-8", "replace")
        WATCH.answered(url.host, url.port, head)
        return url.host, url.port

    def iterated(self: httpx2.Response, chunk_size: int | None = None) -> Iterator[bytes]:
        where = headers_of(self)
        for data in iter_raw(self, chunk_size):
            WATCH.answered(*where, data)
            yield data

    async def aiterated(self: httpx2.Response, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        where = headers_of(self)
        source = aiter_raw(self, chunk_size)
        try:
            async for data in source:
                WATCH.answered(*where, data)
                yield data
        finally:
            await source.aclose()

    def started(self: EmulatorServer) -> None:
        start(self)
        WATCH.emulator(self)

    httpx2.Response.iter_raw = iterated  # type: ignore[method-assign]
    httpx2.Response.aiter_raw = aiterated  # type: ignore[method-assign, assignment]
    EmulatorServer.start = started  # type: ignore[method-assign]


def pytest_configure() -> None:
    _listen()
    telemetry.LOGGER.setLevel(logging.INFO)  # so that there is something to find in tests without a process


def pytest_runtest_setup() -> None:
    WATCH.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    phase = report.when
    printed = {name: text for name, text in report.sections if name.endswith(phase) and "log" not in name}
    if found := WATCH.leaks(printed):
        leaked = "\n".join(dict.fromkeys(found))
        if report.passed:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} leaked:\n{leaked}"
        else:
            report.sections.append(("Canaries", leaked))
    return report
