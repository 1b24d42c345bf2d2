"""Several configurations -> one: maps are merged deeply, everything else is replaced by the later one.

A null takes away what an earlier one said, so that defaults return. Top-level keys with `::` in them are paths, as
in `yaml:exporters::debug::verbosity: detailed`. Source: confmap.Conf.Merge of the Collector.
"""

from dataclasses import replace

from heliograph.component.config import Node
from heliograph.config.tree import moved


def merge(earlier: Node, later: Node) -> Node:
    """The later configuration over the earlier one."""
    if not isinstance(earlier.value, dict) or not isinstance(later.value, dict):
        return later
    entries = dict(earlier.value)
    for name, node in later.value.items():
        before = entries.get(name)
        entries[name] = node if before is None else merge(before, node)
    return replace(earlier, value=entries)


def unfolded(root: Node) -> Node:
    """The tree with `a::b: c` at its top written as `a: {b: c}`."""
    if not isinstance(root.value, dict) or not any("::" in name for name in root.value):
        return root
    result = replace(root, value={})
    for name, node in root.value.items():
        steps = tuple(name.split("::"))
        value = moved(node, steps)
        for depth in range(len(steps) - 1, -1, -1):
            value = Node({steps[depth]: value}, node.origin, steps[:depth])
        result = merge(result, value)
    return result
