"""`$ref` in clients' schemas: where it points, and which references form a cycle."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

Schema = dict[str, Any]

_PREFIX = "#/$defs/"


class References:
    """The reference targets of one schema as one table of definitions, from which `#/$defs/NAME` is the one spelling.

    `definitions` holds the root's `$defs` and `definitions`, and every other place of the document that is referred to:
    cleaning may move it, so it is named. `refers`: false where nothing can be referred to.
    """

    def __init__(self, schema: Any, *, refers: bool = True) -> None:
        self._root: Mapping[str, Any] = schema if isinstance(schema, dict) else {}
        self.definitions: dict[str, Any] = {}
        for key in ("definitions", "$defs"):
            table = self._root.get(key)
            self.definitions |= table if isinstance(table, dict) else {}
        self._anchors: dict[str, Mapping[str, Any]] = {}
        self._names: dict[str, str] = {}
        references: list[str] = []
        for node in _walk(schema) if refers else ():
            if isinstance(node.get("$anchor"), str):
                self._anchors[node["$anchor"]] = node
            if isinstance(node.get("$ref"), str):
                references.append(node["$ref"])
        for reference in references:
            self._name(reference)

    def canonical(self, reference: str) -> str | None:
        """The reference as it may stand in a cleaned schema, past definitions that only refer to another one; None
        where it leads nowhere or in a mere circle."""
        name = self._names.get(reference)
        passed: set[str] = set()
        while name is not None and name not in passed:
            target = self.definitions[name]
            if not (isinstance(target, dict) and list(target) == ["$ref"] and isinstance(target["$ref"], str)):
                return self.of_definition(name)
            passed.add(name)
            name = self._names.get(target["$ref"])
        return None

    def of_definition(self, name: str) -> str:
        return _PREFIX + name.replace("~", "~0").replace("/", "~1")

    def target(self, reference: str) -> Mapping[str, Any] | None:
        """The schema that a reference, canonical or not, names; None for foreign documents and broken pointers."""
        name = self._names.get(reference) or definition_name(reference)
        found = self.definitions.get(name or "")
        return found if isinstance(found, dict) else None

    def _name(self, reference: str) -> None:
        if reference in self._names:
            return
        for prefix in (_PREFIX, "#/definitions/"):
            name = _unescape(reference.removeprefix(prefix))
            if reference.startswith(prefix) and name in self.definitions:
                self._names[reference] = name
                return
        found = self._resolve(reference)
        if found is not None:
            last = _unescape(reference.rpartition("/")[2]).lstrip("#") or "root"
            name = last
            while name in self.definitions:
                name = f"{name}_"
            self.definitions[name] = {key: value for key, value in found.items() if key not in ("$defs", "definitions")}
            self._names[reference] = name

    def _resolve(self, reference: str) -> Mapping[str, Any] | None:
        if not reference.startswith("#"):
            return None
        if not reference.startswith("#/"):
            return self._root if reference == "#" else self._anchors.get(reference[1:])
        node: Any = self._root
        for step in reference[2:].split("/"):
            name = _unescape(step)
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(node):
                node = node[int(name[:9])]
            else:
                return None
        return node if isinstance(node, dict) else None


def definition_name(reference: Any) -> str | None:
    """The name of the definition that a canonical reference names."""
    if isinstance(reference, str) and reference.startswith(_PREFIX):
        return _unescape(reference.removeprefix(_PREFIX))
    return None


def relax_cycles(cleaned: Schema) -> Schema:
    """A cleaned schema whose cycles run through optional properties only: the upstream unrolls a cycle nowhere else, so
    a required property that leads back to its own definition becomes optional."""
    definitions = cleaned.get("$defs")
    if not isinstance(definitions, dict):
        return cleaned
    _empty_circles(cleaned, definitions)
    uses = {name: set(_named(schema)) & definitions.keys() for name, schema in definitions.items()}
    for name in [name for name in uses if name in _reachable(uses, uses[name])]:
        for node in _walk(definitions[name]):
            required, properties = node.get("required"), node.get("properties")
            if isinstance(required, list) and isinstance(properties, dict):
                node["required"] = [
                    key for key in required if name not in _reachable(uses, set(_named(properties.get(key))))
                ]
                if not node["required"]:
                    del node["required"]
    return cleaned


def _empty_circles(cleaned: Schema, definitions: dict[str, Any]) -> None:
    """Definitions that only refer to each other in a circle allow anything; a root that only names one says nothing."""
    following = {
        name: definition_name(schema["$ref"]) for name, schema in definitions.items() if set(schema) == {"$ref"}
    }
    circular = {name for name in following if _leads_back(name, following)}
    for name in circular:
        definitions[name] = {}
    if definition_name(cleaned.get("$ref")) in circular:
        del cleaned["$ref"]


def _leads_back(name: str, following: Mapping[str, str | None]) -> bool:
    passed: set[str] = set()
    step = following.get(name)
    while step is not None and step not in passed:
        if step == name:
            return True
        passed.add(step)
        step = following.get(step)
    return False


def _reachable(uses: Mapping[str, set[str]], start: set[str]) -> set[str]:
    found: set[str] = set()
    todo = list(start)
    while todo:
        name = todo.pop()
        if name not in found and name in uses:
            found.add(name)
            todo.extend(uses[name])
    return found


def _named(schema: Any) -> Iterator[str]:
    """The definitions that a cleaned schema refers to."""
    for node in _walk(schema):
        name = definition_name(node.get("$ref"))
        if name is not None:
            yield name


def _walk(schema: Any) -> Iterator[dict[str, Any]]:
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)


def _unescape(step: str) -> str:
    return unquote(step).replace("~1", "/").replace("~0", "~")
