"""Every store call of a request's life, in every way it can fail, with and without a duplicate settlement; then six
hundred requests of thirty-two environments at once. After each the invariants hold, and again after the sweep."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from shared.stores.aws import Aws
from shared.stores.dynamodb import DynamoLedger
from shared.stores.dynamodb_usage import DynamoUsageReader
from shared.stores.protocols import (
    AccountLimits,
    Admission,
    Admitted,
    KeyRecord,
    Refused,
    Settlement,
    StoreConflict,
    StoreUnavailable,
)
from tests.stores import invariants
from tests.stores.bench import DAY, Bench, Crash, FaultyAws, price_of_row
from tests.stores.test_ledger import COST

FAULTS = ("error", "lost", "crash_before", "crash_after", "throttle", "conflict")
LIMIT = 100_000


@dataclass
class Life:
    """One request on a faulty ledger: admitted, served, settled as often as told, then swept by a sound one."""

    bench: Bench
    ledger: DynamoLedger
    request: Admission
    served: bool = False
    crashed: bool = False

    async def run(self, duplicates: int = 0) -> None:
        try:
            if isinstance(await self.ledger.admit(self.request), Refused):
                return
            self.served = True
            for _ in range(1 + duplicates):
                await self.bench.settle(self.request, self.ledger)
        except Crash:
            self.crashed = True

    async def sweep(self) -> None:
        await self.bench.ledger.sweep_expired(self.request.acct, self.request.expires_at + 1)

    async def reconcile(self) -> None:
        """The usage line of a served request is in the log, whatever happened to its settlement."""
        if self.served:
            await self.bench.settle(self.request)

    def check(self, *, swept: bool) -> None:
        called = {self.request.rid} if self.served else set()
        found = invariants.violations(
            self.bench.items(),
            price=price_of_row,
            now_s=self.request.expires_at + 1 if swept else 0,
            called=called if swept else None,
            refused=self.bench.refused,
        )
        assert found == []


async def calls_of(bench: Bench, work: Callable[[DynamoLedger], Awaitable[object]]) -> int:
    """How many store calls the work makes when nothing fails."""
    counting = FaultyAws(bench.aws, {})
    await work(DynamoLedger(counting, bench.table))
    return counting.calls


@pytest.mark.parametrize("duplicates", [0, 1])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("idempotent", [False, True])
async def test_every_call_of_a_request_times_every_fault(
    bench: Bench, fault: str, duplicates: int, idempotent: bool
) -> None:
    body = "aa" if idempotent else None
    terms = {"budget_limit_nano": LIMIT, "rpm": 6_000, "tpm": 600_000, "max_concurrency": 5}
    sound = await bench.account(**terms)
    calls = await calls_of(
        bench, lambda ledger: Life(bench, ledger, bench.request(sound, body_sha=body)).run(duplicates)
    )
    assert calls == 2 + duplicates + idempotent
    for call in range(1, calls + 1):
        key = await bench.account(**terms)
        life = Life(bench, bench.faulty({call: fault}), bench.request(key, body_sha=body))
        await life.run(duplicates)
        assert life.crashed == fault.startswith("crash")
        life.check(swept=False)
        await life.sweep()
        state = bench.state(key)
        assert state["holds"] == {}
        assert state["spent"] in (0, COST, life.request.estimate_nano)
        if not life.crashed:
            assert (life.served, state["spent"]) == (True, COST)
        await life.reconcile()
        assert bench.state(key)["spent"] == (COST if life.served else state["spent"])


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_call_of_a_sweep_times_every_fault(bench: Bench, fault: str) -> None:
    async def prepared() -> tuple[KeyRecord, int]:
        key = await bench.account(budget_limit_nano=LIMIT)
        lost, done = bench.request(key), bench.request(key, body_sha="aa")
        await bench.admit(lost)
        await bench.admit(done)
        await bench.settle(done)
        # a duplicate whose release never came: its hold stands beside the row of the first
        await DynamoLedger(bench.aws, bench.table).admit(replace(done, nonce="again", body_sha=None))
        return key, lost.expires_at + 1

    key, now_s = await prepared()
    calls = await calls_of(bench, lambda ledger: ledger.sweep_expired(key.acct, now_s))
    assert calls == 5  # the state; for each of the two holds its row and a write
    for call in range(1, calls + 1):
        key, now_s = await prepared()
        try:
            await bench.faulty({call: fault}).sweep_expired(key.acct, now_s)
        except Crash:
            assert bench.violations() == []
        await bench.ledger.sweep_expired(key.acct, now_s)
        state = bench.state(key)
        assert (state["holds"], state["spent"]) == ({}, COST + 100)


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_call_of_a_limit_change_times_every_fault(bench: Bench, fault: str) -> None:
    new = AccountLimits(700, 9, "all")
    for call in (1, 2):
        key = await bench.account(budget_limit_nano=1_000, max_concurrency=3)
        await bench.admit(running := bench.request(key))
        try:
            kids = await bench.faulty({call: fault}).change_limits(key.acct, new)
            assert kids == [key.kid]
        except Crash:
            assert bench.state(key)["limit"] in (700, 1_000)
            await bench.ledger.change_limits(key.acct, new)
        state = bench.state(key)
        assert (state["limit"], state["avail"], state["maxc"]) == (700, 600, 9)
        await bench.settle(running)
        assert bench.state(key)["avail"] == 700 - COST


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_call_of_a_new_period_times_every_fault(bench: Bench, fault: str) -> None:
    for call in (1, 2, 3):
        key = await bench.account(budget_limit_nano=1_000, budget_period="day", period="20270114")
        await bench.admit(old := bench.request(key, day="20270114", period="20270114"))
        await bench.settle(old)
        life = Life(bench, bench.faulty({call: fault}), bench.request(key, period=DAY))
        await life.run()
        if life.crashed:
            await bench.admit(bench.request(key, period=DAY))
        state = bench.state(key)
        assert state["period"] == DAY
        assert state["spent"] == (0 if life.crashed else COST)
        assert bench.violations() == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_call_of_an_adjustment_times_every_fault(bench: Bench, fault: str) -> None:
    for call in (1, 2):
        key = await bench.account(budget_limit_nano=1_000)
        await bench.admit(request := bench.request(key))
        await bench.ledger.sweep_expired(key.acct, request.expires_at + 1)
        assert bench.state(key)["spent"] == 100
        try:
            await bench.settle(request, bench.faulty({call: fault}))
        except Crash:
            await bench.settle(request)
        assert bench.state(key)["spent"] == COST


# --- limits that move under running requests


async def test_a_limit_changes_under_a_hundred_running_requests(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=20_000)
    requests = [bench.request(key) for _ in range(100)]

    async def change(limit: int) -> None:
        await bench.ledger.change_limits(key.acct, AccountLimits(limit, None, "all"))

    await asyncio.gather(*(bench.admit(request) for request in requests[:50]), change(15_000))
    await asyncio.gather(
        *(bench.settle(request) for request in requests[:50]),
        *(bench.admit(request) for request in requests[50:]),
        change(12_000),
    )
    await asyncio.gather(*(bench.settle(request) for request in requests[50:]))
    state = bench.state(key)
    assert (state["limit"], state["spent"], state["avail"]) == (12_000, 100 * COST, 12_000 - 100 * COST)


async def test_a_limit_below_what_was_spent_admits_nobody_and_forgets_nothing(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    await bench.admit(request := bench.request(key))
    await bench.settle(request)
    await bench.ledger.change_limits(key.acct, AccountLimits(20, None, "all"))
    refused = await bench.admit(bench.request(key, estimate=1))
    assert isinstance(refused, Refused)
    assert refused.kind == "budget"
    await bench.ledger.change_limits(key.acct, AccountLimits(None, 5, "all"))
    assert isinstance(await bench.admit(bench.request(key, estimate=1)), Admitted)
    assert bench.state(key)["spent"] == COST


async def test_another_kind_of_period_keeps_what_was_spent(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000, budget_period="day", period=DAY)
    await bench.admit(request := bench.request(key, period=DAY))
    await bench.settle(request)
    await bench.ledger.change_limits(key.acct, AccountLimits(1_000, None, DAY[:6]))
    state = bench.state(key)
    assert (state["period"], state["spent"], state["avail"]) == (DAY[:6], COST, 1_000 - COST)
    # a record that is a minute old still names the day
    assert isinstance(await bench.admit(bench.request(key, period=DAY)), Admitted)
    # the same kind of period is never set back
    await bench.ledger.change_limits(key.acct, AccountLimits(1_000, None, "202612"))
    assert bench.state(key)["period"] == DAY[:6]


@pytest.mark.parametrize(("before", "after"), [("202612", DAY), ("20261231", DAY[:6]), ("20270114", "all")])
async def test_another_kind_of_period_begins_with_what_is_left_of_one_that_is_over(
    bench: Bench, before: str, after: str
) -> None:
    """December's money was taken from the first day of a budget by the day; usage had said that nothing was spent."""
    key = await bench.account(budget_limit_nano=1_000, period=before)
    await bench.admit(request := bench.request(key, day="20261231", period=before))
    await bench.settle(request)
    await bench.admit(bench.request(key, day="20261231", period=before))  # still runs
    await bench.ledger.change_limits(key.acct, AccountLimits(700, None, after, DAY))
    state = bench.state(key)
    assert (state["period"], state["spent"], state["spent_all"], state["avail"]) == (after, 0, COST, 600)


