"""What a translation had to leave out or change, gathered for the `x-gateway-warnings` header."""

import re

from shared.errors import GatewayError

_MOST = 32  # a header has a limit, and a client can send any number of odd things
_UNSAFE = r"[^!-+\--~]"  # visible ASCII without the comma that separates the items


class Notes:
    """`code:detail` items, each once. In strict mode a tuning parameter that would be ignored is refused instead."""

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self.items: list[str] = []

    def ignored(self, param: str) -> None:
        if self._strict:
            raise GatewayError("unsupported_parameter", "This parameter is not supported by the model", param=param)
        self.add("ignored", param)

    def add(self, code: str, detail: str) -> None:
        item = f"{code}:{re.sub(_UNSAFE, '_', detail)[:80]}"
        if item not in self.items and len(self.items) < _MOST:
            self.items.append(item)
