"""Several configurations -> one: maps are merged deeply, everything else is replaced by the later one.

A null takes away what an earlier one said, so that defaults return. Keys with `::` in them are paths, as in
`yaml:exporters::debug::verbosity: detailed`. Source: confmap.Conf.Merge of the Collector.
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


def unfolded(node: Node) -> Node:
    """The tree with `a::b: c` written as `a: {b: c}` at every level of maps in maps."""
    if not isinstance(node.value, dict):
        return node
    result = replace(node, value={})
    for name, child in node.value.items():
        steps = (*node.path, *name.split("::"))
        value = unfolded(child if len(steps) == len(node.path) + 1 else moved(child, steps))
        for depth in range(len(steps) - 1, len(node.path) - 1, -1):
            value = Node({steps[depth]: value}, child.origin, steps[:depth])
        result = merge(result, value)
    return result
