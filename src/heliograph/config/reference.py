"""The reference of all components, written from their configuration classes.

`python -m heliograph.config.reference docs/components` writes one Markdown file for each component and an index; with
`--check` it writes nothing and fails when a file is not up to date. What the classes say is the only source: a key's
name, type, default and text, and the keys known upstream that are refused.
"""

import argparse
import dataclasses
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from heliograph import catalog
from heliograph.component.config import ByteSize, Duration, Secret
from heliograph.component.factory import Factory
from heliograph.component.ids import ComponentId, Kind, PipelineId
from heliograph.config.decode import Key, is_class, is_decodable, keys, unsupported
from heliograph.config.scalar import duration_text

MAX_DEPTH = 12
_SIMPLE = {bool: "bool", int: "int", float: "number", str: "text", Secret: "secret", Any: "any", object: "any"}


def pages() -> dict[str, str]:
    """File name -> Markdown, for every component that this installation has, and the index."""
    found = [
        (kind, catalog.factory(kind, type_)) for kind in Kind for type_ in catalog.types(kind) if _there(kind, type_)
    ]
    texts = {_file(factory): page(factory) for _, factory in found}
    texts["README.md"] = _index([factory for _, factory in found])
    return texts


def page(factory: Factory) -> str:
    """The Markdown of one component."""
    lines = [f"# {factory.type} ({factory.kind})", "", *_doc(factory.config)]
    if factory.aliases:
        lines += [f"Deprecated names: {', '.join(f'`{alias}`' for alias in factory.aliases)}.", ""]
    if _signals(factory):
        lines += [f"Signals: {_signals(factory)}.", ""]
    rows = list(_rows(factory.config, "", None, ()))
    if rows:
        lines += ["| Key | Type | Default | |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    else:
        lines.append("It has no keys.")
    refused = list(_refused(factory.config, "", ()))
    if refused:
        lines += ["", "## Refused", "", "Known upstream, refused here by name:", "", "| Key | Instead |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(why)} |" for name, why in refused]
    return "\n".join(lines).rstrip() + "\n"


def undocumented(config: type) -> list[str]:
    """Paths of keys without a text."""
    return [row[0] for row in _rows(config, "", None, ()) if not row[3]]


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m heliograph.config.reference", description="Write the reference.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when something is not up to date")
    arguments = parser.parse_args(argv)
    texts = pages()
    folder: Path = arguments.folder
    stale = sorted(name for name, text in texts.items() if _read(folder / name) != text)
    left = sorted(path.name for path in folder.glob("*.md") if path.name not in texts)
    if arguments.check:
        for name in (*stale, *left):
            print(
                f"{folder / name} is not up to date: run python -m heliograph.config.reference {folder}",
                file=sys.stderr,
            )
        return 1 if stale or left else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (folder / name).write_text(texts[name], encoding="utf-8")
    for name in left:
        (folder / name).unlink()
    return 0


def _there(kind: Kind, type_: str) -> bool:
    return find_spec(f"heliograph.{kind.section}.{type_}") is not None


def _file(factory: Factory) -> str:
    return f"{factory.kind}-{factory.type}.md"


def _index(factories: list[Factory]) -> str:
    lines = ["# Components", "", "Written by `python -m heliograph.config.reference docs/components`.", ""]
    lines += ["| Kind | Type | Deprecated names | Signals |", "|---|---|---|---|"]
    for factory in factories:
        aliases = ", ".join(f"`{alias}`" for alias in factory.aliases)
        lines.append(f"| {factory.kind} | [{factory.type}]({_file(factory)}) | {aliases} | {_signals(factory)} |")
    return "\n".join(lines) + "\n"


def _signals(factory: Factory) -> str:
    if factory.kind is Kind.EXTENSION:
        return ""
    if factory.pairs:
        return ", ".join(f"{a} to {b}" for a, b in sorted(factory.pairs))
    return ", ".join(sorted(factory.signals))


def _doc(cls: type) -> list[str]:
    text = cls.__doc__ or ""
    if text.startswith(f"{cls.__name__}("):
        return []
    lines = [line.strip() for line in text.strip().splitlines()]
    return [*lines, ""] if lines else []


def _rows(cls: type, prefix: str, base: Any, above: tuple[type, ...]) -> Iterator[tuple[str, str, str, str]]:
    if cls in above or len(above) > MAX_DEPTH:
        return
    if getattr(cls, "OPTIONAL", False) and "enabled" not in keys(cls):
        yield f"`{prefix}enabled`", "bool", "`true`", "false: as if this part were not there."
    for name, entry in keys(cls).items():
        path = f"{prefix}{name}"
        known = base is not None
        default = getattr(base, entry.field.name) if known else None if entry.required else entry.default()
        shown = "required" if entry.required and not known else _default(entry, default)
        notes = [entry.doc]
        if entry.aliases:
            notes.append(f"Older names: {', '.join(f'`{alias}`' for alias in entry.aliases)}.")
        if entry.deprecated:
            notes.append(f"Deprecated: {entry.deprecated}")
        text = " ".join(note for note in notes if note) if entry.doc else ""
        yield f"`{path}`", _cell(_type(entry.target)), _cell(shown), _cell(text)
        for inner, suffix in _classes(entry.target):
            start = default if isinstance(default, inner) and not suffix else None
            yield from _rows(inner, f"{path}{suffix}::", start, (*above, cls))


def _refused(cls: type, prefix: str, above: tuple[type, ...]) -> Iterator[tuple[str, str]]:
    if cls in above or len(above) > MAX_DEPTH:
        return
    for name, why in unsupported(cls).items():
        yield f"{prefix}{name}", why
    for name, entry in keys(cls).items():
        for inner, suffix in _classes(entry.target):
            yield from _refused(inner, f"{prefix}{name}{suffix}::", (*above, cls))


def _classes(target: Any) -> Iterator[tuple[type, str]]:
    """Configuration classes inside a type, each with what stands between the key and theirs."""
    if is_class(target):
        yield target, ""
        return
    origin, args = get_origin(target), get_args(target)
    if origin in (Union, types.UnionType, typing.Annotated):
        for arm in args:
            yield from _classes(arm)
    elif origin in (list, tuple):
        for inner, suffix in _classes(args[0]):
            yield inner, f"[]{suffix}"
    elif origin is dict:
        for inner, suffix in _classes(args[1]):
            yield inner, f"::<name>{suffix}"


def _type(target: Any) -> str:
    if target is Duration or target is ByteSize:
        return "duration" if target is Duration else "size"
    if target in _SIMPLE:
        return _SIMPLE[target]
    if target is type(None):
        return "null"
    if target in (ComponentId, PipelineId):
        return "id"
    origin, args = get_origin(target), get_args(target)
    if origin is Literal:
        return ", ".join(f"`{_scalar(arm)}`" for arm in args if arm != "")
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(arm) for arm in args if arm is not type(None)))
    if origin in (list, tuple):
        return f"list of {_type(args[0])}"
    if origin is dict:
        return f"map of {_type(args[1])}"
    if isinstance(target, type) and issubclass(target, StrEnum):
        return ", ".join(f"`{member.value}`" for member in target)
    choices = getattr(target, "choices", ())
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if isinstance(target, type) and issubclass(target, str):
        return "text"
    if is_decodable(target) and not is_class(target):
        return "list" if issubclass(target, list | tuple) else "map"
    return "map"


def _default(entry: Key, value: Any) -> str:
    arms = (entry.target, *get_args(entry.target))
    if value is None or value == "":
        return ""
    if Duration in arms and isinstance(value, int | float):
        return f"`{duration_text(value)}`"
    if dataclasses.is_dataclass(value) and not isinstance(value, ComponentId):
        return ""
    if isinstance(value, list | tuple | dict | set | frozenset):
        if not value or any(dataclasses.is_dataclass(item) for item in value):
            return ""
        shown = sorted(value) if isinstance(value, set | frozenset) else value
        return f"`[{', '.join(map(_scalar, shown))}]`" if not isinstance(value, dict) else "see text"
    return f"`{_scalar(value)}`"


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main())
