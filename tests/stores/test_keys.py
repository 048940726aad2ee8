"""The registry: what every key store must do, and the life of a key on real engines."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from shared.errors import GatewayError
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.key_terms import KeyTerms
from shared.gateway.keyring import KeyDirectory, parse_key
from shared.limit_state import LimitState
from shared.stores import key_records
from shared.stores.aws import Aws
from shared.stores.dynamodb import DynamoLedger
from shared.stores.key_stores import open_key_store
from shared.stores.protocols import Admitted, KeyRecord, KeyStore, Refused, StoreConflict, StoreUnavailable
from shared.stores.secrets import SecretsManagerStore
from shared.stores.secrets_keys import SecretsKeyStore
from shared.stores.ssm import MAX_RECORD_BYTES, SsmKeyStore
from tests.stores.bench import Bench

FULL = KeyRecord(
    kid="kid0000000000001",
    acct="acct000000000001",
    hash="ab" * 32,
    pepper_id="p2",
    name="Zoë's key",
    owner="team",
    status="disabled",
    created_at=1,
    not_before=2,
    expires_at=3,
    models=("gemini-*", "x"),
    endpoints=("chat",),
    ip_allow=("192.0.2.0/24",),
    rpm=0,
    rpm_burst=1,
    tpm=2,
    tpm_burst=3,
    max_concurrency=4,
    budget_period="month",
    budget_limit_nano=12_500_000_000,
    max_output_tokens=5,
    url_fetch=True,
    code_exec=False,
    allow_query_key=False,
    replaced_by="kid2",
    version=7,
)
PLAIN = KeyRecord(kid="kid0000000000002", acct="a", hash="cd", pepper_id="p1")


@pytest.fixture
def ssm(aws: Aws, table: str) -> SsmKeyStore:
    return SsmKeyStore(aws, f"/gw/{table}/keys", patient=True)


@pytest.fixture(params=["ssm", "secrets"])
def store(request: pytest.FixtureRequest, ssm: SsmKeyStore, aws: Aws, table: str) -> KeyStore:
    """Every registry backend, held to the same contract."""
    return ssm if request.param == "ssm" else SecretsKeyStore(aws, f"gw/{table}/keys")


@pytest.fixture
def secret_store(aws: Aws, environment: Mapping[str, str]) -> SecretsManagerStore:
    return SecretsManagerStore(aws, environment["PEPPER_SECRET_ID"])


@pytest.mark.parametrize("record", [FULL, PLAIN])
async def test_a_record_comes_back_as_it_was_put(store: KeyStore, record: KeyRecord) -> None:
    await store.put(record)
    assert await store.resolve(record.kid) == record


async def test_unknown_and_impossible_kids_are_unknown(store: KeyStore) -> None:
    for kid in ("unknown000000000", "", "../pepper", "a/b", "a" * 65):
        assert await store.resolve(kid) is None


async def test_a_put_without_overwrite_meets_a_conflict(store: KeyStore) -> None:
    await store.put(PLAIN, overwrite=False)
    with pytest.raises(StoreConflict):
        await store.put(replace(PLAIN, name="other"), overwrite=False)
    assert await store.resolve(PLAIN.kid) == PLAIN
    await store.put(replace(PLAIN, name="other"))
    assert await store.resolve(PLAIN.kid) == replace(PLAIN, name="other")


async def test_pages_hold_every_record_once(store: KeyStore) -> None:
    records = [replace(PLAIN, kid=f"kid{number:013d}") for number in range(23)]
    for record in records:
        await store.put(record)
    found: list[KeyRecord] = []
    page, cursor = await store.page()
    found += page
    while cursor is not None:
        assert len(found) < len(records)
        page, cursor = await store.page(cursor)
        found += page
    assert sorted(found, key=lambda record: record.kid) == records


async def test_a_record_that_does_not_fit_is_refused_by_us(ssm: SsmKeyStore) -> None:
    """A local engine takes any size, SSM does not."""
    room = MAX_RECORD_BYTES - len(key_records.dumps(replace(PLAIN, name="x")).encode()) + 1
    await ssm.put(replace(PLAIN, name="x" * room))
    with pytest.raises(ValueError, match="4097 bytes"):
        await ssm.put(replace(PLAIN, name="x" * (room + 1)))
    with pytest.raises(ValueError, match="bytes"):
        await ssm.put(replace(PLAIN, name="ö" * (room // 2 + 1)))


async def test_the_value_is_encrypted_at_rest(ssm: SsmKeyStore, aws: Aws, table: str) -> None:
    await ssm.put(PLAIN)
    parameter = aws.client("ssm").get_parameter(Name=f"/gw/{table}/keys/{PLAIN.kid}")["Parameter"]
    assert parameter["Type"] == "SecureString"


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}", '{"kid":"k"}'])
async def test_a_damaged_record_is_undecidable_and_stays_unquoted(
    ssm: SsmKeyStore, aws: Aws, table: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    aws.client("ssm").put_parameter(Name=f"/gw/{table}/keys/damaged", Value=text, Type="SecureString")
    with pytest.raises(StoreUnavailable) as caught:
        await ssm.resolve("damaged")
    assert text not in str(caught.value)
    await ssm.put(PLAIN)
    assert (await ssm.page())[0] == [PLAIN]  # it hides no other
    assert "damaged" in caplog.text
    assert text not in [record.getMessage() for record in caplog.records]


async def test_members_of_a_newer_version_are_ignored() -> None:
    assert key_records.loads('{"kid":"k","acct":"a","hash":"h","pepper_id":"p","new":{"x":1}}') == KeyRecord(
        "k", "a", "h", "p"
    )


async def test_an_unreachable_store_cannot_decide(environment: Mapping[str, str]) -> None:
    nowhere = Aws({**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    for store in (SsmKeyStore(nowhere, "/x/"), SecretsKeyStore(nowhere, "x/")):
        with pytest.raises(StoreUnavailable):
            await store.resolve("kid")
        with pytest.raises(StoreUnavailable):
            await store.put(PLAIN)
        with pytest.raises(StoreUnavailable):
            await store.page()
    nowhere.close()


async def test_without_credentials_nothing_can_be_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    aws = Aws({"AWS_REGION": "us-east-1"})
    with pytest.raises(StoreUnavailable, match="NoCredentials"):
        await SsmKeyStore(aws, "/x/").resolve("kid")
    aws.close()


async def test_a_profile_of_the_operator_does_not_meddle(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    aws = Aws(environment)
    assert await SsmKeyStore(aws, "/x/").resolve("kid") is None
    aws.close()


def test_the_backend_is_chosen_by_name(aws: Aws) -> None:
    names = {"KEY_PARAMETER_PREFIX": "/gw/s/keys/"}
    assert isinstance(open_key_store(names, aws), SsmKeyStore)
    assert isinstance(open_key_store({**names, "KEY_STORE": ""}, aws), SsmKeyStore)
    assert isinstance(open_key_store({**names, "KEY_STORE": "secrets"}, aws), SecretsKeyStore)
    with pytest.raises(ValueError, match="ssm or secrets"):
        open_key_store({**names, "KEY_STORE": "redis"}, aws)


# --- the life of a key


async def test_a_rotation_shares_the_budget_and_ends_when_it_was_told_to(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str
) -> None:
    ledger, bench = DynamoLedger(aws, table), Bench(aws, table)
    registry = KeyRegistry(store, secret_store, ledger, clock=lambda: 1_000)
    old, _ = await registry.issue(KeyTerms("team", budget_limit_nano=250, rpm=600))
    await ledger.admit(first := bench.request(old))
    fresh, text = await registry.rotate(old.kid, 60)
    assert (fresh.acct, fresh.budget_limit_nano, fresh.rpm, fresh.version) == (old.acct, 250, 600, 1)
    ended = await store.resolve(old.kid)
    assert ended is not None
    assert (ended.replaced_by, ended.expires_at, ended.status) == (fresh.kid, 1_060, "active")
    key = parse_key(text)
    assert key is not None
    assert await KeyDirectory(store, secret_store).lookup(key) == fresh
    await ledger.admit(second := bench.request(fresh))
    left = LimitState(600, 98, 0.2, budget_remaining_nano=50)
    assert await ledger.admit(bench.request(fresh)) == Refused("budget", limits=left)
    await bench.settle(first)
    await bench.settle(second)

    await registry.change(fresh.kid, {"budget_limit_nano": 1_000, "rpm": 7})
    sibling = await store.resolve(old.kid)
    assert sibling is not None
    assert (sibling.budget_limit_nano, sibling.rpm, sibling.expires_at) == (1_000, 7, 1_060)
    state = bench.state(old)
    assert (state["limit"], state["avail"], state["spent"]) == (1_000, 900, 100)

    last, _ = await registry.rotate(fresh.kid, 0)
    assert await ledger.admit(bench.request(fresh)) == Refused("key_inactive")
    assert isinstance(await ledger.admit(bench.request(last)), Admitted)
    assert bench.violations() == []


async def test_what_a_key_was_cannot_be_rotated_or_changed(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str
) -> None:
    registry = KeyRegistry(store, secret_store, DynamoLedger(aws, table), clock=lambda: 1_000)
    expired, _ = await registry.issue(KeyTerms("x", expires_at=999))
    revoked, _ = await registry.issue(KeyTerms("y"))
    await registry.revoke(revoked.kid)
    for kid in (expired.kid, revoked.kid):
        with pytest.raises(GatewayError) as caught:
            await registry.rotate(kid)
        assert caught.value.reason == "conflict"
    with pytest.raises(GatewayError) as caught:
        await registry.change(revoked.kid, {"rpm": 1})
    assert caught.value.reason == "conflict"
    assert (await registry.change(expired.kid, {"expires_at": None})).expires_at is None


async def test_a_key_is_issued_used_and_revoked(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str
) -> None:
    ledger = DynamoLedger(aws, table)
    registry = KeyRegistry(store, secret_store, ledger)
    record, text = await registry.issue(KeyTerms("team a", budget_period="month", budget_limit_nano=10, rpm=5))
    assert (await registry.page())[0] == [record]
    assert text.split("_")[1] == record.kid
    assert text.split("_")[2][:43] not in key_records.dumps(record)

    key = parse_key(text)
    assert key is not None
    assert await KeyDirectory(store, secret_store).lookup(key) == record
    assert await KeyDirectory(store, secret_store).lookup(replace(key, secret="0" * 43)) is None

    bench = Bench(aws, table)
    admission = bench.request(record, estimate=10)
    assert isinstance(await ledger.admit(admission), Admitted)

    cached = KeyDirectory(store, secret_store)
    await cached.lookup(key)
    revoked = await registry.revoke(record.kid)
    assert (revoked.status, revoked.version) == ("revoked", 2)
    assert await cached.lookup(key) == record  # its cache lasts up to a minute ...
    assert await ledger.admit(bench.request(record)) == Refused("key_inactive")  # ... but nothing metered passes
    assert await KeyDirectory(store, secret_store).lookup(key) is None

    with pytest.raises(GatewayError) as caught:
        await registry.revoke("unknown000000000")
    assert caught.value.kind == "not_found"


async def test_a_change_builds_upon_what_another_process_has_written(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str
) -> None:
    other = SecretsKeyStore(aws, f"gw/{table}/keys") if isinstance(store, SecretsKeyStore) else store
    here, there = (KeyRegistry(keys, secret_store, DynamoLedger(aws, table)) for keys in (store, other))
    record, _ = await here.issue(KeyTerms("team"))
    await there.change(record.kid, {"rpm": 7})
    assert (await here.held(record.kid)).rpm == 7
    await there.change(record.kid, {"tpm": 8})
    changed = await here.change(record.kid, {"name": "blue"})
    assert (changed.name, changed.rpm, changed.tpm, changed.version) == ("blue", 7, 8, 4)


async def test_a_rotation_gives_the_new_key_even_if_the_ledger_is_lost_after_it(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = DynamoLedger(aws, table)
    registry = KeyRegistry(store, secret_store, ledger)
    old, _ = await registry.issue(KeyTerms("team"))

    async def lost(acct: str) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(ledger, "account_kids", lost)
    fresh, text = await registry.rotate(old.kid)
    key = parse_key(text)
    assert key is not None
    assert await KeyDirectory(store, secret_store).lookup(key) == fresh


@pytest.mark.parametrize("first", ["rotation", "change"])
async def test_a_key_that_is_changed_while_it_is_rotated(
    store: KeyStore,
    secret_store: SecretsManagerStore,
    aws: Aws,
    table: str,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
) -> None:
    """The new key had the old terms, beside the account's new limits, or the old one lost its end: it worked for
    ever."""
    ledger, bench = DynamoLedger(aws, table), Bench(aws, table)
    registry = KeyRegistry(store, secret_store, ledger)
    old, _ = await registry.issue(KeyTerms("team", rpm=5))
    other = KeyRegistry(store, secret_store, DynamoLedger(aws, table))
    verb = {"rotation": "open_account", "change": "change_limits"}[first]
    real = getattr(ledger, verb)

    async def change() -> None:
        await (other if first == "rotation" else registry).change(old.kid, {"rpm": 9, "budget_limit_nano": 70})

    async def rotate() -> None:
        await (other if first == "change" else registry).rotate(old.kid, 60)

    async def interrupted(*values: Any, **named: Any) -> Any:
        if first == "change":
            done = await real(*values, **named)
            await rotate()
            return done
        await change()
        return await real(*values, **named)

    monkeypatch.setattr(ledger, verb, interrupted)
    await (rotate() if first == "rotation" else change())
    replaced = await store.resolve(old.kid, fresh=True)
    assert replaced is not None
    assert replaced.replaced_by is not None
    fresh = await store.resolve(replaced.replaced_by, fresh=True)
    assert fresh is not None
    assert replaced.expires_at is not None
    assert fresh.expires_at is None
    assert [(key.rpm, key.budget_limit_nano) for key in (replaced, fresh)] == [(9, 70), (9, 70)]
    assert bench.state(old)["limit"] == 70


class RevokedOnceRead:
    """A key store in which somebody else revokes each key as soon as it was read."""

    def __init__(self, store: KeyStore, others: KeyRegistry) -> None:
        self._store = store
        self._others = others
        self.page = store.page
        self.put = store.put

    async def resolve(self, kid: str, *, fresh: bool = False) -> KeyRecord | None:
        record = await self._store.resolve(kid, fresh=fresh)
        await self._others.revoke(kid)
        return record


@pytest.mark.parametrize("work", ["change", "enable", "limit", "rotate", "spread"])
async def test_a_key_that_is_revoked_while_it_is_changed_stays_revoked(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str, work: str
) -> None:
    ledger, bench = DynamoLedger(aws, table), Bench(aws, table)
    others = KeyRegistry(store, secret_store, ledger)
    record, text = await others.issue(KeyTerms("leaked", endpoints=("admin", "chat")))
    registry = KeyRegistry(RevokedOnceRead(store, others), secret_store, ledger)
    if work == "spread":
        fresh, _ = await others.rotate(record.kid)
        assert (await KeyRegistry(store, secret_store, ledger).change(fresh.kid, {"rpm": 1})).rpm == 1
        await registry._spread({"rpm": 2}, [record.kid])
    elif work == "rotate":
        fresh, _ = await registry.rotate(record.kid)
        assert isinstance(await ledger.admit(bench.request(fresh)), Admitted)
    else:
        changes = {"change": {"name": "n"}, "enable": {}, "limit": {"budget_limit_nano": 5}}[work]
        with pytest.raises(GatewayError) as caught:
            await registry.change(record.kid, changes, "active" if work == "enable" else None)
        assert caught.value.reason == "conflict"
    held = await store.resolve(record.kid)
    assert held is not None
    assert held.status == "revoked"
    assert bench.state(record)["kids"][record.kid] == "revoked"
    key = parse_key(text)
    assert key is not None
    assert await KeyDirectory(store, secret_store).lookup(key) is None


async def test_the_state_exists_before_the_record(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = KeyRegistry(store, secret_store, DynamoLedger(aws, "no-such-table"))
    with pytest.raises(StoreUnavailable):
        await registry.issue(KeyTerms("x"))
    assert (await store.page())[0] == []


async def test_a_key_without_state_can_still_be_revoked(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str
) -> None:
    await store.put(PLAIN)
    registry = KeyRegistry(store, secret_store, DynamoLedger(aws, table))
    assert (await registry.revoke(PLAIN.kid)).status == "revoked"


async def test_a_lost_key_is_restored_as_it_was_and_a_revoked_one_stays_revoked(
    ssm: SsmKeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str
) -> None:
    registry = KeyRegistry(ssm, secret_store, DynamoLedger(aws, table))
    terms = KeyTerms("kept", rpm=3)
    record, text = await registry.issue(terms)
    key = parse_key(text)
    assert key is not None
    assert await registry.restore(text, KeyTerms("ignored")) == record  # nothing was lost

    aws.client("ssm").delete_parameter(Name=f"/gw/{table}/keys/{record.kid}")
    restored = await registry.restore(text, terms)
    assert replace(restored, created_at=0) == replace(record, created_at=0)
    assert await KeyDirectory(ssm, secret_store).lookup(key) == restored

    await registry.revoke(record.kid)
    assert (await registry.restore(text, terms)).status == "revoked"
    assert await KeyDirectory(ssm, secret_store).lookup(key) is None

    with pytest.raises(GatewayError):
        await registry.restore(text[:-1] + ("0" if text[-1] != "0" else "1"), terms)


async def test_a_key_whose_pepper_was_lost_is_hashed_anew(
    store: KeyStore, secret_store: SecretsManagerStore, aws: Aws, table: str
) -> None:
    registry = KeyRegistry(store, secret_store, DynamoLedger(aws, table))
    record, text = await registry.issue(KeyTerms("kept"))
    await store.put(replace(record, pepper_id="gone", hash="0" * 64))
    restored = await registry.restore(text, KeyTerms("kept"))
    assert (restored.hash, restored.pepper_id, restored.version) == (record.hash, record.pepper_id, 2)


async def test_a_lookup_of_a_request_does_not_wait_long_an_operators_does(aws: Aws, table: str) -> None:
    class Slow(Aws):
        def __init__(self) -> None:
            pass

        async def warm(self, *services: str) -> None:
            pass

        async def call(self, service: str, operation: str, *, patient: bool = False, **request: object) -> object:
            await asyncio.sleep(0.7)
            return await aws.call(service, operation, patient=patient, **request)

    prefix = f"/gw/{table}/keys/"
    await SsmKeyStore(aws, prefix).put(PLAIN)
    with pytest.raises(StoreUnavailable, match="in time"):
        await SsmKeyStore(Slow(), prefix).resolve(PLAIN.kid)
    assert await SsmKeyStore(Slow(), prefix, patient=True).resolve(PLAIN.kid) == PLAIN
