"""Texts from arrays of tokens, which LangChain's embeddings send instead of text unless told otherwise.

`cl100k_base.bin` is the vocabulary of OpenAI's embedding models, in the order of its ranks: a byte of length for each
token, then all of their bytes, compressed by zlib. Made from `cl100k_base.tiktoken` of openai/tiktoken (MIT licence,
Copyright (c) 2022 OpenAI, Shantanu Jain), SHA-256 223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7.
"""

import zlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate, pairwise
from typing import Final

_COUNT: Final = 100_256
_SPECIAL: Final = frozenset({100_257, 100_258, 100_259, 100_260, 100_276})  # marks such as <|endoftext|>: no text


def decode(tokens: Sequence[int]) -> str | None:
    """The text that the tokens spell; None where one is no token. A piece cut inside a character loses that one."""
    table = _table()
    pieces: list[bytes] = []
    for token in tokens:
        if 0 <= token < _COUNT:
            pieces.append(table[token])
        elif token not in _SPECIAL:
            return None
    return b"".join(pieces).decode("utf-8", "replace")


@cache
def _table() -> list[bytes]:
    """Read on first use only: some 40 ms and 8 MB that no other request needs."""
    data = zlib.decompress(files(__package__).joinpath("cl100k_base.bin").read_bytes())
    edges = accumulate(data[:_COUNT], initial=_COUNT)
    return [data[start:end] for start, end in pairwise(edges)]
