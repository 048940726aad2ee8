"""Admission and settlement: the protocol, step by step."""

import json
from typing import get_args

import pytest
from msgspec.structs import replace

from shared.limit_state import LimitState
from shared.stores.dynamodb import DynamoLedger
from shared.stores.dynamodb_rows import settle_transaction
from shared.stores.protocols import Admitted, Refused, RowState, StoreConflict, StoreUnavailable
from tests.stores import invariants
from tests.stores.bench import DAY, START_US, Bench, FaultyAws

COST = 50  # of the bench's usual request


async def test_a_request_is_reserved_then_settled_into_one_row(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    request = bench.request(key, estimate=100)

    assert await bench.admit(request) == Admitted(LimitState(budget_remaining_nano=900))
    held = bench.state(key)
    assert held["avail"] == 900
    assert held["holds"][request.rid] == {
        "e": 100,
        "x": request.expires_at,
        "d": DAY,
        "m": request.model,
        "k": key.kid,
        "n": request.nonce,
    }

    await bench.settle(request)
    state = bench.state(key)
    assert (state["avail"], state["spent"], state["spent_all"], state["holds"]) == (1_000 - COST, COST, COST, {})
    row = bench.item(f"R#{request.rid}", "R")
    assert row == {
        "pk": f"R#{request.rid}",
        "sk": "R",
        "gsi1pk": f"A#{key.acct}#{DAY}",
        "gsi1sk": f"{START_US // 1000}#{request.rid}",
        "acct": key.acct,
        "kid": key.kid,
        "ts": START_US // 1000,
        "day": DAY,
        "model": "gemini-2.5-flash",
        "model_ver": "gemini-2.5-flash-001",
        "dialect": "openai_chat",
        "endpoint": "chat",
        "stream": True,
        "http": 200,
        "finish": "stop",
        "in_tok": 10,
        "cache_tok": 0,
        "out_tok": 5,
        "think_tok": 0,
        "modal": {"in_TEXT": 10},
        "cost_nano": COST,
        "price_ver": "test",
        "est": 100,
        "st": "done",
        "estimated": False,
        "ttft_ms": 12,
        "dur_ms": 34,
        "up_req_id": "up-1",
        "key_slot": "k1",
        "attempts": 1,
        "ttl": START_US // 1_000_000 + 90 * 86_400,
    }
    day = bench.item(f"A#{key.acct}", f"D#{DAY}#gemini-2.5-flash")
    assert (day["n"], day.get("err", 0), day["in_tok"], day["out_tok"], day["cost_nano"]) == (1, 0, 10, 5, COST)


async def test_without_a_budget_everything_fits_and_no_balance_is_shown(bench: Bench) -> None:
    key = await bench.account()
    request = bench.request(key, estimate=10**15)
    assert await bench.admit(request) == Admitted(LimitState())
    await bench.settle(request)
    assert bench.state(key)["limit"] == 2**53 - 1


async def test_a_key_without_state_is_half_issued(bench: Bench) -> None:
    key = replace(await bench.account(), acct="nobody")
    assert await bench.admit(bench.request(key)) == Refused("half_issued")


@pytest.mark.parametrize("status", ["disabled", "revoked"])
async def test_a_status_stops_the_next_request_even_of_an_empty_budget(bench: Bench, status: str) -> None:
    key = await bench.account(budget_limit_nano=0)
    await bench.ledger.set_key_status(key.acct, key.kid, status)
    assert await bench.admit(bench.request(key)) == Refused("key_inactive")


async def test_a_status_stops_a_key_with_a_full_budget(bench: Bench) -> None:
    key = await bench.account()
    assert isinstance(await bench.admit(bench.request(key)), Admitted)
    await bench.ledger.set_key_status(key.acct, key.kid, "disabled")
    assert await bench.admit(bench.request(key)) == Refused("key_inactive")
    await bench.ledger.set_key_status(key.acct, key.kid, "active")
    assert isinstance(await bench.admit(bench.request(key)), Admitted)


async def test_an_unknown_kid_of_a_known_account_is_inactive(bench: Bench) -> None:
    key = await bench.account()
    assert await bench.admit(bench.request(key, kid="stranger")) == Refused("key_inactive")


async def test_status_of_an_account_that_does_not_exist(bench: Bench) -> None:
    with pytest.raises(StoreConflict):
        await bench.ledger.set_key_status("nobody", "kid", "revoked")


async def test_opening_an_account_again_keeps_counters_and_statuses(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    await bench.admit(request := bench.request(key))
    await bench.settle(request)
    await bench.ledger.set_key_status(key.acct, key.kid, "revoked")
    rotated = replace(key, kid="rotated")

    await bench.ledger.open_account(key, period="all")
    await bench.ledger.open_account(rotated, period="all")

    state = bench.state(key)
    assert state["kids"] == {key.kid: "revoked", "rotated": "active"}
    assert state["avail"] == 1_000 - COST
    assert isinstance(await bench.admit(bench.request(rotated)), Admitted)


async def test_a_budget_is_hard(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=250)
    for _ in range(2):
        assert isinstance(await bench.admit(bench.request(key)), Admitted)
    refused = await bench.admit(bench.request(key))
    assert refused == Refused("budget", limits=LimitState(budget_remaining_nano=50))


async def test_a_budget_of_zero_admits_nothing(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=0)
    assert (await bench.admit(bench.request(key))).__class__ is Refused


async def test_an_answer_dearer_than_its_estimate_is_booked_in_full(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=100)
    await bench.admit(request := bench.request(key, estimate=100))
    await bench.settle(request, output_tokens=50)
    assert bench.state(key)["avail"] == 100 - 320
    refused = await bench.admit(bench.request(key, estimate=1))
    assert refused == Refused("budget", limits=LimitState(budget_remaining_nano=0))


async def test_no_waiting_opens_a_concurrency_of_none(bench: Bench) -> None:
    key = await bench.account(max_concurrency=0)
    assert await bench.admit(bench.request(key)) == Refused("concurrency", retry_after=None)


async def test_the_concurrency_limit_is_exact(bench: Bench) -> None:
    key = await bench.account(max_concurrency=2)
    first, second, third = (bench.request(key) for _ in range(3))
    assert isinstance(await bench.admit(first), Admitted)
    assert isinstance(await bench.admit(second), Admitted)
    assert await bench.admit(third) == Refused("concurrency", retry_after=1.0)
    await bench.settle(first)
    assert isinstance(await bench.admit(replace(third, rid="9" * 26)), Admitted)


async def test_a_refused_request_takes_nothing_of_the_other_limits(bench: Bench) -> None:
    key = await bench.account(max_concurrency=1, rpm=60, tpm=600, budget_limit_nano=1_000)
    await bench.admit(bench.request(key))
    before = bench.state(key)
    assert (await bench.admit(bench.request(key))).kind == "concurrency"
    assert bench.state(key) == before


async def test_a_void_request_costs_nothing_and_frees_everything(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000, tpm=600)
    await bench.admit(request := bench.request(key))
    await bench.settle(
        request, state="void", status=503, cost_nano=0, input_tokens=0, output_tokens=0, finish_reason=""
    )
    state = bench.state(key)
    assert (state["avail"], state["spent"], state["holds"], state["tat_t"]) == (1_000, 0, {}, START_US)
    day = bench.item(f"A#{key.acct}", f"D#{DAY}#gemini-2.5-flash")
    assert (day["n"], day["err"]) == (1, 1)


async def test_settling_twice_changes_nothing(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    await bench.admit(request := bench.request(key))
    settlement = await bench.settle(request)
    before = bench.items()
    for state in ("done", "partial", "estimated"):
        await bench.ledger.settle(replace(settlement, state=state))
        assert bench.items() == before


async def test_every_try_of_a_settlement_is_the_same_transaction(bench: Bench) -> None:
    settlement = bench.settlement(bench.request(await bench.account()))
    tokens = set()
    for state in get_args(RowState):
        for hold in (True, False):
            request = settle_transaction("t", replace(settlement, state=state), hold=hold)
            assert json.dumps(request) == json.dumps(
                settle_transaction("t", replace(settlement, state=state), hold=hold)
            )
            tokens.add(request["ClientRequestToken"])
    assert len(tokens) == 2 * len(get_args(RowState))  # another body is another token
    assert max(map(len, tokens)) <= 36


async def test_a_request_that_was_admitted_without_the_ledger_is_booked_later(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    request = bench.request(key)
    bench.unreserved.add(request.rid)
    settlement = bench.settlement(request, had_hold=False)
    await bench.ledger.settle(settlement)
    await bench.ledger.settle(settlement)
    assert bench.state(key)["avail"] == 1_000 - COST


async def test_a_settlement_whose_hold_was_lost_is_still_booked_once(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    request = bench.request(key)  # never admitted in this state
    bench.unreserved.add(request.rid)
    for _ in range(2):
        await bench.settle(request)
    assert bench.state(key)["avail"] == 1_000 - COST


async def test_a_settlement_for_an_account_without_state_is_refused_whole(bench: Bench) -> None:
    key = replace(await bench.account(), acct="nobody")
    with pytest.raises(StoreUnavailable):
        await bench.settle(bench.request(key))
    assert not [item for item in bench.items() if item["sk"] == "R"]


async def test_a_missing_table_is_a_store_that_cannot_decide(bench: Bench) -> None:
    key = await bench.account()
    ledger = type(bench.ledger)(bench.aws, "no-such-table")
    with pytest.raises(StoreUnavailable):
        await ledger.admit(bench.request(key))


# --- periods


async def test_a_new_period_gives_the_budget_back_once(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=120, budget_period="day", period="20270114")
    old = bench.request(key, day="20270114", period="20270114")
    await bench.admit(old)
    await bench.settle(old)
    running = bench.request(key, estimate=70, day="20270114", period="20270114")
    assert isinstance(await bench.admit(running), Admitted)

    fresh = bench.request(key, estimate=50, period=DAY)
    assert await bench.admit(fresh) == Admitted(LimitState(budget_remaining_nano=0))
    state = bench.state(key)
    assert (state["period"], state["spent"], state["spent_all"]) == (DAY, 0, COST)

    await bench.settle(running)  # ends in the new period, belongs to its own day
    assert bench.state(key)["spent"] == COST
    assert bench.item(f"R#{running.rid}", "R")["day"] == "20270114"
    assert bench.item(f"A#{key.acct}", "D#20270114#gemini-2.5-flash")["n"] == 2


async def test_a_clock_that_is_behind_does_not_turn_the_period_back(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000, budget_period="day", period=DAY)
    late = bench.request(key, day="20270114", period="20270114")
    assert isinstance(await bench.admit(late), Admitted)
    assert bench.state(key)["period"] == DAY


async def test_the_kind_of_period_is_that_of_the_state(bench: Bench) -> None:
    """A record that still says "day" must not reset a budget that became monthly, nor the other way round."""
    key = await bench.account(budget_limit_nano=1_000, budget_period="month", period="202701")
    await bench.admit(first := bench.request(key, period=DAY))
    await bench.settle(first)
    assert isinstance(await bench.admit(bench.request(key, period="all")), Admitted)
    assert (bench.state(key)["period"], bench.state(key)["spent"]) == ("202701", COST)

    later = bench.request(key, day="20270201", period="20270201")
    assert isinstance(await bench.admit(later), Admitted)
    assert (bench.state(key)["period"], bench.state(key)["spent"]) == ("202702", 0)


# --- rates


async def test_the_burst_is_exact_and_the_wait_is_honest(bench: Bench) -> None:
    key = await bench.account(rpm=60, rpm_burst=3)
    left = [(await bench.admit(bench.request(key))).limits.requests_remaining for _ in range(3)]
    assert left == [2, 1, 0]
    refused = await bench.admit(bench.request(key))
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.retry_after) == ("rate", 1.0)
    assert (refused.limits.requests_limit, refused.limits.requests_remaining) == (60, 0)
    assert refused.limits.requests_reset == 3.0

    bench.now_us += 999_999
    assert isinstance(await bench.admit(bench.request(key)), Refused)
    bench.now_us += 1
    assert isinstance(await bench.admit(bench.request(key)), Admitted)
    assert isinstance(await bench.admit(bench.request(key)), Refused)


async def test_after_a_pause_the_whole_burst_is_there_again(bench: Bench) -> None:
    key = await bench.account(rpm=60, rpm_burst=2)
    for _ in range(2):
        assert isinstance(await bench.admit(bench.request(key)), Admitted)
    bench.now_us += 3_600_000_000
    for _ in range(2):
        assert isinstance(await bench.admit(bench.request(key)), Admitted)
    assert isinstance(await bench.admit(bench.request(key)), Refused)


async def test_another_environment_adapts_to_what_it_has_not_seen(bench: Bench) -> None:
    key = await bench.account(rpm=60, rpm_burst=2, tpm=600)
    other = bench.faulty({})
    assert isinstance(await bench.admit(bench.request(key)), Admitted)
    assert isinstance(await bench.admit(bench.request(key), other), Admitted)
    assert isinstance(await bench.admit(bench.request(key)), Refused)
    bench.now_us += 60_000_000
    assert isinstance(await bench.admit(bench.request(key), other), Admitted)


async def test_the_accounts_asked_last_are_remembered_the_others_learnt_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.stores.dynamodb._REMEMBERED_ACCOUNTS", 2)
    aws = FaultyAws(bench.aws, {})
    ledger = DynamoLedger(aws, bench.table)
    keys = [await bench.account(rpm=60, rpm_burst=5) for _ in range(3)]

    async def calls_for(number: int) -> int:
        before = aws.calls
        assert isinstance(await bench.admit(bench.request(keys[number]), ledger), Admitted)
        return aws.calls - before

    assert [await calls_for(number) for number in (0, 1, 0, 2, 0)] == [1, 1, 1, 1, 1]
    assert [await calls_for(number) for number in (1, 1)] == [2, 1]  # it had to make room for the third


async def test_tokens_that_were_not_used_are_given_back(bench: Bench) -> None:
    key = await bench.account(tpm=600)
    first = bench.request(key, estimate_tokens=600)
    admitted = await bench.admit(first)
    assert (admitted.limits.tokens_limit, admitted.limits.tokens_remaining) == (600, 0)
    await bench.settle(first)  # used 15 of 600
    assert bench.state(key)["tat_t"] == START_US + 15 * 100_000
    second = await bench.admit(bench.request(key, estimate_tokens=5))
    assert second.limits.tokens_remaining == 600 - 15 - 5


async def test_a_request_beyond_the_token_burst_passes_and_leaves_a_debt(bench: Bench) -> None:
    key = await bench.account(tpm=600)
    assert isinstance(await bench.admit(bench.request(key, estimate_tokens=1_800)), Admitted)
    refused = await bench.admit(bench.request(key, estimate_tokens=1))
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.retry_after) == ("tokens", 120.0)
    bench.now_us += 120_000_000
    assert isinstance(await bench.admit(bench.request(key, estimate_tokens=1)), Admitted)


@pytest.mark.parametrize("name", ["rpm", "tpm"])
async def test_a_rate_of_zero_admits_nothing_and_promises_nothing(bench: Bench, name: str) -> None:
    key = await bench.account(**{name: 0})
    refused = await bench.admit(bench.request(key))
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.retry_after) == ("rate" if name == "rpm" else "tokens", None)
    await bench.ledger.set_key_status(key.acct, key.kid, "revoked")
    assert await bench.admit(bench.request(key)) == Refused("key_inactive")


# --- repeats with an Idempotency-Key


async def test_the_same_key_while_the_first_runs_after_it_and_with_another_body(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000, rpm=600, tpm=6_000)
    first = bench.request(key, body_sha="aa")
    assert isinstance(await bench.admit(first), Admitted)

    again = replace(first, nonce="another")
    assert (await bench.admit(again)).kind == "duplicate_running"
    assert (await bench.admit(replace(again, body_sha="bb"))).kind == "duplicate_mismatch"

    await bench.settle(first)
    before = bench.state(key)
    assert (await bench.admit(again)).kind == "duplicate_done"
    assert (await bench.admit(replace(again, body_sha="bb"))).kind == "duplicate_mismatch"
    after = bench.state(key)
    assert {name: after[name] for name in ("avail", "holds", "spent")} == {
        name: before[name] for name in ("avail", "holds", "spent")
    }
    assert after["tat_t"] <= START_US + 15 * 10_000  # what the duplicates took is back


async def test_a_duplicate_that_dies_unreleased_is_released_by_the_sweep_and_bills_nothing(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    first = bench.request(key, body_sha="aa")
    await bench.admit(first)
    await bench.settle(first)
    ghost = replace(first, nonce="ghost", body_sha=None)  # without the look at the row: as if it had died before it
    assert isinstance(await bench.admit(ghost), Admitted)

    assert await bench.ledger.sweep_expired(key.acct, first.expires_at + 1) == 1
    assert (bench.state(key)["avail"], bench.state(key)["holds"]) == (1_000 - COST, {})


# --- requests that never settle


async def test_a_dead_request_frees_its_slot_when_its_hold_expires(bench: Bench) -> None:
    key = await bench.account(max_concurrency=1, budget_limit_nano=1_000)
    dead = bench.request(key)
    await bench.admit(dead)
    bench.now_us += 120_000_000
    assert (await bench.admit(bench.request(key))).kind == "concurrency"
    bench.now_us += 1_000_000
    assert isinstance(await bench.admit(bench.request(key)), Admitted)
    row = bench.item(f"R#{dead.rid}", "R")
    assert (row["st"], row["cost_nano"], row["kid"], row["day"]) == ("lost", 100, key.kid, DAY)
    assert invariants.violations(bench.items(), now_s=bench.now_us // 1_000_000) == []


async def test_a_late_settlement_corrects_what_the_sweep_assumed_once(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    late = bench.request(key)
    await bench.admit(late)
    await bench.ledger.sweep_expired(key.acct, late.expires_at + 1)
    assert bench.state(key)["spent_all"] == 100

    for _ in range(2):
        await bench.settle(late)
    state = bench.state(key)
    assert (state["spent_all"], state["avail"]) == (COST, 1_000 - COST)
    adjustment = bench.item(f"R#{late.rid}", "ADJ")
    assert (adjustment["cost_nano"], adjustment["reason"]) == (COST - 100, "late_settlement")
    day = bench.item(f"A#{key.acct}", f"D#{DAY}#gemini-2.5-flash")
    assert (day["n"], day["err"], day["cost_nano"], day["in_tok"]) == (1, 0, COST, 10)


async def test_the_sweep_leaves_running_requests_alone(bench: Bench) -> None:
    key = await bench.account()
    running = bench.request(key)
    await bench.admit(running)
    assert await bench.ledger.sweep_expired(key.acct, running.expires_at) == 0
    assert running.rid in bench.state(key)["holds"]
    assert await bench.ledger.sweep_expired("nobody", running.expires_at) == 0
