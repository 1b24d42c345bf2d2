"""What is counted, as text to keep: cells and windows as JSON, their bytes as Latin-1 characters.

JSON because it is quick in both directions, never runs code when read, and a person can look into it.
"""

import json
from typing import Any

import orjson

from heliograph.connectors.elasticapm.aggregator import Group
from heliograph.connectors.elasticapm.cardinality import Estimator
from heliograph.connectors.elasticapm.cells import Cell, Cells
from heliograph.connectors.elasticapm.dimensions import Chunks
from heliograph.connectors.elasticapm.histogram import Histogram
from heliograph.connectors.elasticapm.window import Destination, Node, Transactions, Window


def group_text(group: Group) -> str:
    """Client metadata."""
    return json.dumps(group)


def group_of(text: str) -> Group:
    """Client metadata."""
    return tuple((key, tuple(values)) for key, values in json.loads(text))


def cells_text(cells: Cells) -> str:
    """Cells as a record of the log."""
    return _json(
        [
            [_text(resource), found.items, [_cell(key, cell) for key, cell in found.cells.items()]]
            for resource, found in cells.resources.items()
        ]
    )


def cells_of(text: str) -> Cells:
    """A record of the log."""
    cells = Cells()
    for resource, items, saved in json.loads(text):
        found = cells.of(_bytes(resource))
        found.items += items
        for key_text, spans, us, calling, calls, calling_us, calling_sum, histogram in saved:
            key = tuple(map(_bytes, key_text))
            cell = found.add(key)
            cells.grew(1, sum(map(len, key)))
            cell.spans, cell.us = spans, us
            cell.composite_spans, cell.composite_calls = calling, calls
            cell.composite_us, cell.composite_sum = calling_us, calling_sum
            if histogram is not None:
                cell.histogram = _histogram_of(histogram)
    return cells


def window_text(window: Window) -> str:
    """A window that is not over yet."""
    overflowed = window.resources_overflowed
    nodes = [_node(key, node) for key, node in window.nodes.items()]
    return _json([_registers(overflowed), nodes])


def restore_window(window: Window, text: str) -> None:
    """Put what was kept into a new window."""
    saved = Window(window.limits)
    overflowed, nodes = json.loads(text)
    if overflowed is not None:
        saved.resources_overflowed = Estimator(_bytes(overflowed))
    for key, summary, refused, overflow, of_services, transactions, destinations in nodes:
        node = saved.nodes[_chunks(key)] = Node()
        node.summary = summary
        node.refused = set(refused)
        node.overflow = {name: Estimator(_bytes(registers)) for name, registers in overflow.items()}
        node.service_transactions = {_chunks(point[0]): _transactions_of(point) for point in of_services}
        node.transactions = {_chunks(point[0]): _transactions_of(point) for point in transactions}
        for point_key, calls, us in destinations:
            point = node.destinations[_chunks(point_key)] = Destination()
            point.calls, point.us = calls, us
    window.merge(saved)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a number of more than 64 bits
        return json.dumps(value)


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _texts(key: Chunks) -> list[str]:
    return [item.decode("latin-1") for item in key]


def _chunks(texts: list[str]) -> Chunks:
    return tuple(map(_bytes, texts))


def _registers(estimator: Estimator | None) -> str | None:
    return None if estimator is None else _text(bytes(estimator.registers))


def _cell(key: Chunks, cell: Cell) -> list[Any]:
    return [
        _texts(key),
        cell.spans,
        cell.us,
        cell.composite_spans,
        cell.composite_calls,
        cell.composite_us,
        cell.composite_sum,
        None if cell.histogram is None else _histogram(cell.histogram),
    ]


def _histogram(histogram: Histogram) -> list[Any]:
    head = [histogram.scale, histogram.zero, histogram.first, histogram.last, histogram.smallest, histogram.largest]
    return [*head, list(histogram.counts), list(histogram.counts.values())]


def _histogram_of(saved: list[Any]) -> Histogram:
    histogram = Histogram()
    histogram.scale, histogram.zero, histogram.first, histogram.last = saved[:4]
    histogram.smallest, histogram.largest = saved[4:6]
    histogram.counts = dict(zip(saved[6], saved[7], strict=True))
    return histogram


def _transactions(key: Chunks, point: Transactions) -> list[Any]:
    return [_texts(key), point.us, point.succeeded, point.failed, _histogram(point.histogram)]


def _transactions_of(saved: list[Any]) -> Transactions:
    point = Transactions()
    point.us, point.succeeded, point.failed = saved[1:4]
    point.histogram = _histogram_of(saved[4])
    return point


def _node(key: Chunks, node: Node) -> list[Any]:
    return [
        _texts(key),
        node.summary,
        sorted(node.refused),
        {name: _registers(estimator) for name, estimator in node.overflow.items()},
        [_transactions(dimensions, point) for dimensions, point in node.service_transactions.items()],
        [_transactions(dimensions, point) for dimensions, point in node.transactions.items()],
        [[_texts(dimensions), point.calls, point.us] for dimensions, point in node.destinations.items()],
    ]
