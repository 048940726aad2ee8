"""The control plane on stores in memory, and an operator who asks it."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from shared.gateway.auth import Authenticator
from shared.gateway.control import build_control_app
from shared.gateway.control_access import ControlPlane
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.key_terms import KeyTerms
from shared.gateway.keyring import KeyDirectory
from shared.stores.protocols import AccountLimits, Credential, KeyRecord, KeyStatus, StoreConflict, StoreUnavailable
from shared.stores.usage_protocols import UsageTotal

NOW = 1_800_000_000
TODAY = "20270115"  # of NOW


@dataclass
class Stores:
    """Registry, ledger and usage of one deployment, in memory; `down` makes every one of them fail."""

    records: dict[str, KeyRecord] = field(default_factory=dict)
    statuses: dict[str, dict[str, KeyStatus]] = field(default_factory=dict)
    limits: dict[str, AccountLimits] = field(default_factory=dict)
    totals: dict[str, list[UsageTotal]] = field(default_factory=dict)
    requests: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    down: bool = False

    def _reach(self) -> None:
        if self.down:
            raise StoreUnavailable("down", retry_after=2.5)

    async def resolve(self, kid: str, *, fresh: bool = False) -> KeyRecord | None:
        self._reach()
        return self.records.get(kid)

    async def put(self, record: KeyRecord, *, overwrite: bool = True) -> None:
        self._reach()
        if not overwrite and record.kid in self.records:
            raise StoreConflict(record.kid)
        if len(record.models) > 50:
            raise ValueError("the key record has 5000 bytes")
        self.records[record.kid] = record

    async def page(self, cursor: str | None = None) -> tuple[Sequence[KeyRecord], str | None]:
        self._reach()
        start = int(cursor or 0)
        records = list(self.records.values())
        following = start + 10
        return records[start:following], str(following) if following < len(records) else None

    async def pepper(self, pepper_id: str | None = None) -> tuple[str, bytes]:
        return "p1", b"pepper"

    async def pool(self, *, refresh: bool = False) -> Sequence[Credential]:
        return []

    async def open_account(self, record: KeyRecord, *, period: str) -> None:
        self._reach()
        self.statuses.setdefault(record.acct, {}).setdefault(record.kid, "active")

    async def set_key_status(self, acct: str, kid: str, status: KeyStatus) -> None:
        self._reach()
        if self.statuses[acct].get(kid) == "revoked" != status:
            raise StoreConflict(kid)
        self.statuses[acct][kid] = status

    async def change_limits(self, acct: str, limits: AccountLimits) -> Sequence[str]:
        self.limits[acct] = limits
        return list(self.statuses[acct])

    async def account_kids(self, acct: str) -> Mapping[str, KeyStatus]:
        return self.statuses[acct]

    async def daily(self, acct: str, first_day: str, last_day: str) -> Sequence[UsageTotal]:
        self._reach()
        return [total for total in self.totals.get(acct, ()) if first_day <= total.day <= last_day]

    async def rows(
        self, acct: str, day: str, cursor: str | None = None, limit: int = 100, *, newest_first: bool = False
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        if cursor is not None and not cursor.isdigit():
            raise ValueError("cursor")
        start = int(cursor or 0)
        rows = [row for row in self.requests.get(acct, ()) if row["day"] == day]
        rows = rows[::-1] if newest_first else rows
        return rows[start : start + limit], str(start + limit) if start + limit < len(rows) else None

    async def balance(self, acct: str) -> Mapping[str, Any] | None:
        if acct not in self.limits:
            return None
        limit = self.limits[acct].budget_limit_nano
        return {
            "period": "202701",
            "spent_nano": 1_500_000_000,
            "spent_all_nano": 1_500_000_000,
            "limit_nano": limit,
            "available_nano": None if limit is None else limit - 1_500_000_000,
            "holds": 2,
            "requests_tat_us": None,
            "tokens_tat_us": None,
        }


@dataclass
class Globals:
    """Totals of all accounts, in memory."""

    lines: list[UsageTotal] = field(default_factory=list)

    async def daily(self, first_day: str, last_day: str) -> Sequence[UsageTotal]:
        return [total for total in self.lines if first_day <= total.day <= last_day]

    async def projects(self, day: str) -> Mapping[str, int]:
        return {}


class Plane:
    """A client of the control plane, as an operator."""

    def __init__(self) -> None:
        self.stores = Stores()
        directory = KeyDirectory(self.stores, self.stores, lambda: NOW)
        self.registry = KeyRegistry(self.stores, self.stores, self.stores, lambda: NOW, directory.forget)
        self.globals = Globals()
        plane = ControlPlane(Authenticator(directory), self.registry, self.stores, self.globals)
        self.app = build_control_app(plane)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway")
        self.key = ""

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {self.key if key is None else key}"} | headers
        answer = await self._client.request(method, path, content=content, headers=sent)
        assert answer.headers["x-request-id"]
        assert answer.headers["cache-control"] == "no-store"
        return answer

    async def made(self, **terms: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "/admin/keys", {"name": "made", **terms})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def error(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str, str | None]:
        answer = await self.ask(method, path, body, **more)
        (error,) = answer.json().values()
        assert set(error) == {"code", "message", "param"}
        return answer.status_code, error["code"], error["param"]


@asynccontextmanager
async def operators_plane() -> AsyncIterator[Plane]:
    plane = Plane()
    _, plane.key = await plane.registry.issue(KeyTerms("operator", endpoints=("admin",)))
    yield plane
    await plane._client.aclose()
