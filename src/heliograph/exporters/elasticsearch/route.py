"""Which index or data stream a document goes to.

Order (first that applies): a fixed index of the configuration; attribute `elasticsearch.index`; the data stream
`<type>-<dataset>.otel-<namespace>` whose dataset and namespace are each looked up in record, scope and resource
attributes; for the dataset then the Collector's own scopes, scope attribute `encoding.format`, the receiver or
connector in the scope's name; then `generic` and `default`.
With `logstash_format` a date is appended to what came out, and the document has no `data_stream` field.

Source: data_stream_router.go of exporter/elasticsearchexporter 0.156, observed.
"""

import re
from typing import Final

from heliograph.exporters.elasticsearch.attribute import (
    DATASET,
    ENCODING_FORMAT,
    INDEX,
    NAMESPACE,
    Attribute,
    first_with,
    string_of,
    text_of,
)
from heliograph.exporters.elasticsearch.json_text import json_string

_COMPONENTS: Final = (re.compile(rb"/receiver/(\w+receiver)"), re.compile(rb"/connector/(\w+connector)"))
_OWN_SCOPES: Final[frozenset[bytes]] = frozenset(
    b"go.opentelemetry.io/collector/" + name
    for name in (
        b"receiver/receiverhelper",
        b"scraper/scraperhelper",
        b"processor/processorhelper",
        b"exporter/exporterhelper",
        b"service",
    )
)
OWN_DATASET: Final = b"collectortelemetry"
"""Dataset of the Collector's own telemetry."""
_NOT_IN_NAMESPACE: Final = '\\/*?"<>| ,#:'
_NOT_IN_DATASET: Final = "-" + _NOT_IN_NAMESPACE
_LONGEST: Final = 100
_MOST_ROUTES: Final = 4096


class Route:
    """Where a document goes. action: the whole action line of a document without id or templates. index: the member
    `"_index":...`. after_id: what follows the id in an action line. data_stream: `,"data_stream":{...}` of the
    document, or nothing."""

    def __init__(self, index: bytes, data_stream: bytes) -> None:
        self.index: bytes = b'"_index":' + json_string(index)
        self.data_stream: bytes = data_stream
        self.action: bytes = self.action_line(b"", b"", b"")
        self.after_id: bytes = b"," + self.index + b',"require_data_stream":true}}\n'

    def with_id(self, id: bytes) -> bytes:
        """The action line of a document with an id that needs no escapes."""
        return b'{"create":{"_id":"' + id + b'"' + self.after_id

    def action_line(self, id: bytes, pipeline: bytes, templates: bytes) -> bytes:
        """An action line with its newline. id, pipeline: plain text, or nothing. templates: the JSON object of
        dynamic templates, or nothing."""
        line: bytes = b'{"create":{'
        if id:
            line += b'"_id":' + json_string(id) + b","
        line += self.index
        if pipeline:
            line += b',"pipeline":' + json_string(pipeline)
        if templates:
            line += b',"dynamic_templates":' + templates
        return line + b',"require_data_stream":true}}\n'


def sanitised(field: bytes, forbidden: str, suffix: bytes) -> bytes:
    """A part of a data stream's name: lower case, forbidden characters replaced, cut to 100 bytes with its suffix."""
    text: str = field.decode("utf-8", "surrogateescape")
    letters: list[str] = []
    for letter in text:
        if letter in forbidden:
            letters.append("_")
        elif 0xDC80 <= ord(letter) <= 0xDCFF:  # a byte that is no UTF-8
            letters.append("\ufffd")
        else:
            letters.append(letter.lower()[0])
    return "".join(letters).encode("utf-8")[: _LONGEST - len(suffix)] + suffix


def sanitised_dataset(field: bytes) -> bytes:
    """A dataset as other mapping modes than otel name it."""
    return sanitised(field, _NOT_IN_DATASET, b"")


def sanitised_namespace(field: bytes) -> bytes:
    """A namespace."""
    return sanitised(field, _NOT_IN_NAMESPACE, b"")


class Router:
    """Routes of one kind of document: logs, metrics or traces (span events are logs)."""

    def __init__(self, type: bytes, fixed_index: bytes) -> None:
        self.type: bytes = type
        self.fixed_index: bytes = fixed_index
        self.date: bytes = b""
        self.routes: dict[tuple[bytes, bytes, bytes], Route] = {}

    def set_date(self, date: bytes) -> bool:
        """Append this (separator and date of logstash_format) to every index; True when it is another than before."""
        if date == self.date:
            return False
        self.date = date
        self.routes = {}
        return True

    def route(self, index: bytes | None, dataset: bytes, namespace: bytes) -> Route:
        """The route for what was found; `index` None: a data stream."""
        if self.fixed_index:
            index = self.fixed_index
        key: tuple[bytes, bytes, bytes] = (b"", dataset, namespace) if index is None else (b"i" + index, b"", b"")
        found: Route | None = self.routes.get(key)
        if found is None:
            if len(self.routes) >= _MOST_ROUTES:
                self.routes = {}
            found = self._make(index, dataset, namespace)
            self.routes[key] = found
        return found

    def _make(self, index: bytes | None, dataset: bytes, namespace: bytes) -> Route:
        if index is not None:
            return Route(index + self.date, b"")
        dataset = sanitised(dataset, _NOT_IN_DATASET, b".otel")
        namespace = sanitised(namespace, _NOT_IN_NAMESPACE, b"")
        name: bytes = self.type + b"-" + dataset + b"-" + namespace
        if self.date or not namespace:
            return Route(name + self.date, b"")
        field: bytes = b',"data_stream":{"type":%b,"dataset":%b,"namespace":%b}' % (
            json_string(self.type),
            json_string(dataset),
            json_string(namespace),
        )
        return Route(name, field)


class ScopeRoute:
    """Routes of the records of one scope: most go the same way, some say by their attributes that they do not."""

    def __init__(self, router: Router, resource: list[Attribute], scope: list[Attribute], scope_name: bytes) -> None:
        self.router: Router = router
        index: bytes | None = text_of(scope, INDEX)
        self.index: bytes | None = text_of(resource, INDEX) if index is None else index
        dataset: bytes | None = text_of(scope, DATASET)
        if dataset is None:
            dataset = text_of(resource, DATASET)
        self.dataset: bytes = dataset_of_scope(scope, scope_name) if dataset is None else dataset
        namespace: bytes | None = text_of(scope, NAMESPACE)
        if namespace is None:
            namespace = text_of(resource, NAMESPACE)
        self.namespace: bytes = b"default" if namespace is None else namespace
        self.usual: Route = router.route(self.index, self.dataset, self.namespace)

    def of_record(self, attributes: list[Attribute]) -> Route:
        """The route of a record that has routing attributes."""
        index: bytes | None = text_of(attributes, INDEX)
        dataset: bytes | None = text_of(attributes, DATASET)
        namespace: bytes | None = text_of(attributes, NAMESPACE)
        return self.router.route(
            self.index if index is None else index,
            self.dataset if dataset is None else dataset,
            self.namespace if namespace is None else namespace,
        )


def dataset_of_scope(scope: list[Attribute], name: bytes) -> bytes:
    """The dataset of records that name none."""
    if name in _OWN_SCOPES:
        return OWN_DATASET
    format: bytes = string_of(first_with(scope, ENCODING_FORMAT))
    if format:
        return format
    for pattern in _COMPONENTS:
        found = pattern.search(name)
        if found is not None:
            return found.group(1)
    return b"generic"
