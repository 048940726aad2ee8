"""The native dialect in this process: a real app before the emulator, with stores that only remember."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from msgspec import structs

from infra.local.emulator import EmulatorServer, answers
from infra.local.emulator.faults import Playback, Write
from shared.gateway.app import build_app
from shared.gateway.auth import Authenticator
from shared.gateway.keyring import KeyDirectory, make_key
from shared.gateway.pipeline import Services
from shared.gateway.pool import CredentialPool
from shared.gateway.settings import Settings
from shared.gateway.upstream import Upstream
from shared.gemini.client import GeminiClient
from shared.limit_state import LimitState
from shared.stores.protocols import (
    Admission,
    Admitted,
    Credential,
    KeyRecord,
    OwnedObject,
    Settlement,
    StoreUnavailable,
)

KEY = make_key("K" * 16, "s" * 43)
OTHER_KEY = make_key("L" * 16, "s" * 43)
UPSTREAM_KEY = "upstream-credential-canary"


class Directory(KeyDirectory):
    """Knows two keys, each an account of its own."""

    def __init__(self) -> None:
        self.records = {name * 16: KeyRecord(name * 16, name * 16, "", "") for name in "KL"}

    def remembered(self, text):
        return None

    def knows(self, key):
        return key.kid in self.records

    async def lookup(self, key):
        return self.records.get(key.kid)

    def change(self, **terms):
        self.records["K" * 16] = structs.replace(self.records["K" * 16], **terms)


class Secrets:
    def __init__(self) -> None:
        self.credentials = [Credential("first", UPSTREAM_KEY)]

    async def pepper(self, pepper_id=None):
        raise KeyError(pepper_id)

    async def pool(self, *, refresh=False) -> Sequence[Credential]:
        return self.credentials


class Ledger:
    def __init__(self) -> None:
        self.admissions: list[Admission] = []
        self.rows: list[Settlement] = []
        self.limits = LimitState()

    async def admit(self, admission):
        self.admissions.append(admission)
        return Admitted(self.limits)

    async def settle(self, settlement):
        self.rows.append(settlement)


class Nothing:
    """Stores that native requests never touch."""

    async def get(self, acct, keys):
        raise AssertionError("asked")


class Owned:
    """An OwnedObjectStore in memory."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], OwnedObject] = {}
        self.read_only = False

    async def put(self, acct, item):
        if self.read_only:
            raise StoreUnavailable("no writes")
        self.items[acct, item.name] = item

    async def get(self, acct, name):
        return self.items.get((acct, name))

    async def page(self, acct, kind, after="", limit=100):
        names = sorted(n for a, n in self.items if a == acct and n.startswith(f"{kind}/") and n > after)
        return [self.items[acct, name] for name in names[:limit]]

    async def delete(self, acct, name):
        self.items.pop((acct, name), None)


@dataclasses.dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def events(self) -> list[dict[str, Any]]:
        frames = self.content.split(b"\r\n\r\n")
        assert frames.pop() == b""
        return [json.loads(frame.removeprefix(b"data: ")) for frame in frames]


@dataclasses.dataclass
class World:
    http: httpx.AsyncClient
    emulator: EmulatorServer
    directory: Directory
    ledger: Ledger
    secrets: Secrets
    owned: Owned

    async def post(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.send("POST", path, body, headers=headers)

    async def send(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """With the first key, unless the headers or the query name another credential."""
        headers = dict(headers or {})
        if not {"authorization", "x-goog-api-key"} & set(headers) and "key=" not in path:
            headers["x-goog-api-key"] = KEY
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers.setdefault("content-type", "application/json")
        answer = await self.http.request(method, path, content=content, headers=headers)
        return Answer(answer.status_code, answer.headers, answer.content)

    @property
    def sent(self) -> list[dict[str, Any]]:
        """What reached the upstream."""
        return self.emulator.requests

    @property
    def row(self) -> Settlement:
        (row,) = self.ledger.rows
        return row


@pytest.fixture(scope="session")
def running_emulator():
    with EmulatorServer() as emulator:
        yield emulator


@asynccontextmanager
async def opened(emulator: EmulatorServer, settings: Settings):
    client = GeminiClient(emulator.base_url)
    directory, ledger, secrets, owned = Directory(), Ledger(), Secrets(), Owned()
    nothing: Any = Nothing()
    services = Services(
        settings=settings,
        authenticator=Authenticator(directory),
        ledger=ledger,  # type: ignore[arg-type]
        queue=nothing,
        signatures=nothing,
        upstream=Upstream(client, CredentialPool(secrets), settings),
        owned=owned,
    )
    transport = httpx.ASGITransport(build_app(services, ("native", "models")))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as http:
        yield World(http, emulator, directory, ledger, secrets, owned)
    await client.aclose()


@pytest.fixture
async def world(running_emulator):
    running_emulator.reset()
    async with opened(running_emulator, Settings(commit_after_s=5)) as made:
        yield made
    running_emulator.reset()


def serve(monkeypatch, content: bytes, content_type: str, size: int = 1 << 20):
    """The emulator answers the next requests with these bytes, in pieces of `size`."""
    pieces = [Write(content[at : at + size]) for at in range(0, len(content), size)]
    monkeypatch.setattr(answers, "generate_content", lambda *_: answers.Answer(Playback(pieces), 200, content_type))
