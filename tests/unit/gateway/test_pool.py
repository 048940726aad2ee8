"""The pool: who rests for what and how long, what other environments learn of it, and how often anybody tries again."""

import random
from datetime import datetime

import pytest

from shared.errors import GatewayError
from shared.gateway.pool import CredentialPool
from shared.gateway.quota_day import seconds_to_reset
from shared.gateway.retry_budget import RetryBudget
from shared.gemini.errors import DENIED, QuotaError
from shared.stores.protocols import Cooldown, Credential, StoreUnavailable

MODEL = "gemini-3.6-flash"
NOON = datetime.fromisoformat("2026-11-22T12:00:00+00:00").timestamp()


class Clock:
    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


class Secrets:
    def __init__(self, *slots):
        self.slots = slots

    async def pool(self, *, refresh=False):
        return self.slots


class Shared:
    """A store that every pool of a test sees."""

    def __init__(self):
        self.written = {}
        self.reads = self.writes = 0
        self.down = False

    async def get(self, owners):
        self.reads += 1
        if self.down:
            raise StoreUnavailable("down")
        return {owner: self.written[owner] for owner in owners if owner in self.written}

    async def put(self, owner, rests):
        self.writes += 1
        if self.down:
            raise StoreUnavailable("down")
        self.written[owner] = list(rests)


A1 = Credential("a1", "key-a1", project="a")
A2 = Credential("a2", "key-a2", project="a")
B = Credential("b", "key-b", project="b")
LONE = Credential("c", "key-c")


def pool(*slots, clock=None, **more):
    return CredentialPool(Secrets(*slots), clock or Clock(), random.Random(1), now=lambda: NOON, **more)


def quota(kind="upstream_quota", quota_id="GenerateRequestsPerDayPerProjectPerModel", **more):
    error = QuotaError(kind, "x", **more)
    error.quota_id = quota_id
    return error


async def ids(made, model=MODEL, times=40):
    return {(await made.choose(model)).id for _ in range(times)}


async def test_a_quota_of_the_day_rests_the_whole_project_for_that_model_until_midnight_pacific():
    clock = Clock()
    made = pool(A1, A2, B, clock=clock)
    made.rest(A1, MODEL, quota())
    assert await ids(made) == {"b"}
    assert await ids(made, "gemini-3.8-flash") == {"a1", "a2", "b"}
    clock.now = 20 * 3600 - 1
    assert await ids(made) == {"b"}
    clock.now += 2
    assert await ids(made) == {"a1", "a2", "b"}


async def test_a_credential_without_a_project_is_a_project_of_its_own():
    made = pool(LONE, Credential("d", "key-d"))
    made.rest(LONE, MODEL, quota())
    assert await ids(made) == {"d"}


async def test_two_quotas_of_one_model_rest_side_by_side():
    clock = Clock()
    made = pool(A1, clock=clock)
    made.rest(A1, MODEL, quota("upstream_rate_limited", "PerMinuteRequests", retry_after=30))
    made.rest(A1, MODEL, quota("upstream_rate_limited", "PerMinuteTokens", retry_after=5))
    clock.now = 10
    with pytest.raises(GatewayError) as none_left:
        await made.choose(MODEL)
    assert (none_left.value.kind, none_left.value.retry_after) == ("upstream_rate_limited", 20)


async def test_a_refused_key_rests_alone_and_for_every_model():
    made = pool(A1, A2)
    made.rest(A1, MODEL, GatewayError("upstream_auth", "x"))
    assert await ids(made) == await ids(made, "gemini-3.8-flash") == {"a2"}
    made.rest(A2, MODEL, GatewayError("upstream_auth", "x"))
    with pytest.raises(GatewayError) as none_left:
        await made.choose(MODEL)
    assert (none_left.value.kind, none_left.value.retry_after) == ("upstream_auth", None)


async def test_a_denial_that_may_be_the_requests_rests_for_a_moment_and_one_model():
    clock = Clock()
    made = pool(A1, A2, clock=clock)
    made.rest(A1, MODEL, GatewayError("upstream_auth", "x", reason=DENIED))
    assert (await ids(made), await ids(made, "gemini-3.8-flash")) == ({"a2"}, {"a1", "a2"})
    clock.now = 6
    assert await ids(made) == {"a1", "a2"}


async def test_where_all_rest_the_shortest_rest_is_told():
    made = pool(A1, B)
    made.rest(A1, MODEL, quota("upstream_rate_limited", "m", retry_after=40))
    made.rest(B, MODEL, quota("upstream_rate_limited", "m", retry_after=12))
    with pytest.raises(GatewayError) as none_left:
        await made.choose(MODEL)
    assert (none_left.value.kind, none_left.value.retry_after) == ("upstream_rate_limited", 12)
    assert not await made.has_another(MODEL, ())
    assert await made.has_another("gemini-3.8-flash", ("a1",))