async def test_a_period_that_ends_while_its_kind_is_changed_ends_once(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000, period="202612")

    async def turned() -> None:
        await bench.admit(request := bench.request(key, period=DAY[:6]))
        await bench.settle(request)

    ledger = bench.faulty({2: turned})
    await ledger.change_limits(key.acct, AccountLimits(1_000, None, DAY, DAY))
    state = bench.state(key)
    assert (state["period"], state["spent"], state["avail"]) == (DAY, COST, 1_000 - COST)


async def test_limits_of_nobody_cannot_be_changed(bench: Bench) -> None:
    with pytest.raises(StoreConflict):
        await bench.ledger.change_limits("nobody", AccountLimits(1, 1, "all"))
    assert await bench.ledger.account_kids("nobody") == {}


# --- many environments at once


async def test_six_hundred_requests_of_thirty_two_environments_with_random_faults(bench: Bench) -> None:
    """Each environment is a thread with a loop and a ledger of its own. The budget is for 240 full estimates."""
    key = await bench.account(budget_limit_nano=24_000, max_concurrency=40)
    requests = [bench.request(key) for _ in range(600)]
    served: list[Settlement] = []
    refused: set[str] = set()

    def environment(number: int) -> None:
        chance = random.Random(20_270_115 + number)
        mine = requests[number::32]
        asyncio.run(serve(chance, mine))

    async def serve(chance: random.Random, mine: list[Admission]) -> None:
        for request in mine:
            faults = {call: chance.choice(FAULTS) for call in (1, 2, 3) if chance.random() < 0.15}
            ledger = DynamoLedger(FaultyAws(bench.aws, faults), bench.table)
            try:
                if isinstance(await ledger.admit(request), Refused):
                    refused.add(request.rid)
                    continue
                settlement = bench.settlement(request, output_tokens=chance.randrange(14))
                served.append(settlement)
                for _ in range(1 + (chance.random() < 0.3)):
                    await ledger.settle(settlement)
            except Crash:
                continue
            except StoreUnavailable:  # a real contention that outlasted every try: the sweep finds it
                continue

    with ThreadPoolExecutor(32) as threads:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(threads, environment, number) for number in range(32)))

    def broken(now_s: int = 0, called: set[str] | None = None) -> list[str]:
        return invariants.violations(
            bench.items(), price=price_of_row, now_s=now_s, called=called, refused=refused - called_rids
        )

    called_rids = {settlement.rid for settlement in served}
    assert broken() == []
    ended = bench.now_us // 1_000_000 + 1_000
    await bench.ledger.sweep_expired(key.acct, ended)
    assert broken(now_s=ended) == []
    for settlement in served:  # every usage line of the log, booked again
        await bench.ledger.settle(settlement)
    assert broken(now_s=ended, called=called_rids) == []

    state = bench.state(key)
    days = await DynamoUsageReader(bench.aws, bench.table).daily(key.acct, DAY, DAY)
    cost_of_log = sum(settlement.cost_nano for settlement in served)
    never_called = [
        item for item in bench.items() if item["sk"] == "R" and item["pk"].removeprefix("R#") not in called_rids
    ]
    charged = cost_of_log + sum(item["cost_nano"] for item in never_called)
    assert sum(day.cost_nano for day in days) == state["spent"] == charged
    assert state["spent"] <= 24_000
    assert refused  # the budget ended it
    assert {item["st"] for item in never_called} <= {"lost"}


async def test_a_hundred_at_once_on_a_budget_for_ten(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    assert 0 < await bench.most_at_once(key, 100) <= 10
    assert bench.state(key)["spent"] <= 1_000


async def test_the_burst_then_success_after_the_stated_wait(bench: Bench) -> None:
    key = await bench.account(rpm=60)
    verdicts = await asyncio.gather(*(bench.admit(bench.request(key)) for _ in range(40)))
    refusals = [verdict for verdict in verdicts if isinstance(verdict, Refused)]
    assert len(verdicts) - len(refusals) == 10
    wait = refusals[0].retry_after
    assert wait is not None
    bench.now_us += round(wait * 1_000_000)
    assert isinstance(await bench.admit(bench.request(key)), Admitted)
    assert isinstance(await bench.admit(bench.request(key)), Refused)


async def test_an_engine_that_is_gone_admits_nobody(environment: dict[str, str], table: str) -> None:
    nowhere = Aws({**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    ledger = DynamoLedger(nowhere, table)
    with pytest.raises(StoreUnavailable):
        await ledger.change_limits("a", AccountLimits(1, 1, "all"))
    nowhere.close()
