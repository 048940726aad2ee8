"""Which path speaks which dialect. A row is all that a new path of a known dialect needs."""

import importlib
from dataclasses import dataclass
from typing import Literal, cast

from shared.dialects.contract import CountingDialect


@dataclass(frozen=True, slots=True)
class Row:
    """`endpoint` is the name that a key's scope and the usage rows use; `dialect` is imported only where served."""

    path: str
    endpoint: str
    dialect: str
    action: Literal["generate", "count", "list_models", "get_model"] = "generate"
    method: str = "POST"


ROWS: tuple[Row, ...] = (
    Row("/v1/chat/completions", "chat", "openai_chat"),
    Row("/v1/models", "models", "openai_chat", "list_models", "GET"),
    Row("/v1/models/{model:path}", "models", "openai_chat", "get_model", "GET"),
)


def load(dialect: str) -> CountingDialect:
    """The dialect's package; only those of `count` rows have the counting verbs."""
    return cast(CountingDialect, importlib.import_module(f"shared.dialects.{dialect}"))
