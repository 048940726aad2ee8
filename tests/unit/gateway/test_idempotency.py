"""The header Idempotency-Key: the request id it makes, and what the meter does with a repeat."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from shared.errors import GatewayError
from shared.gateway.budgets import Estimate
from shared.gateway.context import Exchange
from shared.gateway.idempotency import adopt, request_id
from shared.gateway.limits import refusal
from shared.gateway.metering import Meter
from shared.gateway.settings import Settings
from shared.limit_state import LimitState
from shared.stores.protocols import (
    Admission,
    Admitted,
    KeyRecord,
    RefusalKind,
    Refused,
    Settlement,
    StoreUnavailable,
)

KEY = KeyRecord("k", "acct", "h", "p")


def request(*values: str, **headers: str) -> Request:
    listed = [(b"idempotency-key", value.encode("latin-1")) for value in values]
    listed += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": listed, "client": ("127.0.0.1", 1)})


def adopted(*values: str, body: bytes = b"{}", key: KeyRecord = KEY, **headers: str) -> tuple[str | None, Exchange]:
    asked = request(*values, **headers)
    exchange = Exchange.begin(asked, 60)
    adopt(asked, key, exchange, body)
    return exchange.body_sha, exchange


def test_a_repeat_has_the_same_id_and_another_account_another() -> None:
    first, repeat = adopted("order-7"), adopted("order-7")
    assert first[1].request_id == repeat[1].request_id == first[1].shown_id
    assert len(first[1].request_id) == 26
    assert first[0] == repeat[0] is not None
    assert adopted("order-7", body=b"[]")[0] != first[0]
    assert adopted("order-8")[1].request_id != first[1].request_id
    other = KeyRecord("k", "other", "h", "p")
    assert adopted("order-7", key=other)[1].request_id != first[1].request_id
    rotated = KeyRecord("k2", "acct", "h", "p")
    assert adopted("order-7", key=rotated)[1].request_id == first[1].request_id


def test_the_clients_own_request_id_is_still_shown() -> None:
    _, exchange = adopted("order-7", x_request_id="mine")
    assert (exchange.shown_id, exchange.request_id) == ("mine", request_id("acct", "order-7"))


@pytest.mark.parametrize("values", [(), ("",), ("  ",), ("stainless-python-retry-123",), ("stainless-node-retry-1",)])
def test_without_a_chosen_value_every_request_is_its_own(values: tuple[str, ...]) -> None:
    body_sha, exchange = adopted(*values)
    assert body_sha is None
    assert exchange.request_id != adopted(*values)[1].request_id


@pytest.mark.parametrize("values", [("x" * 256,), ("a", "b"), ("a\x7fb",)])
def test_a_value_that_cannot_be_one_is_refused(values: tuple[str, ...]) -> None:
    with pytest.raises(GatewayError) as caught:
        adopted(*values)
    assert (caught.value.kind, caught.value.param) == ("invalid_request", "idempotency-key")


def test_the_same_value_twice_is_one() -> None:
    assert adopted("a", "a")[1].request_id == adopted("a")[1].request_id


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("duplicate_running", "idempotency_running"),
        ("duplicate_done", "idempotency_done"),
        ("duplicate_mismatch", "idempotency_mismatch"),
    ],
)
def test_a_repeat_is_refused_with_the_first_ones_id(kind: RefusalKind, error: str) -> None:
    refused = refusal(Refused(kind), "01ID")
    assert refused.kind == error
    assert kind == "duplicate_mismatch" or "01ID" in refused.message


class Book:
    """A ledger that says what it is told to and keeps what it is asked."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down
        self.admissions: list[Admission] = []
        self.settlements: list[Settlement] = []

    async def admit(self, admission: Admission) -> Admitted:
        self.admissions.append(admission)
        if self.down:
            raise StoreUnavailable("throttled", retry_after=2)
        return Admitted(LimitState())

    async def settle(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)
        if self.down:
            raise StoreUnavailable("throttled")

    async def send(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)


def meter(book: Book, key: KeyRecord, fail_mode: str = "closed", body_sha: str | None = None) -> Meter:
    exchange = Exchange.begin(request(), 60)
    exchange.body_sha = body_sha
    model: Any = SimpleNamespace(id="gemini-2.5-flash", effective="gemini-2.5-flash")
    settings = Settings(metering_fail_mode="open" if fail_mode == "open" else "closed")
    ledger: Any = book
    return Meter(
        ledger,
        ledger,
        settings,
        key,
        exchange,
        model,
        Estimate(10, 100, 5),
        dialect="openai_chat",
        endpoint="chat",
        stream=False,
    )


async def test_the_bodys_digest_reaches_hold_and_row() -> None:
    book = Book()
    metered = meter(book, KEY, body_sha="ab")
    await metered.admit()
    await metered.settle()
    assert book.admissions[0].body_sha == book.settlements[0].body_sha == "ab"


@pytest.mark.parametrize(
    ("budget", "fail_mode", "passes"),
    [(None, "closed", False), (None, "open", True), (5, "closed", False), (5, "open", False)],
)
async def test_without_a_ledger_only_keys_without_budget_pass_and_only_where_told(
    budget: int | None, fail_mode: str, passes: bool
) -> None:
    book = Book(down=True)
    metered = meter(book, KeyRecord("k", "a", "h", "p", budget_limit_nano=budget), fail_mode)
    if passes:
        assert await metered.admit() == LimitState()
        await metered.settle()
        assert [settlement.had_hold for settlement in book.settlements] == [False, False]  # tried, then queued
        return
    with pytest.raises(GatewayError) as caught:
        await metered.admit()
    assert (caught.value.kind, caught.value.retry_after) == ("unavailable", 2)
