"""Regular expressions that most requests never need, compiled at their first use.

Compiling one costs as much as importing a small module, and a cold start is a wait of the client's. What every request
needs is compiled with `re.compile` instead, so that nothing is left for the first of them.
"""

import re
from typing import Any, cast


class _LazyPattern:
    """Becomes its pattern verb by verb: each is looked up once and then stands in the instance."""

    def __init__(self, pattern: str, flags: int) -> None:
        self._source = (pattern, flags)

    def __getattr__(self, name: str) -> Any:  # only asked for what the instance lacks
        value = getattr(re.compile(*self._source), name)
        setattr(self, name, value)
        return value


def lazy_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Like `re.compile`, whose errors come at the first use."""
    return cast("re.Pattern[str]", _LazyPattern(pattern, flags))
