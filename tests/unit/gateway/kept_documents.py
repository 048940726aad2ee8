"""A store of responses in memory, for tests of what stands before the real one."""

from collections.abc import Collection, Mapping, Sequence

from shared.stores.protocols import KeptDocument, StoreConflict, StoreUnavailable


class MemoryStore:
    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], KeptDocument] = {}
        self.down = False

    async def get(self, acct: str, ids: Sequence[str]) -> Mapping[str, KeptDocument]:
        self._reach()
        return {one: self.documents[acct, one] for one in ids if (acct, one) in self.documents}

    async def put(
        self,
        acct: str,
        document_id: str,
        document: KeptDocument,
        expires_at: int,
        *,
        if_state: Collection[str] | None = None,
    ) -> None:
        self._reach()
        before = self.documents.get((acct, document_id))
        if if_state is not None and (before.state not in if_state if before is not None else if_state):
            raise StoreConflict("another state")
        self.documents[acct, document_id] = document

    async def delete(self, acct: str, document_id: str) -> bool:
        self._reach()
        return self.documents.pop((acct, document_id), None) is not None

    def _reach(self) -> None:
        if self.down:
            raise StoreUnavailable("down", retry_after=2)


class Pepper:
    async def pepper(self, pepper_id: str | None = None) -> tuple[str, bytes]:
        return "p1", b"pepper"
