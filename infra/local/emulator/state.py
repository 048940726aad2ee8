"""What one running emulator remembers: the script, the recorded requests, the clock, states set by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.local.emulator.models import Overrides
from infra.local.emulator.replay import Recordings
from infra.local.emulator.script import Script
from infra.local.emulator.stored import Stored

type Json = dict[str, Any]


@dataclass(slots=True)
class State:
    """Shared by the request handlers (one event loop) and a test's thread; `lock` guards the list of requests."""

    clock: Callable[[], float] = time.time
    recordings: Recordings | None = None
    script: Script = field(default_factory=Script)
    overrides: Overrides = field(default_factory=Overrides)
    stored: Stored = field(default_factory=Stored)
    fixed_now: float | None = None
    refuse_old_call_ids: bool = False  # see validate.check
    keep: int = 1000
    _requests: list[Json] = field(default_factory=list)
    _count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        """Unix seconds that decide model states and dates."""
        return self.clock() if self.fixed_now is None else self.fixed_now

    def record(self, row: Json) -> int:
        """Keeps the row (it is filled in further while the answer is written) and returns its number from 1."""
        with self.lock:
            self._count += 1
            self._requests.append(row)
            del self._requests[: -self.keep]
            return self._count

    def requests(self) -> list[Json]:
        with self.lock:
            return [dict(row) for row in self._requests]

    def reset(self) -> None:
        self.script.clear()
        self.overrides.states.clear()
        self.stored.reset()
        self.fixed_now = None
        self.refuse_old_call_ids = False
        with self.lock:
            self._requests.clear()
            self._count = 0
