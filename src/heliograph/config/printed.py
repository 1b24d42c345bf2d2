"""A loaded configuration as YAML, defaults included, with the origin of each value behind it.

    exporters:
      otlp_grpc:
        endpoint: gateway:4317        # agent.yaml:12
        headers:
          Authorization: "[REDACTED]" # agent.yaml:14 (environment API_KEY)
        timeout: 5s                   # default

Secrets are redacted: those that the configuration classes declare, in values without a declared type those under a
telling key (password, token, ...), and credentials in URLs.
"""

import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin

from heliograph.component.config import Duration, Node, Secret
from heliograph.component.ids import ComponentId, Kind, PipelineId
from heliograph.config.decode import is_class, is_decodable, keys
from heliograph.config.model import Loaded
from heliograph.config.problem import without_credentials
from heliograph.config.scalar import duration_text
from heliograph.config.tree import scalar

REDACTED = "[REDACTED]"
_COLUMN = 60
_TELLING = re.compile(r"passw|secret|token|api_?key|authorization|credential|private|_pem\Z", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_./<(][A-Za-z0-9_./:@+*,;()<>=$-]*(?: [A-Za-z0-9_./:@+*,;()<>=$-]+)*\Z")


@dataclass(frozen=True, slots=True)
class _Line:
    """A scalar and where it came from."""

    text: str
    origin: str


def printed(loaded: Loaded, *, redacted: bool = True) -> str:
    """The whole configuration. Without `redacted`, secrets are readable."""
    printer = _Printer(loaded, redacted)
    lines = []
    for indent, text, comment in _lines(printer.tree(), 0):
        line = "  " * indent + text
        lines.append(f"{line:<{_COLUMN}} # {comment}" if comment else line)
    return "\n".join(lines) + "\n"


class _Printer:
    """Turns typed values and the nodes they were read from into lines."""

    def __init__(self, loaded: Loaded, redacted: bool) -> None:
        self.loaded = loaded
        self.redacted = redacted

    def tree(self) -> dict[str, Any]:
        """Sections in the usual order."""
        result: dict[str, Any] = {}
        for kind in Kind:
            section = {
                str(id_): self.value(type(item.config), item.config, item.node)
                for (kind_, id_), item in self.loaded.components.items()
                if kind_ is kind
            }
            if section:
                result[kind.section] = section
        result["service"] = self.service()
        return result

    def service(self) -> dict[str, Any]:
        root = self.loaded.root
        node = _child(root, "service") or Node(None, root.origin)
        telemetry = self.loaded.telemetry
        pipelines: dict[str, Any] = {}
        for id_, pipeline in self.loaded.pipelines.items():
            pipelines[str(id_)] = {
                name: self.value(list[ComponentId], list(getattr(pipeline, name)), _child(pipeline.node, name))
                for name in ("receivers", "processors", "exporters")
            }
        return {
            "extensions": self.value(list[ComponentId], list(self.loaded.extensions), _child(node, "extensions")),
            "pipelines": pipelines,
            "telemetry": self.value(type(telemetry), telemetry, _child(node, "telemetry")),
        }

    def value(self, target: Any, value: Any, node: Node | None) -> Any:
        """A typed value. node: what was written, None for a default."""
        target = _without_none(target)
        if isinstance(value, Secret) or (node is not None and node.path in self.loaded.secrets):
            return self.secret(str.__str__(value) if isinstance(value, str) else str(value), node)
        cls: type = type(value)
        if is_decodable(cls) and node is not None and isinstance(node.value, dict | list):
            written = node.value if isinstance(node.value, dict) else {}
            if not is_class(cls) or not written.keys() <= keys(cls).keys():
                return self.node(node, "")
        if is_class(cls):
            return {
                name: self.value(entry.target, getattr(value, entry.field.name), _written(node, name, entry.aliases))
                for name, entry in keys(cls).items()
            }
        if isinstance(value, Mapping):
            item = (*get_args(target), Any, Any)[1]
            return {str(name): self.value(item, child, _child(node, str(name))) for name, child in value.items()} or (
                _Line("{}", _origin(node))
            )
        if isinstance(value, list | tuple | set | frozenset):
            item = (*get_args(target), Any)[0]
            nodes = node.value if node is not None and isinstance(node.value, list) else []
            ordered = list(value)
            if _flat(ordered) and all(_origin(child) == _origin(node) for child in nodes if child.origin.via):
                texts = (self.scalar(item, child) for child in ordered)
                return _Line(f"[{', '.join(_in_list(text) for text in texts)}]", _origin(node))
            return [
                self.value(item, child, nodes[index] if index < len(nodes) else node)
                for index, child in enumerate(ordered)
            ]
        if node is not None and not isinstance(value, bool | int | float | str | Enum | ComponentId | None):
            return self.node(node, "")
        return _Line(self.scalar(target, value), _origin(node))

    def node(self, node: Node, name: str) -> Any:
        """A value without a declared type, as it was written."""
        if isinstance(node.value, dict):
            return {key: self.node(child, key) for key, child in node.value.items()} or _Line("{}", _origin(node))
        if isinstance(node.value, list):
            return [self.node(child, name) for child in node.value] or _Line("[]", _origin(node))
        if isinstance(node.value, str) and (_TELLING.search(name) or node.path in self.loaded.secrets):
            return self.secret(node.value, node)
        return _Line(self.scalar(Any, node.value), _origin(node))

    def secret(self, value: str, node: Node | None) -> _Line:
        return _Line(_quoted(REDACTED if self.redacted and value else value), _origin(node))

    def scalar(self, target: Any, value: Any) -> str:
        """One value in YAML."""
        if target is Duration and isinstance(value, int | float):
            return duration_text(value)
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        if isinstance(value, float):
            return repr(value) if value - value == 0 else {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
        if isinstance(value, int):
            return str(int(value))
        text = str(value)
        return _quoted(without_credentials(text) if self.redacted else text)


def _lines(value: Any, indent: int) -> Iterator[tuple[int, str, str]]:
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _entry(f"{_quoted(name)}:", child, indent)
    else:
        for child in value:
            if isinstance(child, dict):
                first, *rest = _lines(child, 0)
                yield indent, f"- {first[1]}", first[2]
                yield from ((indent + 1 + depth, text, comment) for depth, text, comment in rest)
            else:
                yield from _entry("-", child, indent)


def _entry(head: str, child: Any, indent: int) -> Iterator[tuple[int, str, str]]:
    if isinstance(child, _Line):
        yield indent, f"{head} {child.text}", child.origin
    elif not child:
        yield indent, f"{head} {'{}' if isinstance(child, dict) else '[]'}", ""
    else:
        yield indent, head, ""
        yield from _lines(child, indent + 1)


def _quoted(text: str) -> str:
    if _PLAIN.match(text) and scalar(text) == (text, None) and not text.endswith(":") and ": " not in text:
        return text
    return json.dumps(text, ensure_ascii=False)


def _in_list(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if "," in text and not text.startswith('"') else text


def _flat(values: list[Any]) -> bool:
    scalars = all(isinstance(v, str | int | float | ComponentId | PipelineId | Enum) or v is None for v in values)
    return scalars and sum(len(str(v)) for v in values) < 80 and not any(isinstance(v, Secret) for v in values)


def _without_none(target: Any) -> Any:
    if get_origin(target) in (Union, types.UnionType):
        arms = [arm for arm in get_args(target) if arm is not type(None)]
        return arms[0] if len(arms) == 1 else Any
    if get_origin(target) is typing.Annotated:
        return get_args(target)[0]
    return target


def _origin(node: Node | None) -> str:
    if node is None:
        return "default"
    origin = node.origin
    place = f"{origin.source}:{origin.line}" if origin.line else origin.source
    return f"{place} ({origin.via})" if origin.via else place


def _child(node: Node | None, name: str) -> Node | None:
    return node.value.get(name) if node is not None and isinstance(node.value, dict) else None


def _written(node: Node | None, name: str, aliases: tuple[str, ...]) -> Node | None:
    return next((child for key in (name, *aliases) if (child := _child(node, key)) is not None), None)