async def test_who_slept_for_a_rest_and_woke_a_little_early_finds_it_over():
    clock = Clock()
    one = pool(LONE, clock=clock)
    one.rest(LONE, MODEL, quota("upstream_rate_limited", "PerMinute", retry_after=1.0))
    clock.now = 0.9
    with pytest.raises(GatewayError):
        await one.choose(MODEL)
    clock.now = 0.998
    assert await one.choose(MODEL) == LONE


async def test_weights_decide_among_the_healthy():
    heavy = Credential("h", "key-h", weight=9)
    made = pool(heavy, LONE)
    chosen = [(await made.choose(MODEL)).id for _ in range(500)]
    assert 400 < chosen.count("h") < 490


# what other environments learn


async def test_a_rest_reaches_other_environments_within_half_a_minute():
    shared, clock = Shared(), Clock()
    one, other = pool(A1, B, shared=shared), pool(A1, B, clock=clock, shared=shared)
    await other.choose(MODEL)
    await other.settled()
    one.rest(A1, MODEL, quota())
    await one.settled()
    assert shared.written["project:a"] == [
        Cooldown(MODEL, "GenerateRequestsPerDayPerProjectPerModel", "upstream_quota", round(NOON) + 20 * 3600)
    ]
    clock.now = 29
    assert await ids(other) == {"a1", "b"}
    clock.now = 31
    await other.choose(MODEL)
    await other.settled()
    assert await ids(other) == {"b"}


async def test_it_is_written_when_a_rest_begins_and_read_every_half_minute_only():
    shared, clock = Shared(), Clock()
    made = pool(A1, B, clock=clock, shared=shared)
    for second in range(61):
        clock.now = second
        await made.choose(MODEL)
        await made.settled()
    assert (shared.writes, shared.reads) == (0, 3)
    made.rest(A1, MODEL, GatewayError("upstream_overloaded", "x"))
    await made.settled()
    assert shared.writes == 0
    made.rest(A1, MODEL, GatewayError("upstream_auth", "x"))
    await made.settled()
    assert shared.writes == 1
    assert shared.written["a1"][0].model == ""


async def test_a_store_that_is_down_harms_nobody():
    shared = Shared()
    shared.down = True
    made = pool(A1, B, shared=shared)
    made.rest(A1, MODEL, quota())
    assert await ids(made) == {"b"}
    await made.settled()
    assert (shared.reads, shared.writes) == (1, 1)


# the budget of retries


def test_the_budget_is_full_at_first_and_earns_a_tenth_a_call():
    budget = RetryBudget()
    assert sum(budget.take() for _ in range(150)) == 100
    for _ in range(9):
        budget.earn()
    assert not budget.take()
    budget.earn()
    budget.earn()
    assert budget.take()
    for _ in range(5000):
        budget.earn()
    assert budget.left == 100


def test_a_fifth_of_independent_failures_costs_a_third_more_calls_at_most():
    chance, budget = random.Random(7), RetryBudget()
    calls = served = 0
    for _ in range(500):
        for attempt in range(3):
            budget.earn()
            calls += 1
            if chance.random() >= 0.2:
                served += 1
                break
            if attempt == 2 or not budget.take():
                break
    assert calls / 500 <= 1.3
    assert served / 500 >= 0.985


# the day of the quotas


@pytest.mark.parametrize(
    ("now", "reset"),
    [
        ("2026-11-22T12:00:00", "2026-11-23T08:00:00"),  # winter: eight hours behind
        ("2026-11-22T07:59:59", "2026-11-22T08:00:00"),
        ("2026-11-22T08:00:00", "2026-11-23T08:00:00"),
        ("2026-07-01T07:30:00", "2026-07-02T07:00:00"),  # summer: seven
        ("2026-07-01T06:59:00", "2026-07-01T07:00:00"),
        ("2026-03-08T08:30:00", "2026-03-09T07:00:00"),  # the day of 23 hours
        ("2026-03-07T12:00:00", "2026-03-08T08:00:00"),
        ("2026-10-31T12:00:00", "2026-11-01T07:00:00"),
        ("2026-11-01T07:00:00", "2026-11-02T08:00:00"),  # the day of 25
        ("2026-12-31T23:00:00", "2027-01-01T08:00:00"),
    ],
)
def test_quotas_begin_anew_at_midnight_in_california(now, reset):
    moment, wanted = (datetime.fromisoformat(f"{text}+00:00").timestamp() for text in (now, reset))
    assert seconds_to_reset(moment) == wanted - moment
