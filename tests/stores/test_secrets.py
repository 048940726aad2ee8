"""Peppers and the pool, in every form they may be written, and how long they are believed."""

import base64
import json
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import pytest

from shared.stores.aws import Aws
from shared.stores.protocols import Credential, StoreUnavailable
from shared.stores.secrets import SecretsManagerStore, credentials_of

_numbers = count(1)
MakeSecret = Callable[[Any], str]


class CountingAws(Aws):
    """Counts reads, and can be cut off."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.reads = 0
        self.down = False

    def _call(self, service: str, operation: str, patient: bool, request: dict[str, Any]) -> Mapping[str, Any]:
        self.reads += 1
        if self.down:
            from shared.stores.aws import AwsFailure

            raise AwsFailure(f"{service}.{operation}", "ConnectionFailure")
        return super()._call(service, operation, patient, request)


@pytest.fixture
def counting(environment: Mapping[str, str]) -> Any:
    aws = CountingAws(environment)
    yield aws
    aws.close()


@pytest.fixture
def secret(aws: Aws) -> MakeSecret:
    def make(value: Any) -> str:
        name = f"test/secret-{next(_numbers)}"
        text = value if isinstance(value, str) else json.dumps(value)
        aws.client("secretsmanager").create_secret(Name=name, SecretString=text)
        return name

    return make


def change(aws: Aws, name: str, value: Any) -> None:
    aws.client("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps(value))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_both_forms_of_peppers(aws: Aws, secret: MakeSecret) -> None:
    nested = SecretsManagerStore(aws, secret({"current": "p2", "peppers": {"p1": b64("one"), "p2": b64("two")}}))
    assert await nested.pepper() == ("p2", b"two")
    assert await nested.pepper("p1") == ("p1", b"one")
    flat = SecretsManagerStore(aws, secret({"current": "p1", "p1": "any text"}))
    assert await flat.pepper() == ("p1", b"any text")


async def test_the_pepper_of_the_template_is_usable(aws: Aws, environment: Mapping[str, str]) -> None:
    pepper_id, pepper = await SecretsManagerStore(aws, environment["PEPPER_SECRET_ID"]).pepper()
    assert pepper_id == "p1"
    assert len(pepper) >= 32


@pytest.mark.parametrize(
    "value",
    [
        "no JSON hush",
        "",
        [],
        {},
        {"current": "p1"},
        {"current": "p1", "p1": ""},
        {"current": "p1", "peppers": {"p2": "aGk="}},
        {"current": "p1", "peppers": {"p1": "hush!"}},
        {"current": "p1", "peppers": {"p1": ""}},
        {"current": "p1", "p1": 7},
    ],
)
async def test_a_malformed_pepper_is_undecidable_and_stays_unquoted(aws: Aws, secret: MakeSecret, value: Any) -> None:
    if value == "":
        store = SecretsManagerStore(aws, "")
    else:
        store = SecretsManagerStore(aws, secret(value))
    with pytest.raises(StoreUnavailable) as caught:
        await store.pepper()
    assert "hush" not in str(caught.value)


async def test_an_unknown_pepper_is_looked_for_again_but_seldom(counting: CountingAws, secret: MakeSecret) -> None:
    now = 0.0
    name = secret({"current": "p1", "p1": "one"})
    store = SecretsManagerStore(counting, name, clock=lambda: now)
    await store.pepper()
    now = 29.0
    for _ in range(3):
        with pytest.raises(KeyError):
            await store.pepper("p2")
    assert counting.reads == 1  # read a moment ago: no use in asking again
    change(counting, name, {"current": "p2", "p1": "one", "p2": "two"})
    now = 31.0
    assert await store.pepper("p2") == ("p2", b"two")
    assert counting.reads == 2
    now = 100_000.0
    assert await store.pepper("p1") == ("p1", b"one")
    assert counting.reads == 2  # for the life of the environment


async def test_both_forms_of_the_pool(aws: Aws, secret: MakeSecret) -> None:
    entries = [{"id": "a", "key": "k-a", "project": "p", "weight": 3, "status": "active"}, {"id": "b", "key": "k-b"}]
    named = SecretsManagerStore(aws, "", secret({"keys": entries}))
    assert list(await named.pool()) == [Credential("a", "k-a", "p", 3, "active"), Credential("b", "k-b")]
    commas = SecretsManagerStore(aws, "", secret({"comma_separated": "k1, k2 ,,"}))
    assert list(await commas.pool()) == [Credential("k1", "k1"), Credential("k2", "k2")]


@pytest.mark.parametrize("value", [{"keys": []}, {"comma_separated": " "}, {"keys": [{"id": "a"}]}, {"other": 1}])
async def test_an_empty_pool_is_a_configuration_fault(aws: Aws, secret: MakeSecret, value: Any) -> None:
    with pytest.raises(StoreUnavailable):
        await SecretsManagerStore(aws, "", secret(value)).pool()


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"id": 1, "key": "secret-canary"}, "id"),
        ({"id": "a", "key": 7}, "key"),
        ({"id": "a", "key": "secret-canary", "weight": "3"}, "weight"),
        ({"id": "a", "key": "secret-canary", "project": 123456789012}, "project"),
        ({"key": "secret-canary"}, "id"),
    ],
)
async def test_a_pool_of_other_types_is_told_by_its_place(aws: Aws, secret: MakeSecret, entry: Any, place: str) -> None:
    with pytest.raises(StoreUnavailable, match=place) as caught:
        await SecretsManagerStore(aws, "", secret({"keys": [entry]})).pool()
    assert "canary" not in str(caught.value)


async def test_members_of_a_pool_that_are_null_or_unknown_say_nothing(aws: Aws, secret: MakeSecret) -> None:
    entry = {"id": "a", "key": "k", "project": None, "weight": None, "note": "ours"}
    assert list(await SecretsManagerStore(aws, "", secret({"keys": [entry]})).pool()) == [Credential("a", "k")]


async def test_a_fixed_pool_asks_nobody(counting: CountingAws) -> None:
    store = SecretsManagerStore(counting, "", pool=credentials_of("a,b"))
    assert [credential.key for credential in await store.pool(refresh=True)] == ["a", "b"]
    assert counting.reads == 0


async def test_the_pool_is_read_every_five_minutes_and_on_demand_every_thirty_seconds(
    counting: CountingAws, secret: MakeSecret
) -> None:
    now = 0.0
    name = secret({"comma_separated": "one"})
    store = SecretsManagerStore(counting, "", name, clock=lambda: now)
    await store.pool()
    change(counting, name, {"comma_separated": "two"})

    async def key(refresh: bool = False) -> str:
        return (await store.pool(refresh=refresh))[0].key

    now = 299.0
    assert await key() == "one"
    now = 301.0
    assert await key() == "two"
    change(counting, name, {"comma_separated": "three"})
    now = 330.0
    assert await key(refresh=True) == "two"
    now = 332.0
    assert await key(refresh=True) == "three"
    assert counting.reads == 3


async def test_a_pool_that_cannot_be_read_again_stays_in_use(counting: CountingAws, secret: MakeSecret) -> None:
    now = 0.0
    store = SecretsManagerStore(counting, "", secret({"comma_separated": "one"}), clock=lambda: now)
    await store.pool()
    counting.down = True
    now = 1_000.0
    assert (await store.pool())[0].key == "one"
    with pytest.raises(StoreUnavailable):
        await SecretsManagerStore(counting, "", "other").pool()


def test_no_secret_shows_in_a_representation() -> None:
    assert "hush" not in repr(Credential("a", "hush"))
