"""Every configuration key of the components that we and the upstream Collector have: its default is the same here, or
it is refused by name. upstream_keys.yaml holds the input."""

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.config.test_peer import printed

from heliograph.component.switches import Switches
from heliograph.config.decode import is_class, keys
from heliograph.config.load import load
from heliograph.config.problem import InvalidConfig
from heliograph.config.scalar import duration

pytestmark = pytest.mark.peer

Path_ = tuple[str, ...]
DATA = yaml.safe_load(Path(__file__).with_name("upstream_keys.yaml").read_text())

DIFFERENT: Mapping[str, str] = {
    "exporters::file::rotation::max_megabytes": "upstream's 0 stands for 100",
    "processors::k8s_attributes::extract::annotations::from": "nothing stands for pod",
    "processors::k8s_attributes::extract::labels::from": "nothing stands for pod",
    "receivers::file_log::operators::delimiter": "nothing stands for a comma",
    "receivers::file_log::operators::id": "nothing stands for the operator's type",
    "receivers::file_log::operators::pair_delimiter": "nothing stands for a blank",
    "receivers::file_log::operators::routes::output": "an id is printed as a list of one",
    "receivers::file_log::retry_on_failure::enabled": "a file is its own queue: without it a refused batch is lost",
    "receivers::file_log::retry_on_failure::max_elapsed_time": "and giving up after a while loses it too",
}
"""Defaults that are meant to differ -> why. Places in lists are left out."""
UNPRINTED = "(not printed in the form of the configuration)"


def test_every_upstream_key_has_its_default_here_or_is_refused_by_name(lab: Path, tmp_path: Path) -> None:
    """What print-config fills in, and the keys that it leaves out."""
    theirs = {path: value for path, value in flat(collector(lab, tmp_path, DATA["printed"])) if path[0] != "service"}
    theirs |= {path: value for path, value in flat(DATA["omitted"]) if path not in theirs}
    ours = dict(flat(defaults(DATA["printed"])))
    different = {
        "::".join(name for name in path if not name.isdecimal()): (value, ours[path])
        for path, value in theirs.items()
        if path in ours and not same(value, ours[path])
    }
    assert {path: values for path, values in different.items() if path not in DIFFERENT} == {}
    assert different.keys() == DIFFERENT.keys()
    parts = {path[:end] for path in ours for end in range(len(path))}
    absent = [path for path in theirs if path not in ours and path not in parts]
    assert ["::".join(path) for path in unexplained(absent, theirs)] == []


def test_the_collector_knows_the_keys_that_it_does_not_print(lab: Path, tmp_path: Path) -> None:
    """The list of omitted keys holds no name that upstream would refuse."""
    collector(lab, tmp_path, joined(DATA["printed"], DATA["omitted"]))


def test_a_key_that_nobody_knows_is_found(lab: Path) -> None:
    """The comparison itself can fail: an invented key is neither accepted nor refused by name."""
    path = ("processors", "batch", "invented")
    assert unexplained([path], {path: 1}) == [path]


def collector(lab: Path, folder: Path, config: Any) -> Any:
    """What upstream makes of a configuration."""
    path = folder / "upstream.yaml"
    path.write_text(yaml.safe_dump(config))
    return printed(lab, "--validate=false", f"--config={path}")


def flat(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """(path, scalar or list of scalars). A field of a record is printed by upstream in a form of its own: UNPRINTED."""
    if isinstance(value, dict) and value:
        if set(value) == {"builder"}:
            yield from flat(value["builder"], path)
        elif set(value) == {"fieldinterface"} or (set(value) == {"field"} and isinstance(value["field"], dict)):
            yield path, UNPRINTED
        else:
            for name, child in value.items():
                yield from flat(child, (*path, str(name)))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        if "fieldinterface" in value[0]:
            yield path, UNPRINTED
            return
        for index, child in enumerate(value):
            yield from flat(child, (*path, str(index)))
    else:
        yield path, UNPRINTED if path and path[-1] == "sizer" else value


def same(theirs: Any, ours: Any) -> bool:
    """Whether two printed values mean the same: nothing is "", null, [] or {}; durations by length."""
    return UNPRINTED in (theirs, ours) or bool(_meaning(theirs) == _meaning(ours))


def _meaning(value: Any) -> Any:
    if value in (None, "", "null", [], {}):
        return None
    if isinstance(value, list):
        return sorted(str(item) for item in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if re.fullmatch(r"([\d.]+(h|m|s|ms|us|ns))+", text):
        return duration(text)
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text


def defaults(config: Any) -> dict[str, Any]:
    """Our components as a tree of keys, defaults filled in."""
    sections: dict[str, Any] = {}
    for (kind, id_), configured in load([f"yaml:{yaml.safe_dump(config)}"], [], {}).components.items():
        sections.setdefault(kind.section, {})[str(id_)] = _tree(configured.config)
    return sections


def _tree(value: Any) -> Any:
    if isinstance(value, Switches):
        return {name: {"enabled": name in value} for name in value.DEFAULTS}
    if isinstance(value, dict):
        return {str(name): _tree(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_tree(child) for child in value]
    cls: type = type(value)
    if is_class(cls):
        shown = {name: _key(key, getattr(value, key.field.name)) for name, key in keys(cls).items()}
        return shown | _switch(cls)
    if isinstance(value, str | int | float | bool | None):
        return value if not isinstance(value, str) else str.__str__(value)
    return str(value)


def _switch(cls: type) -> dict[str, Any]:
    return {"enabled": True} if getattr(cls, "OPTIONAL", False) else {}


def _key(key: Any, value: Any) -> Any:
    """A part that is off by default shows the defaults that it has when it is switched on."""
    if value is None:
        for arm in getattr(key.target, "__args__", ()):
            if is_class(arm):
                inner = {
                    name: UNPRINTED if one.required else _key(one, one.default()) for name, one in keys(arm).items()
                }
                return inner | _switch(arm)
    return f"{value}s" if "Duration" in str(key.target) and value is not None else _tree(value)


def joined(base: Any, more: Any) -> Any:
    """`more` merged into a copy of `base`, lists by place."""
    if isinstance(base, dict) and isinstance(more, dict):
        return {name: joined(base.get(name), more.get(name)) for name in (*base, *(k for k in more if k not in base))}
    if isinstance(base, list) and isinstance(more, list) and base and more and isinstance(more[0], dict):
        return [joined(a, b) for a, b in zip(base, more, strict=True)]
    return copy.deepcopy(base if more is None else more)


def unexplained(paths: list[Path_], values: Mapping[Path_, Any]) -> list[Path_]:
    """Those that we neither know nor refuse by name, seen by writing all of them into the configuration."""
    config = copy.deepcopy(DATA["printed"])
    for path in paths:
        _write(config, path, values[path])
    try:
        load([f"yaml:{yaml.safe_dump(config)}"], [], {})
        refused: set[Path_] = set()
    except InvalidConfig as error:
        refused = {problem.path for problem in error.problems if "not supported" in problem.problem}
    return [path for path in paths if not any(path[: len(prefix)] == prefix for prefix in refused)]


def _write(config: Any, path: Path_, value: Any) -> None:
    for name in path[:-1]:
        place: Any = int(name) if isinstance(config, list) else name
        if isinstance(config, dict) and not isinstance(config.get(name), dict | list):
            config[name] = {}
        config = config[place]
    config[path[-1]] = value
