"""Anthropic's server tools on Gemini's built-in ones: which is which, and what their options become."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from shared.dialects.anthropic_messages.fields import sequence, string

# The word before the date of a tool's type -> Gemini's tool.
_BUILT_INS = {"web_search": "googleSearch", "web_fetch": "urlContext", "code_execution": "codeExecution"}
_DATED = r"(web_search|web_fetch|code_execution)_20\d{6}"
_PLACE = ("city", "region", "country", "timezone")


class ServerTools(Struct):
    """The declared server tools: `wire` maps Anthropic's word to Gemini's tool, in the order of the body."""

    wire: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # what `tool_choice` may call them -> the word of `wire`
    removed: dict[str, str] = field(default_factory=dict)  # the same of those that the conversation took away
    allowed: dict[str, None] = field(default_factory=dict)
    blocked: dict[str, None] = field(default_factory=dict)
    place: str = ""

    def read(self, tool: Mapping[str, Any], where: str) -> str | None:
        """Takes the tool in and returns its name; None if it is no server tool, which its type alone decides."""
        dated = re.fullmatch(_DATED, str(tool.get("type")))
        if dated is None:
            return None
        word = dated[1]
        self.wire[word] = _BUILT_INS[word]
        given = tool.get("name")
        name = string(given, f"{where}.name") if given is not None else word
        self.names[name] = word
        for target, option in ((self.allowed, "allowed_domains"), (self.blocked, "blocked_domains")):
            param = f"{where}.{option}"
            listed = tool.get(option)
            for position, domain in enumerate(sequence(listed, param) if listed is not None else ()):
                target[string(domain, f"{param}[{position}]").strip().lower()] = None
        location = tool.get("user_location")
        if isinstance(location, Mapping):
            self.place = ", ".join(str(location[part]) for part in _PLACE if isinstance(location.get(part), str))
        return name

    def remove(self, name: str) -> None:
        """A tool that the conversation takes away; nothing for a name that is no server tool's."""
        if (word := self.names.pop(name, None)) is not None:
            self.removed[name] = word
            if word not in self.names.values():
                del self.wire[word]

    def restore(self, name: str) -> None:
        """A tool that the conversation took away and gives back."""
        if (word := self.removed.pop(name, None)) is not None:
            self.names[name] = word
            self.wire[word] = _BUILT_INS[word]

    def hint(self) -> str:
        """The options that Gemini's tools do not have, as one sentence for the system instruction, or "".

        `googleSearch.excludeDomains` exists on Vertex only and is a 400 here.
        """
        wishes = []
        if self.allowed:
            wishes.append(f"use only pages of these domains: {_listed(self.allowed)}")
        if self.blocked:
            wishes.append(f"never use pages of these domains: {_listed(self.blocked)}")
        if self.place:
            wishes.append(f"take into account that the user is in {self.place}")
        return f"When you search the web or read web pages, {'; '.join(wishes)}." if wishes else ""


def _listed(domains: Iterable[str]) -> str:
    return ", ".join(domain for domain in domains if domain)
