"""What the gateway asks of its stores: two to five verbs each, all asynchronous, none naming a vendor.

Money is integer nano-dollars, time is integer seconds since the epoch unless a name says otherwise, a day is
`yyyymmdd` in UTC. An implementation that cannot decide raises `StoreUnavailable`; it never answers "unknown" then.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from shared.errors import ErrorKind
from shared.gemini.signatures import FoundSignature
from shared.limit_state import LimitState

StoredSignature = FoundSignature

KeyStatus = Literal["active", "disabled", "revoked"]
Period = Literal["none", "day", "month"]


class StoreUnavailable(Exception):
    """The store cannot decide now: throttled, unreachable, misconfigured. `retry_after` in seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreConflict(Exception):
    """Another writer was faster, or the thing exists already."""


class KeyRecord(Struct, frozen=True):
    """One client credential as the registry keeps it; of the key itself only `hash` = hex(HMAC-SHA256(pepper, secret)).

    None in a limit means unlimited, 0 means nothing. Rotations of one key share `acct`, which owns budget and limits.
    """

    kid: str
    acct: str
    hash: str
    pepper_id: str
    name: str = ""
    owner: str = ""
    status: KeyStatus = "active"
    created_at: int = 0
    not_before: int | None = None
    expires_at: int | None = None
    models: tuple[str, ...] = ()  # globs; empty = all
    endpoints: tuple[str, ...] = ()  # empty = every data-plane endpoint; ("admin",) = an operator's key
    ip_allow: tuple[str, ...] = ()  # CIDR; empty = anywhere
    rpm: int | None = None
    rpm_burst: int | None = None
    tpm: int | None = None
    tpm_burst: int | None = None
    max_concurrency: int | None = None
    budget_period: Period = "none"
    budget_limit_nano: int | None = None
    max_output_tokens: int | None = None
    url_fetch: bool = False
    code_exec: bool = True
    allow_query_key: bool = True
    replaced_by: str | None = None
    version: int = 1


class Credential(Struct, frozen=True):
    """One upstream Gemini key of the pool."""

    id: str
    key: str
    project: str = ""
    weight: int = 1
    status: str = "active"

    def __repr__(self) -> str:
        return f"Credential(id={self.id!r})"  # never the key


class Cooldown(Struct, frozen=True):
    """Why and until when (epoch seconds) something of the pool is left alone; "" for every model or no named quota."""

    model: str
    quota_id: str
    kind: ErrorKind
    until: int


class CooldownStore(Protocol):
    """What the environments of a deployment tell each other of the pool. An owner is a credential's id, or
    `project:<its project>`."""

    async def get(self, owners: Sequence[str]) -> Mapping[str, Sequence[Cooldown]]:
        """Of those that anything was written for."""

    async def put(self, owner: str, rests: Sequence[Cooldown]) -> None:
        """Replaces what stood there."""


class KeyStore(Protocol):
    """The registry of client keys: configuration only."""

    async def resolve(self, kid: str, *, fresh: bool = False) -> KeyRecord | None:
        """`fresh`: as it is now; else it may be some seconds old."""

    async def put(self, record: KeyRecord, *, overwrite: bool = True) -> None:
        """`overwrite=False` raises StoreConflict where the kid exists. Oversized records raise ValueError."""

    async def page(self, cursor: str | None = None) -> tuple[Sequence[KeyRecord], str | None]: ...


class SecretStore(Protocol):
    """Secrets of the deployment, cached by the implementation."""

    async def pepper(self, pepper_id: str | None = None) -> tuple[str, bytes]:
        """(id, pepper): the current one, or the named one. Unknown id: one refresh per 30 s at most, then KeyError."""

    async def pool(self, *, refresh: bool = False) -> Sequence[Credential]: ...


class OriginSecrets(Protocol):
    """What the distribution in front of the functions says to prove itself, cached by the implementation."""

    async def accepted(self) -> Sequence[bytes]:
        """The current value and, during a rotation, the previous one. StoreUnavailable where none is known."""


