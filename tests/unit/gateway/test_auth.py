"""Who asks: every header form gives the same decision, and nothing is decided by accident."""

import itertools

import pytest
from starlette.requests import Request

from shared.errors import GatewayError
from shared.gateway.auth import Authenticator, check_address, check_endpoint, model_allowed, presented_keys
from shared.gateway.keyring import KeyDirectory, key_hash, make_key
from shared.stores.protocols import KeyRecord, StoreUnavailable

PEPPER = b"p" * 32
SECRET = "s" * 43
KID = "K" * 16
KEY = make_key(KID, SECRET)
OTHER = make_key("L" * 16, "t" * 43)
RECORD = KeyRecord(kid=KID, acct=KID, hash=key_hash(PEPPER, SECRET), pepper_id="p1")


class Registry:
    """A key store that holds one record and counts who asks."""

    def __init__(self, record=RECORD):
        self.record = record
        self.asked = 0

    async def resolve(self, kid):
        self.asked += 1
        if self.record is None:
            raise StoreUnavailable("down")
        return self.record if kid == self.record.kid else None


class Peppers:
    async def pepper(self, pepper_id=None):
        return "p1", PEPPER


def request(*headers, query=""):
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": query.encode(), "headers": raw})


def authenticator(registry=None, clock=lambda: 0.0):
    return Authenticator(KeyDirectory(registry or Registry(), Peppers(), lambda: 1_000.0), clock)


FORMS = [
    ("authorization", f"Bearer {KEY}"),
    ("authorization", f"bearer   {KEY}"),
    ("authorization", f"BEARER {KEY}\t"),
    ("authorization", KEY),
    ("api-key", KEY),
    ("x-api-key", f" {KEY} "),
    ("x-goog-api-key", KEY),
]


@pytest.mark.parametrize("form", FORMS)
async def test_every_header_form_is_the_same_key(form):
    assert await authenticator().authenticate(request(form), "192.0.2.1") == RECORD


@pytest.mark.parametrize(("one", "two"), list(itertools.combinations(FORMS, 2)))
async def test_the_same_key_twice_is_fine_and_two_keys_never_are(one, two):
    assert await authenticator().authenticate(request(one, two), "192.0.2.1") == RECORD
    foreign = (two[0], two[1].replace(KEY, OTHER))
    for pair in ((one, foreign), (foreign, one)):
        registry = Registry()
        with pytest.raises(GatewayError, match="Two different") as caught:
            await authenticator(registry).authenticate(request(*pair), "192.0.2.1")
        assert caught.value.kind == "authentication"
        assert registry.asked == 0


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FORMS, repeat=2)))
async def test_a_header_whose_lines_lambda_joined_is_read_line_by_line(first, second):
    (name, one), (_, two) = first, second
    if name != "authorization":
        one = two = KEY
    for joint in (",", ", "):
        assert await authenticator().authenticate(request((name, one + joint + two)), "192.0.2.1") == RECORD
        assert await authenticator().authenticate(request((name, one + joint)), "192.0.2.1") == RECORD
        with pytest.raises(GatewayError, match="Two different"):
            await authenticator().authenticate(request((name, one + joint + two.replace(KEY, OTHER))), "192.0.2.1")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {KEY}",
        f"Token {KEY}",
        KEY[:-1],
        KEY + "0",
        KEY.swapcase(),
        "sk-" + "x" * 70,
        "AIza" + "x" * 35,
        "é" + KEY,
        "x" * 70_000,
        KEY + "\x01",
    ],
)
async def test_what_is_no_key_of_ours_is_refused_without_asking_a_store(value):
    registry = Registry()
    with pytest.raises(GatewayError) as caught:
        await authenticator(registry).authenticate(request(("authorization", value)), "192.0.2.1")
    assert (caught.value.kind, caught.value.message) == ("authentication", "Incorrect API key provided.")
    assert registry.asked == 0


async def test_unknown_and_wrong_keys_look_alike():
    messages = set()
    for key in (make_key("Z" * 16, SECRET), make_key(KID, "u" * 43)):
        with pytest.raises(GatewayError) as caught:
            await authenticator().authenticate(request(("x-api-key", key)), "192.0.2.1")
        messages.add(repr(caught.value))
    assert len(messages) == 1


