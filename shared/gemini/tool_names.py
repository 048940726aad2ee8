"""Function names on the wire: one reversible renaming per request.

Clients may name a function in ways that Gemini refuses (a leading digit or hyphen, foreign characters, more than 64
characters). A refused name fails the whole request, so such names are rewritten in declarations, history and tool
choice, and the client's own name comes back in the answer.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping

MAX_LENGTH = 64  # the older, narrower limit of the upstream's error texts; newer models take 128

_VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_FOREIGN = r"[^A-Za-z0-9_.:-]"
# The models sometimes call a function by the name it has inside their own Python sandbox.
_SANDBOX_PREFIXES = ("default_api.", "default_api:")


def restore(name: str, mapping: Mapping[str, str], declared: Collection[str] = ()) -> str:
    """The client's name for a name the model called.

    `mapping` holds wire name -> client name where they differ, `declared` every declared wire name. A sandbox prefix is
    stripped only when the rest is a declared function, since a client may own a function with that prefix.
    """
    if name not in mapping and name not in declared:
        for prefix in _SANDBOX_PREFIXES:
            rest = name.removeprefix(prefix)
            if rest != name and (rest in mapping or rest in declared):
                name = rest
                break
    return mapping.get(name, name)


class ToolNames:
    """The names of one request. Give the declared names first: valid ones keep their spelling whatever comes later.

    The same names in the same order always map alike, which keeps the prompt prefix byte-stable for the implicit cache.
    """

    def __init__(self, declared: Iterable[str] = ()) -> None:
        self._wire: dict[str, str] = {}
        self._client: dict[str, str] = {}
        for name in sorted(dict.fromkeys(declared), key=_is_foreign) if declared else ():
            self.to_wire(name)

    def to_wire(self, name: str) -> str:
        """The upstream's name for the client's `name`: always the same one, never one taken by another name."""
        known = self._wire.get(name)
        if known is not None:
            return known
        wire = _spell(name)
        attempt = 0
        while wire in self._client:
            wire = _with_digest(_spell(name), f"{name}\0{attempt}" if attempt else name)
            attempt += 1
        self._wire[name] = wire
        self._client[wire] = name
        return wire

    @property
    def mapping(self) -> dict[str, str]:
        """Wire name -> client name, only where they differ."""
        return {wire: name for wire, name in self._client.items() if wire != name}


def _is_foreign(name: str) -> bool:
    return _VALID.fullmatch(name) is None


def _spell(name: str) -> str:
    if _VALID.fullmatch(name):
        return name
    spelled = re.sub(_FOREIGN, "_", name)
    if not re.match(r"[A-Za-z_]", spelled):
        spelled = f"_{spelled}"
    return _with_digest(spelled, name) if len(spelled) > MAX_LENGTH else spelled


def _with_digest(spelled: str, name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{spelled[: MAX_LENGTH - 9]}_{digest}"