class Admission(Struct, frozen=True):
    """One request that asks for room. `estimate_nano` is reserved until it is settled; `expires_at` is the end of this
    invocation plus a grace of 60 s. `nonce` tells this invocation from a repeat with the same `rid`."""

    acct: str
    kid: str
    rid: str
    nonce: str
    now_us: int
    expires_at: int
    day: str
    period: str  # "all", yyyymmdd or yyyymm
    model: str
    estimate_nano: int
    estimate_tokens: int
    rpm: int | None = None
    rpm_burst: int | None = None
    tpm: int | None = None
    tpm_burst: int | None = None
    hard_budget: bool = False
    body_sha: str | None = None  # with an Idempotency-Key only


RefusalKind = Literal[
    "half_issued",
    "key_inactive",
    "budget",
    "rate",
    "tokens",
    "concurrency",
    "duplicate_running",
    "duplicate_done",
    "duplicate_mismatch",
    "contended",
]


class Admitted(Struct, frozen=True):
    limits: LimitState


class Refused(Struct, frozen=True):
    """`retry_after` in seconds where waiting helps. A duplicate's earlier request has the `rid` of the refused one."""

    kind: RefusalKind
    retry_after: float | None = None
    limits: LimitState = field(default_factory=LimitState)


RowState = Literal["done", "partial", "estimated", "void", "lost"]


class Settlement(Struct, frozen=True):
    """The end of one admitted request: becomes exactly one row. Computed once, reused on every try.

    `input_tokens` includes `cached_tokens`, `output_tokens` includes `reasoning_tokens`. `day` and `estimate_nano` are
    those of the admission. `status` is the HTTP status sent. `ts_ms` is the start of the request.
    """

    acct: str
    kid: str
    rid: str
    nonce: str
    day: str
    ts_ms: int
    state: RowState
    dialect: str
    endpoint: str
    stream: bool
    model: str
    model_version: str
    status: int
    finish_reason: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nano: int
    estimate_nano: int
    estimate_tokens: int
    price_version: str
    estimated: bool
    ttft_ms: int | None
    duration_ms: int
    modalities: Mapping[str, int] = field(default_factory=dict)
    upstream_response_id: str = ""
    credential_id: str = ""
    projects: Mapping[str, int] = field(default_factory=dict)  # nano-dollars by upstream project, where its id is known
    attempts: int = 1
    body_sha: str | None = None
    tpm: int | None = None
    had_hold: bool = True  # False: admission failed open, nothing is reserved


class AccountLimits(Struct, frozen=True):
    """What an account's state keeps of its keys' terms; None = unlimited. `period` names the running budget period,
    `day` is today, by which one of another kind may be over."""

    budget_limit_nano: int | None
    max_concurrency: int | None
    period: str
    day: str = ""


class Ledger(Protocol):
    """Money, limits and rows: the state that must be exact."""

    async def open_account(self, record: KeyRecord, *, period: str) -> None:
        """Make the account's state, or add the kid to it; runs before the registry record is written. Repeatable."""

    async def set_key_status(self, acct: str, kid: str, status: KeyStatus) -> None:
        """StoreConflict where the account does not exist, and where the key is revoked: that is for ever."""

    async def change_limits(self, acct: str, limits: AccountLimits) -> Sequence[str]:
        """Move the limits under the running counters, which stay; a period of another kind replaces the running one.
        Returns the kids of the account. StoreConflict where it does not exist."""

    async def account_kids(self, acct: str) -> Mapping[str, KeyStatus]:
        """The kids of an account with their status; none where it does not exist."""

    async def admit(self, admission: Admission) -> Admitted | Refused: ...

    async def settle(self, settlement: Settlement) -> None:
        """One transaction, idempotent; retries throttles itself. StoreUnavailable after its last try."""


class LedgerUpkeep(Protocol):
    async def sweep_expired(self, acct: str, now_s: int) -> int:
        """End every hold of the account that outlived its request; how many there were."""


