"""Recorded requests of clients, one a file: the body, the Gemini model it is sent to here, and what must come out.

What the folders of the dialects have in common; what a dialect's translation gives stands in its own test.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.dialects.contract import Body
from shared.json_codec import decode_object
from tests.golden.upstream_rules import VALIDATOR, assert_sound

FAMILIES = ("gemini-2.5-flash", "gemini-3-flash-preview", "gemini-3.6-flash", "gemini-4-argon")

Record = dict[str, Any]


def recordings(folder: str) -> list[Path]:
    return sorted((Path(__file__).parent / folder).glob("*.json"))


def recorded(path: Path) -> Record:
    return json.loads(path.read_text())


def told(request: Mapping[str, Any], notes: Mapping[str, Any]) -> dict[str, Any]:
    """A translation as the files tell it: the request and, where they say something, the notes beside it."""
    return {"request": dict(request)} | {name: note for name, note in notes.items() if note}


def assert_every_family_accepts(record: Record, outcome: Callable[[Record, str], Record]) -> list[dict[str, Any]]:
    """The requests made of a recording for each family, all sound; what is refused is refused for every family."""
    made = [(model, outcome(record, model)) for model in FAMILIES]
    if "error" in record["expected"]:
        assert all(refused == record["expected"] for _, refused in made)
        return []
    for model, translated in made:
        assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(translated["request"])] == []
        assert_sound(translated["request"], model)
    return [translated["request"] for _, translated in made]


def assert_many(files: Sequence[Path], *, translated: int, sources: int) -> None:
    records = [recorded(path) for path in files]
    assert len([record for record in records if "request" in record["expected"]]) >= translated
    assert len({record["source"] for record in records}) >= sources
    assert {record["model"] for record in records} >= set(FAMILIES)
    assert all(record["license"] and record["source_path"] for record in records)


def assert_guarded(path: Path, wants_stream: Callable[[Body], bool], keys: Callable[[Body], Sequence[str]]) -> Record:
    """The recorded body as the gateway parses it; a dialect reads the same in it as in the file."""
    body = recorded(path)["request"]
    decoded = decode_object(json.dumps(body).encode())
    assert wants_stream(decoded) is bool(body.get("stream"))
    assert keys(decoded) == keys(body)
    return decoded


def regenerate(files: Sequence[Path], outcome: Callable[[Record, str], Record]) -> None:
    for path in files:
        record = recorded(path)
        record["expected"] = outcome(record, record["model"])
        path.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n")