def test_a_key_in_the_query_counts_on_native_routes_only():
    assert presented_keys(request(query=f"key={KEY}"), query_key=False) == []
    assert presented_keys(request(query=f"key={KEY}"), query_key=True) == [KEY]


async def test_a_registry_that_is_down_is_our_trouble():
    registry = Registry()
    registry.record = None
    with pytest.raises(GatewayError) as caught:
        await authenticator(registry).authenticate(request(FORMS[0]), "192.0.2.1")
    assert caught.value.kind == "unavailable"
    assert caught.value.retry_after


async def test_a_flood_of_bad_keys_is_slowed_down_but_not_a_good_one():
    now = [0.0]
    gate = authenticator(clock=lambda: now[0])
    await gate.authenticate(request(FORMS[0]), "192.0.2.1")
    kinds = []
    for _ in range(40):
        with pytest.raises(GatewayError) as caught:
            await gate.authenticate(request(("x-api-key", "garbage")), "192.0.2.1")
        kinds.append(caught.value.kind)
    assert kinds == ["authentication"] * 30 + ["rate_limited"] * 10
    assert await gate.authenticate(request(FORMS[0]), "192.0.2.1") == RECORD
    with pytest.raises(GatewayError) as caught:
        await gate.authenticate(request(("x-api-key", OTHER)), "192.0.2.1")
    assert caught.value.kind == "rate_limited"
    with pytest.raises(GatewayError) as elsewhere:
        await gate.authenticate(request(("x-api-key", "garbage")), "192.0.2.2")
    assert elsewhere.value.kind == "authentication"
    now[0] = 61.0
    with pytest.raises(GatewayError) as later:
        await gate.authenticate(request(("x-api-key", "garbage")), "192.0.2.1")
    assert later.value.kind == "authentication"


async def test_an_ipv6_client_owns_a_whole_64():
    gate = authenticator()
    for number in range(30):
        with pytest.raises(GatewayError):
            await gate.authenticate(request(("x-api-key", "garbage")), f"2001:db8::{number:x}")
    with pytest.raises(GatewayError) as caught:
        await gate.authenticate(request(("x-api-key", "garbage")), "2001:db8::ffff")
    assert caught.value.kind == "rate_limited"


@pytest.mark.parametrize(
    ("allowed", "address", "passes"),
    [
        ((), "203.0.113.9", True),
        (("192.0.2.0/24",), "192.0.2.77", True),
        (("192.0.2.0/24",), "192.0.3.1", False),
        (("192.0.2.7",), "192.0.2.7", True),
        (("2001:db8::/32",), "2001:db8:1::1", True),
        (("2001:db8::/32",), "192.0.2.1", False),
        (("192.0.2.0/24",), "", False),
    ],
)
def test_addresses(allowed, address, passes):
    record = KeyRecord(kid=KID, acct=KID, hash="", pepper_id="", ip_allow=allowed)
    if passes:
        check_address(record, address)
    else:
        with pytest.raises(GatewayError, match="address"):
            check_address(record, address)


def test_an_admin_key_is_no_client_key_and_the_other_way_round():
    check_endpoint(RECORD, "chat")
    admin = KeyRecord(kid=KID, acct=KID, hash="", pepper_id="", endpoints=("admin",))
    check_endpoint(admin, "admin")
    for record, endpoint in ((RECORD, "admin"), (admin, "chat")):
        with pytest.raises(GatewayError) as caught:
            check_endpoint(record, endpoint)
        assert caught.value.kind == "endpoint_not_allowed"


def test_a_model_is_in_scope_when_every_name_it_may_reach_is():
    record = KeyRecord(kid=KID, acct=KID, hash="", pepper_id="", models=("gemini-3.*", "fast"))
    assert model_allowed(record, ["fast", "gemini-3.6-flash"])
    assert not model_allowed(record, ["fast", "gemini-2.5-pro"])
    assert model_allowed(RECORD, ["anything"])
