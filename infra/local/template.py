"""What template.yaml defines, resolved for a laptop: local resources cannot drift from the cloud's."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9:.]+)\}")


class TemplateLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags: `!Ref X` becomes {"Ref": "X"}, `!Sub X` {"Fn::Sub": "X"}."""


def _short_tag(loader: TemplateLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    match node:
        case yaml.ScalarNode():
            value = loader.construct_scalar(node)
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case yaml.MappingNode():
            value = loader.construct_mapping(node, deep=True)
        case _:
            raise yaml.constructor.ConstructorError(None, None, f"unexpected node under !{name}", node.start_mark)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


TemplateLoader.add_multi_constructor("!", _short_tag)


class Template:
    """One parsed template. `parameters` override its defaults.

    `physical` maps a logical id to what `Ref` gives for it; whoever creates a resource enters it there.
    """

    def __init__(self, text: str, parameters: Mapping[str, str], region: str, account: str) -> None:
        self._body: dict[str, Any] = yaml.load(text, TemplateLoader)  # noqa: S506 - a SafeLoader with tags
        defaults = {name: entry.get("Default", "") for name, entry in self._body.get("Parameters", {}).items()}
        self._known: dict[str, Any] = {
            **defaults,
            **parameters,
            "AWS::Region": region,
            "AWS::AccountId": account,
            "AWS::Partition": "aws",
            "AWS::NoValue": None,
        }
        self.physical: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path, parameters: Mapping[str, str], region: str, account: str) -> "Template":
        return cls(path.read_text("utf-8"), parameters, region, account)

    def resources(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """Logical id -> properties, references not yet resolved, of every resource of a type."""
        return {
            name: entry.get("Properties", {})
            for name, entry in self._body["Resources"].items()
            if entry["Type"] == kind and self._holds(entry.get("Condition"))
        }

    def environment(self) -> dict[str, Any]:
        """The variables that all functions share, not yet resolved."""
        found: dict[str, Any] = self._body["Globals"]["Function"]["Environment"]["Variables"]
        return found

    def resolve(self, value: Any) -> Any:
        """KeyError for a reference to what is not known here."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name, argument)
        return {name: self.resolve(item) for name, item in value.items()}

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._reference(argument)
            case "Fn::Sub" if isinstance(argument, str):
                return _REFERENCE.sub(lambda match: str(self._reference(match[1])), argument)
            case "Fn::Sub":
                text, names = argument
                inner = {key: str(self.resolve(item)) for key, item in names.items()}
                return _REFERENCE.sub(lambda match: inner.get(match[1]) or str(self._reference(match[1])), text)
            case "Fn::GetAtt":
                return self._reference(".".join(argument))
            case "Fn::If":
                condition, yes, no = argument
                return self.resolve(yes if self._holds(condition) else no)
            case "Fn::Join":
                separator, items = argument
                found = self.resolve(items)  # a list, or a parameter that holds one
                return separator.join(found.split(",") if isinstance(found, str) else map(str, found))
        raise KeyError(f"template function {name}")

    def _reference(self, name: str) -> Any:
        return self.physical[name] if name in self.physical else self._known[name]

    def _holds(self, condition: Any) -> bool:
        match condition:
            case None:
                return True
            case str():
                return self._holds(self._body["Conditions"][condition])
            case {"Condition": name}:
                return self._holds(name)
            case {"Fn::Equals": [left, right]}:
                return bool(self.resolve(left) == self.resolve(right))
            case {"Fn::Not": [inner]}:
                return not self._holds(inner)
            case {"Fn::And": items}:
                return all(self._holds(item) for item in items)
            case {"Fn::Or": items}:
                return any(self._holds(item) for item in items)
        raise KeyError(f"template condition {condition}")