class SignatureStore(Protocol):
    """Signatures for clients that drop what they do not know; keys come from `gemini.signatures`, scoped by account."""

    async def get(self, acct: str, keys: Sequence[str]) -> Mapping[str, StoredSignature]: ...

    async def put(self, acct: str, items: Mapping[str, StoredSignature], expires_at: int) -> None: ...


class SettlementQueue(Protocol):
    """Where a settlement goes that could not be written."""

    async def send(self, settlement: Settlement) -> None: ...


class KeptDocument(Struct, frozen=True):
    """A JSON object that an account keeps, of any size; `state` is a word that a later write can depend on."""

    body: Mapping[str, Any]
    state: str = ""


class ResponseStore(Protocol):
    """Responses and conversations under their account. An id of another account is an unknown one."""

    async def get(self, acct: str, ids: Sequence[str]) -> Mapping[str, KeptDocument]:
        """Those of the ids that are kept."""

    async def put(
        self,
        acct: str,
        document_id: str,
        document: KeptDocument,
        expires_at: int,
        *,
        if_state: Collection[str] | None = None,
    ) -> None:
        """Replaces what is kept under the id; with `if_state` StoreConflict where its state is none of these, and where
        that is empty, where anything is kept."""

    async def delete(self, acct: str, document_id: str) -> bool:
        """Whether there was one."""


class Invoker(Protocol):
    """Starts this function again, apart from the request at hand."""

    async def invoke(self, path: str, body: Mapping[str, Any]) -> None:
        """A POST of `body` to `path` of this function, whose answer nobody waits for."""


class OwnedObject(Struct, frozen=True):
    """Something of an account's that the upstream keeps: `files/x`, `cachedContents/x`, or an `uploads/x` that is
    running. Only the credential that made it can see it. `url` is an upload's address at the upstream."""

    name: str
    credential_id: str
    expires_at: int
    url: str = ""

    def __repr__(self) -> str:
        return f"OwnedObject(name={self.name!r})"  # whoever knows the address may upload


class OwnedObjectStore(Protocol):
    """The upstream's project is shared: what an account may see of it is what stands here under its name."""

    async def put(self, acct: str, item: OwnedObject) -> None: ...

    async def get(self, acct: str, name: str) -> OwnedObject | None: ...

    async def page(self, acct: str, kind: str, after: str = "", limit: int = 100) -> Sequence[OwnedObject]:
        """At most `limit` objects of a kind (`files`, ...) by name, those after the name `after`."""

    async def delete(self, acct: str, name: str) -> None: ...


class StoredObject(Struct, frozen=True):
    """One object of the upload bucket. `labels` are ASCII and small; `created_at` is epoch seconds."""

    key: str
    size: int
    media_type: str
    created_at: int
    labels: Mapping[str, str] = field(default_factory=dict)


class PresignedUpload(Struct, frozen=True):
    """An address that takes exactly one object: whoever sends it must send these headers with it."""

    url: str
    method: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"PresignedUpload(method={self.method!r})"  # never the address, which is signed


class ObjectStore(Protocol):
    """A bucket whose objects end after a day. Keys begin with the account that owns the object."""

    @property
    def bucket(self) -> str: ...

    async def put(self, key: str, data: bytes, media_type: str, labels: Mapping[str, str]) -> None: ...

    async def describe(self, key: str) -> StoredObject | None: ...

    async def read(self, key: str, start: int, length: int) -> bytes: ...

    async def page(self, prefix: str, after: str = "", limit: int = 100) -> Sequence[str]:
        """At most `limit` keys in their order, those after the key `after`."""

    async def delete(self, key: str) -> None: ...


class UploadSigner(Protocol):
    async def presigned(
        self, key: str, size: int, media_type: str, labels: Mapping[str, str], expires_s: int
    ) -> PresignedUpload:
        """Leave to put one object of exactly `size` bytes within `expires_s` seconds."""
