"""The ledger under faults and under load; the bench checks the invariants after each test."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from shared.stores.aws import Aws, AwsFailure
from shared.stores.dynamodb import DynamoLedger
from shared.stores.dynamodb_admission import release_update
from shared.stores.protocols import Admitted, Refused, Settlement, StoreUnavailable
from tests.stores.bench import DAY, Bench, Crash, FaultyAws, refuse_unguarded_additions
from tests.stores.test_ledger import COST
from tests.unit.gateway.test_settling import metered

FAULTS = ("error", "lost", "throttle", "conflict")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [1, 2])
async def test_a_fault_at_any_call_is_invisible(bench: Bench, fault: str, call: int) -> None:
    key = await bench.account(budget_limit_nano=1_000, rpm=600, tpm=6_000, max_concurrency=1)
    ledger = bench.faulty({call: fault})
    request = bench.request(key)
    assert isinstance(await bench.admit(request, ledger), Admitted)
    for _ in range(2):
        await bench.settle(request, ledger)
    state = bench.state(key)
    assert (state["spent"], state["avail"], state["holds"]) == (COST, 1_000 - COST, {})
    assert state["tat_r"] == bench.now_us + 100_000  # one request's worth, not two


@pytest.mark.parametrize("fault", ["crash_before", "crash_after"])
async def test_a_process_that_ends_while_admitting_leaves_at_most_an_expiring_hold(bench: Bench, fault: str) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    request = bench.request(key)
    with pytest.raises(Crash):
        await bench.admit(request, bench.faulty({1: fault}))
    await bench.ledger.sweep_expired(key.acct, request.expires_at + 1)
    assert bench.state(key)["spent"] == (100 if fault == "crash_after" else 0)


@pytest.mark.parametrize("fault", ["crash_before", "crash_after"])
async def test_a_process_that_ends_while_settling_leaves_one_row(bench: Bench, fault: str) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    request = bench.request(key)
    await bench.admit(request)
    with pytest.raises(Crash):
        await bench.settle(request, bench.faulty({1: fault}))
    await bench.ledger.sweep_expired(key.acct, request.expires_at + 1)
    assert bench.state(key)["spent"] == (COST if fault == "crash_after" else 100)
    await bench.settle(request)  # the usage line of the log, booked by the reconciliation
    assert bench.state(key)["spent"] == COST


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("after_s", [0, 0.001, 0.002, 0.004, 0.008, 0.016])
async def test_a_request_that_is_cancelled_while_it_settles_leaves_one_row(
    bench: Bench, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, after_s: float, direct: bool
) -> None:
    """What was under way is done anew, while the first try may still arrive."""
    aws = Aws(environment, direct=direct)
    key = await bench.account(budget_limit_nano=1_000)
    await bench.admit(request := bench.request(key))
    meter = metered(DynamoLedger(aws, bench.table))
    monkeypatch.setattr(meter, "settlement", lambda: bench.settlement(request))
    settling = asyncio.ensure_future(meter.settle())
    await asyncio.sleep(after_s)
    settling.cancel()
    await asyncio.wait([settling])
    aws.close()
    state = bench.state(key)
    assert (state["spent"], state["avail"], state["holds"]) == (COST, 1_000 - COST, {})


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("after_s", [0, 0.001, 0.002, 0.004, 0.008, 0.016])
async def test_a_request_that_is_cancelled_while_it_is_admitted_holds_nothing(
    bench: Bench, environment: dict[str, str], after_s: float, direct: bool
) -> None:
    """What was under way may still arrive."""
    aws = Aws(environment, direct=direct)
    key = await bench.account(budget_limit_nano=1_000)
    ledger = DynamoLedger(aws, bench.table)
    admitting = asyncio.ensure_future(ledger.admit(bench.request(key, rpm=60, rpm_burst=1)))
    await asyncio.sleep(after_s)
    admitting.cancel()
    await asyncio.wait([admitting])
    held = 0 if admitting.cancelled() else 1  # or it was too late
    aws.close()
    state = bench.state(key)
    assert (len(state["holds"]), state["avail"]) == (held, 1_000 - 100 * held)


@pytest.mark.parametrize("fault", ["throttle", "conflict", "error"])
async def test_what_never_gets_better_is_said_after_the_last_try(bench: Bench, fault: str) -> None:
    key = await bench.account()
    request = bench.request(key)
    always = dict.fromkeys(range(1, 100), fault)
    ledger = bench.faulty(always)
    with pytest.raises(StoreUnavailable):
        await ledger.admit(request)
    await bench.admit(request)
    with pytest.raises(StoreUnavailable):
        await bench.settle(request, ledger)
    assert ledger._aws.calls == 5 + 6


async def test_two_environments_turn_a_page_once(bench: Bench) -> None:
    """The slower one's change comes when the new period has spent already: it must not give that back."""
    key = await bench.account(budget_limit_nano=1_000, budget_period="day", period="20270114")
    await bench.admit(old := bench.request(key, day="20270114", period="20270114"))
    await bench.settle(old)

    async def faster() -> None:
        await bench.admit(request := bench.request(key, period=DAY))
        await bench.settle(request)

    slower = bench.faulty({2: faster})  # between its look at the old period and its change
    assert isinstance(await bench.admit(bench.request(key, period=DAY), slower), Admitted)
    state = bench.state(key)
    assert (state["period"], state["spent"], state["spent_all"]) == (DAY, COST, 2 * COST)


