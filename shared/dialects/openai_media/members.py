"""A request's members, from JSON or from a form: typed on reading, and what nobody read is named in the warnings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from shared.dialects.openai.fields import boolean, integer, invalid, mapping, number, sequence, snake, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import refuse_routing

# for the operator's log only
_SILENT: Final = ("model", "user", "safety_identifier", "metadata")
_TRUE: Final = ("true", "1")
_FALSE: Final = ("false", "0", "")


class Upload(Struct, frozen=True):
    """One file of a form. `media_type` is the part's own Content-Type, "" where it has none."""

    name: str
    media_type: str
    data: bytes


class Form(Struct, frozen=True):
    """A multipart body: texts and files in the order sent, by the names the client wrote (`image[]`, ...)."""

    texts: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, Upload]]

    def uploads(self, *names: str) -> list[Upload]:
        """The files under these names or their array forms, in the order sent."""
        return [upload for name, upload in self.files if name.partition("[")[0] in names]

    def content(self) -> bytes:
        """What the form says, the same whatever boundary its client drew for it."""
        files = [(name, each.name, each.media_type, hashlib.sha256(each.data).hexdigest()) for name, each in self.files]
        return json.dumps([self.texts, files]).encode()

    def members(self) -> dict[str, Any]:
        """The texts as one object: `name[]` gathers a list, `name[key]` an object, a repeated name its last value."""
        found: dict[str, Any] = {}
        for name, text in self.texts:
            head, bracket, rest = name.partition("[")
            key = rest.rstrip("]")
            if not bracket:
                found[head] = text
            elif not key:
                listed = found.setdefault(head, [])
                if not isinstance(listed, list):
                    raise invalid("This field is sent both as a list and as a single value.", head)
                listed.append(text)
            else:
                inner = found.setdefault(head, {})
                if not isinstance(inner, dict):
                    raise invalid("This field is sent both as an object and as a single value.", head)
                inner[key] = text
        return found


class Members:
    """Reads by name, null as absent. `in_form` says that numbers and truth values are spelled as text.

    Extensions may stand at the top, in `google`, in `extra_body` or in `extra_body.google`; the top wins.
    """

    def __init__(self, body: Mapping[str, Any], *, in_form: bool = False) -> None:
        refuse_routing(body, "")
        self._in_form = in_form
        self._read: set[str] = set(_SILENT)
        self._values: dict[str, Any] = {}
        extra = _object(body, "extra_body", "extra_body")
        refuse_routing(extra, "extra_body.")
        google = _object(body, "google", "google") or _object(extra, "google", "extra_body.google")
        for layer in (body, extra, google):
            for name, value in layer.items():
                if value is not None and name not in ("extra_body", "google"):
                    self._values.setdefault(snake(name), value)

    def raw(self, name: str) -> Any:
        """The value as it came; None where absent."""
        self._read.add(name)
        return self._values.get(name)

    def text(self, name: str, default: str = "") -> str:
        value = self.raw(name)
        return default if value is None else string(value, name)

    def word(self, name: str, allowed: Sequence[str], default: str) -> str:
        """One of `allowed`, the default among them; an empty form field counts as absent."""
        value = self.text(name) or default
        if value not in allowed:
            raise invalid(f"Expected one of {', '.join(allowed)}.", name)
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self._number(name)
        return default if value is None else integer(value, name, low, high)

    def fraction(self, name: str, default: float, low: float, high: float) -> float:
        value = self._number(name)
        return default if value is None else number(value, name, low, high)

    def flag(self, name: str) -> bool:
        value = self.raw(name)
        if self._in_form and isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
            value = value.lower() in _TRUE
        return False if value is None else boolean(value, name)

    def texts(self, name: str) -> list[str]:
        """A list of strings; a single string is a list of one."""
        value = self.raw(name)
        if value is None:
            return []
        if isinstance(value, str):
            return [value]
        return [string(item, f"{name}[{at}]") for at, item in enumerate(sequence(value, name))]

    def warn(self, notes: Notes) -> None:
        """Name every member that nobody read and that says something."""
        for name, value in self._values.items():
            if name not in self._read and value not in ({}, [], ""):
                notes.ignored(name)

    def _number(self, name: str) -> Any:
        value = self.raw(name)
        if not (self._in_form and isinstance(value, str)):
            return value
        if not value.strip():
            return None
        try:
            return float(value)
        except ValueError:
            raise invalid("Expected a number here.", name) from None


def _object(body: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    value = body.get(name)
    return {} if value is None else mapping(value, path)
