"""Sources -> one tree -> typed configuration: the whole way, with all mistakes at once.

Order: read each source, merge them, apply `--set`, expand, decode every component (also those that no pipeline uses),
decode the service, check what it refers to. Nothing is opened or started.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heliograph import catalog
from heliograph.component.config import Node, Origin
from heliograph.component.ids import ComponentId, Kind
from heliograph.config.decode import Decoding
from heliograph.config.expand import Expansion
from heliograph.config.merge import merge
from heliograph.config.model import Configured, Loaded
from heliograph.config.problem import InvalidConfig, Problem, described, nearest
from heliograph.config.service import Pipelines, References, ServiceConfig
from heliograph.config.sources import setting, source
from heliograph.config.upstream import UPSTREAM

SECTIONS = (*(kind.section for kind in Kind), "service")


@dataclass(frozen=True, slots=True)
class Tree:
    """The merged and expanded configuration, before it is typed. problems: mistakes of the expansion."""

    root: Node
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]


def read(sources: Sequence[str], sets: Sequence[str], environ: Mapping[str, str]) -> Tree:
    """Read, merge and expand. Raises InvalidConfig when a source cannot be read."""
    problems: list[Problem] = []
    trees: list[Node] = []
    for uri in sources:
        try:
            trees.append(source(uri, environ))
        except InvalidConfig as error:
            problems += error.problems
    for text in sets:
        try:
            trees.append(setting(text))
        except InvalidConfig as error:
            problems += error.problems
    if not sources:
        problems.append(Problem(Origin("command line"), (), "there is no configuration", "give --config=FILE"))
    if problems:
        raise InvalidConfig(problems)
    root = trees[0]
    for tree in trees[1:]:
        root = merge(root, tree)
    expansion = Expansion(environ)
    return Tree(expansion.expand(root), tuple(dict.fromkeys(expansion.warnings)), tuple(expansion.problems))


def load(sources: Sequence[str], sets: Sequence[str], environ: Mapping[str, str]) -> Loaded:
    """The configuration of these `--config` and `--set` values. Raises InvalidConfig with all mistakes."""
    return typed(read(sources, sets, environ))


def typed(tree: Tree) -> Loaded:
    """Decode and check a tree. Raises InvalidConfig with all mistakes."""
    decoding = Decoding()
    root = tree.root
    entries = root.value if isinstance(root.value, dict) else {}
    for name, node in entries.items():
        if name not in SECTIONS:
            fix = nearest(name, SECTIONS) or f"sections are {', '.join(SECTIONS)}"
            decoding.problem(node, "unknown section", fix)
    components: dict[tuple[Kind, ComponentId], Configured] = {}
    defined: dict[Kind, dict[ComponentId, str | None]] = {kind: {} for kind in Kind}
    for kind in Kind:
        section = entries.get(kind.section)
        for configured in _Section(kind, decoding, defined[kind]).read(section):
            components[kind, configured.id] = configured
    service_node = entries.get("service", Node(None, root.origin, ("service",)))
    service = decoding.decode(ServiceConfig, service_node)
    referring = service or _readable(service_node)
    References(service_node, defined, list(components.values()), decoding).check(referring)
    failed = {problem.path for problem in tree.problems}
    problems = [*tree.problems, *(problem for problem in decoding.problems if problem.path not in failed)]
    if problems or service is None:
        raise InvalidConfig(problems)
    return Loaded(
        components=components,
        pipelines=dict(service.pipelines),
        extensions=tuple(service.extensions),
        telemetry=service.telemetry,
        warnings=tuple(dict.fromkeys((*tree.warnings, *decoding.warnings))),
        root=root,
        secrets=frozenset(decoding.secrets),
    )


def _readable(service: Node) -> ServiceConfig:
    """What can be read of a service section with mistakes in it, so that its references are checked too."""
    entries = service.value if isinstance(service.value, dict) else {}
    silent = Decoding()
    extensions = silent.decode(list[ComponentId], entries["extensions"]) if "extensions" in entries else None
    pipelines = Pipelines.decode(entries["pipelines"], silent) if "pipelines" in entries else None
    return ServiceConfig(extensions=extensions or [], pipelines=pipelines or Pipelines())


class _Section:
    """Reads the components of one kind. defined: filled with their ids and canonical types."""

    def __init__(self, kind: Kind, decoding: Decoding, defined: dict[ComponentId, str | None]) -> None:
        self.kind = kind
        self.decoding = decoding
        self.defined = defined

    def read(self, section: Node | None) -> list[Configured]:
        if section is None or section.value is None:
            return []
        if not isinstance(section.value, dict):
            fix = "write one `type:` or `type/name:` per line under it"
            self.decoding.problem(section, f"expected a map of {self.kind.section}, found {described(section)}", fix)
            return []
        found = (self.component(name, node) for name, node in section.value.items())
        return [configured for configured in found if configured is not None]

    def component(self, name: str, node: Node) -> Configured | None:
        try:
            id_ = ComponentId.parse(name)
        except ValueError as error:
            self.decoding.problem(node, f'"{name}" is no id: {error}', "write type or type/name")
            return None
        if id_ in self.defined:
            self.decoding.problem(node, f"{id_} is defined twice", "keep one of them")
            return None
        self.defined[id_] = None
        if not catalog.known(self.kind, id_.type):
            self.unknown(id_, node)
            return None
        type_ = catalog.canonical(self.kind, id_.type)
        if type_ != id_.type:
            self.decoding.warn(node, f'"{id_.type}" alias is deprecated; use "{type_}" instead')
        self.defined[id_] = type_
        config = self.decoding.decode(catalog.factory(self.kind, type_).config, node)
        return None if config is None else Configured(id_, self.kind, type_, config, node)

    def unknown(self, id_: ComponentId, node: Node) -> None:
        known = catalog.types(self.kind)
        others = [kind for kind in Kind if kind is not self.kind and catalog.known(kind, id_.type)]
        fix = nearest(id_.type, known)
        if others:
            fix = f"{id_.type} belongs under {' or '.join(kind.section for kind in others)}:"
        listed = f"known {self.kind.section}: {', '.join(known)}"
        if id_.type in UPSTREAM[self.kind]:
            problem = f'unknown {self.kind} type "{id_.type}": it exists upstream and is not available here'
            self.decoding.problem(node, problem, f"remove it, or send the data through another Collector ({listed})")
            return
        self.decoding.problem(node, f'unknown {self.kind} type "{id_.type}"', f"{fix} ({listed})" if fix else listed)