async def test_three_throttles_then_success_are_invisible(bench: Bench) -> None:
    key = await bench.account()
    assert isinstance(
        await bench.admit(bench.request(key), bench.faulty(dict.fromkeys((1, 2, 3), "throttle"))), Admitted
    )


async def test_an_unreadable_row_releases_the_hold_of_an_idempotent_request(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    with pytest.raises(StoreUnavailable):
        await bench.faulty(dict.fromkeys(range(2, 7), "error")).admit(bench.request(key, body_sha="aa"))
    assert (bench.state(key)["avail"], bench.state(key)["holds"]) == (1_000, {})


async def test_a_sweep_that_fails_leaves_the_verdict_standing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    key = await bench.account(max_concurrency=1)
    await bench.admit(bench.request(key))
    bench.now_us += 200_000_000
    verdict = await bench.admit(bench.request(key), bench.faulty(dict.fromkeys(range(2, 7), "error")))
    assert verdict == Refused("concurrency", retry_after=1.0)
    assert "sweep_failed" in caplog.text


async def test_a_sweep_ends_only_the_hold_it_saw(bench: Bench) -> None:
    """Between its look and its write the hold was given back, and the same request admitted anew."""
    key = await bench.account(budget_limit_nano=1_000)
    dead = bench.request(key, body_sha="aa")
    await bench.admit(dead)
    anew = replace(dead, nonce="anew", expires_at=dead.expires_at + 600)

    async def readmit() -> None:
        await bench.ledger._write("update_item", release_update(bench.table, dead))
        assert isinstance(await bench.admit(anew), Admitted)

    await bench.faulty({3: readmit}).sweep_expired(key.acct, dead.expires_at + 1)
    assert bench.state(key)["holds"][anew.rid]["n"] == "anew"
    assert not [item for item in bench.items() if item["sk"] == "R"]
    await bench.settle(anew)

    ghost = replace(dead, nonce="ghost", body_sha=None)
    await bench.admit(ghost)  # its row exists: the sweep will give it back

    async def haunt() -> None:
        await bench.ledger._write("update_item", release_update(bench.table, ghost))
        await bench.admit(replace(ghost, nonce="second", expires_at=ghost.expires_at + 600))

    await bench.faulty({3: haunt}).sweep_expired(key.acct, dead.expires_at + 1)
    assert bench.state(key)["holds"][ghost.rid]["n"] == "second"


async def test_a_hold_given_back_while_it_is_swept_bills_nothing(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    unread = bench.request(key, body_sha="aa")
    await bench.admit(unread)

    async def give_back() -> None:
        await bench.ledger._write("update_item", release_update(bench.table, unread))

    await bench.faulty({3: give_back}).sweep_expired(key.acct, unread.expires_at + 1)
    assert (bench.state(key)["avail"], bench.state(key)["spent"]) == (1_000, 0)


# --- many at once


async def test_a_small_budget_is_never_overspent(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=3_000)

    async def run() -> None:
        request = bench.request(key)
        if isinstance(await bench.admit(request), Admitted):
            await bench.settle(request, output_tokens=random.randrange(13))

    await asyncio.gather(*(run() for _ in range(150)))
    state = bench.state(key)
    assert state["spent"] <= 3_000
    assert state["holds"] == {}
    assert bench.refused  # the budget was what ended it


async def test_of_many_at_once_exactly_the_concurrency_limit_runs(bench: Bench) -> None:
    key = await bench.account(max_concurrency=5)
    for _ in range(2):
        requests = [bench.request(key) for _ in range(60)]
        verdicts = await asyncio.gather(*(bench.admit(request) for request in requests))
        admitted = [
            request for request, verdict in zip(requests, verdicts, strict=True) if isinstance(verdict, Admitted)
        ]
        assert len(admitted) == 5
        assert {verdict.kind for verdict in verdicts if isinstance(verdict, Refused)} == {"concurrency"}
        await asyncio.gather(*(bench.settle(request) for request in admitted))


async def test_the_concurrency_limit_is_never_exceeded(bench: Bench) -> None:
    key = await bench.account(max_concurrency=5)
    assert 0 < await bench.most_at_once(key, 100) <= 5


@pytest.mark.parametrize("environments", [1, 8])
async def test_simultaneous_requests_get_exactly_the_burst(bench: Bench, environments: int) -> None:
    key = await bench.account(rpm=60, rpm_burst=20)
    ledgers = [DynamoLedger(bench.aws, bench.table) for _ in range(environments)]
    verdicts = await asyncio.gather(
        *(bench.admit(bench.request(key), ledgers[number % environments]) for number in range(120))
    )
    admitted = [verdict for verdict in verdicts if isinstance(verdict, Admitted)]
    assert len(admitted) == 20
    assert sorted(verdict.limits.requests_remaining or 0 for verdict in admitted) == list(range(20))
    assert {verdict.kind for verdict in verdicts if isinstance(verdict, Refused)} == {"rate"}


async def test_random_faults_on_many_requests_break_nothing(bench: Bench) -> None:
    chance = random.Random(20270115)
    key = await bench.account(budget_limit_nano=12_000, max_concurrency=40)
    alive: list[Settlement] = []

    async def run(number: int) -> None:
        faults = {
            call: chance.choice((*FAULTS, "crash_before", "crash_after")) for call in (1, 2) if chance.random() < 0.3
        }
        ledger, request = bench.faulty(faults), bench.request(key)
        try:
            if isinstance(await bench.admit(request, ledger), Refused):
                return
            alive.append(bench.settlement(request))
            for _ in range(1 + number % 2):
                await bench.settle(request, ledger)
        except Crash:
            return

    await asyncio.gather(*(run(number) for number in range(200)))
    assert bench.violations() == []
    await bench.ledger.sweep_expired(key.acct, bench.now_us // 1_000_000 + 1_000)
    assert bench.violations() == []
    for settlement in alive:  # what the log still knows of the dead
        await bench.ledger.settle(settlement)
    rows = {item["pk"][2:] for item in bench.items() if item["sk"] == "R"}
    assert {settlement.rid for settlement in alive} <= rows
    assert bench.state(key)["holds"] == {}


# --- the checks can fail


class CarelessLedger(DynamoLedger):
    """Settles by plain additions, each on its own, as many times as it is told to."""

    async def settle(self, settlement: Settlement) -> None:
        amount = {"N": str(settlement.cost_nano)}
        for key, names in (
            ({"pk": {"S": f"A#{settlement.acct}"}, "sk": {"S": "STATE"}}, ("spent", "spent_all")),
            ({"pk": {"S": f"A#{settlement.acct}"}, "sk": {"S": f"D#{settlement.day}#m"}}, ("cost_nano", "n")),
        ):
            for name in names:
                request: dict[str, Any] = {
                    "TableName": self._table,
                    "Key": key,
                    "UpdateExpression": "ADD #x :a",
                    "ExpressionAttributeNames": {"#x": name},
                    "ExpressionAttributeValues": {":a": {"N": "1"} if name == "n" else amount},
                }
                try:
                    await self._aws.call("dynamodb", "update_item", **request)
                except AwsFailure:
                    await self._aws.call("dynamodb", "update_item", **request)


async def test_a_careless_settlement_is_caught_by_the_invariants(
    environment: Mapping[str, str], aws: Aws, table: str
) -> None:
    unwatched = Aws(environment)
    bench = Bench(aws, table)
    key = await bench.account(budget_limit_nano=1_000)
    request = bench.request(key)
    await bench.admit(request)
    assert bench.violations() == []
    await bench.settle(request, CarelessLedger(FaultyAws(unwatched, {2: "lost"}), table))
    broken = {violation.split()[0] for violation in bench.violations()}
    assert {"I1", "I2", "I3"} <= broken
    unwatched.close()


async def test_an_unguarded_addition_is_caught_before_it_is_sent(environment: Mapping[str, str], table: str) -> None:
    watched = Aws(environment)
    refuse_unguarded_additions(watched.client("dynamodb"))
    bench = Bench(watched, table)
    key = await bench.account()
    with pytest.raises(AssertionError, match="without a condition"):
        await bench.settle(bench.request(key), CarelessLedger(watched, table))
    watched.close()


async def test_each_invariant_sees_its_own_damage(bench: Bench, environment: Mapping[str, str]) -> None:
    """The scan is only worth something if a sound table, damaged in one place, is reported in that place."""
    from tests.stores import invariants

    key = await bench.account(budget_limit_nano=1_000)
    done, held = bench.request(key), bench.request(key)
    await bench.admit(done)
    await bench.settle(done)
    await bench.admit(held)
    sound = bench.items()

    def damaged(sk: str, **changes: Any) -> set[str]:
        items = [item | changes if item["sk"].startswith(sk) else item for item in sound]
        found = invariants.violations(items, price=lambda row: 2 * row["in_tok"] + 6 * row["out_tok"])
        return {violation.split()[0] for violation in found}

    assert damaged("none") == set()
    assert damaged("STATE", spent_all=0) == {"I1"}
    assert damaged("D#", n=2) == {"I2"}
    assert damaged("STATE", avail=901) == {"I3"}
    assert damaged("STATE", spent=1_100, spent_all=1_100) >= {"I1", "I4"}
    assert damaged("R", cost_nano=51) == {"I1", "I7"}
    assert damaged("D#", err=-1) == {"I10"}
    assert invariants.violations(sound, now_s=held.expires_at + 1) == [
        f"I6 {key.acct}: a hold that outlived its request"
    ]
    assert invariants.violations(sound, called=[done.rid, "x"], refused=[done.rid]) == [
        "I8 x: called, no row",
        f"I9 {done.rid}: refused, yet a row",
    ]
    assert invariants.violations(sound, called=[]) == [f"I8 {done.rid}: a done row, never called"]
    orphan = replace(bench.settlement(done), rid="orphan")
    adjustment = {"pk": f"R#{orphan.rid}", "sk": "ADJ", "acct": key.acct, "cost_nano": 0}
    tokens = dict.fromkeys(("in_tok", "cache_tok", "out_tok", "think_tok"), 0)
    assert invariants.violations([*sound, adjustment | tokens]) == ["I5 orphan: an adjustment without a row"]
