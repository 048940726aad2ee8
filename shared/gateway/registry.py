"""Which path speaks which dialect. A row is all that a new path of a known dialect needs."""

import importlib
from dataclasses import dataclass
from typing import cast

from shared.dialects.contract import Dialect


@dataclass(frozen=True, slots=True)
class Row:
    """`endpoint` is the name that a key's scope and the usage rows use; `dialect` is imported only where served."""

    path: str
    endpoint: str
    dialect: str
    methods: tuple[str, ...] = ("POST",)


ROWS: tuple[Row, ...] = (Row("/v1/chat/completions", "chat", "openai_chat"),)


def load(dialect: str) -> Dialect:
    return cast(Dialect, importlib.import_module(f"shared.dialects.{dialect}"))
