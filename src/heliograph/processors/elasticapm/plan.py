"""What is added to a span, decided once for all spans that are alike in what is looked at.

A plan holds the serialized attributes that do not depend on time, ids and name, which attributes are taken away, and
which of the per-span attributes are still to be added. An attribute that is there already is never added again.

Which spans are transactions: those that say so (`processor.event`), those without parent, those whose parent is known
to be remote, and, when that is not known, those of kind server or consumer. Everything else is a span. A transaction of
kind client or producer gets both sets.
Source: internal/enrichments/span.go.
"""

from dataclasses import dataclass

from heliograph.otlp.attributes import Value, encode_attributes
from heliograph.otlp.tracestate import representative_count
from heliograph.processors.elasticapm.config import ElasticApmConfig
from heliograph.processors.elasticapm.facts import READ, Facts, gather, host_and_port
from heliograph.processors.elasticapm.user_agent import name_and_version

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5
_STATUS_OK, _STATUS_ERROR = 1, 2
_REMOTE_KNOWN, _REMOTE = 0x100, 0x200
_ATTRIBUTES = 9  # Span.attributes

MESSAGING = frozenset(
    (
        *("message_bus.destination", "messaging.operation", "messaging.operation.type", "messaging.operation.name"),
        *("messaging.system", "messaging.destination", "messaging.destination.name", "messaging.temp_destination"),
        "messaging.destination.temporary",
    )
)
"""Attributes that a messaging span loses."""

WRITTEN = frozenset(
    (
        *("timestamp.us", "transaction.sampled", "transaction.id", "transaction.root", "transaction.name"),
        *("processor.event", "transaction.representative_count", "transaction.duration.us", "transaction.type"),
        *("transaction.result", "event.outcome", "event.success_count", "child.id", "user_agent.original"),
        *("user_agent.name", "user_agent.version", "transaction.message.queue.name", "span.message.queue.name"),
        *("span.representative_count", "span.action", "span.type", "span.subtype", "span.duration.us"),
        *("service.target.type", "service.target.name", "destination.address", "destination.port", "url.original"),
        *("span.destination.service.name", "span.destination.service.type", "span.destination.service.resource"),
    )
)
INTERESTING = READ | MESSAGING | WRITTEN
"""Attributes on which a plan depends."""


@dataclass(slots=True)
class Plan:
    """added: serialized attributes of the span. removed: keys taken away."""

    added: bytes
    removed: frozenset[str]
    is_transaction: bool
    transaction_type: str
    timestamp: bool
    transaction_id: bool
    transaction_name: bool
    transaction_duration: bool
    span_duration: bool
    clear_id: bool
    clear_name: bool
    infers: bool


class Planner:
    """Makes plans by the switches of one configuration."""

    def __init__(self, config: ElasticApmConfig) -> None:
        self._transaction = config.elastic_transaction
        self._span = config.elastic_span

    def plan(
        self, attributes: list[tuple[str, Value]], kind: int, status: int, root: bool, flags: int, tracestate: str
    ) -> Plan:
        """attributes: the interesting ones of the span, in order. flags: those of the span's field."""
        facts = gather(attributes)
        present = {key for key, _ in attributes}
        is_transaction = _is_transaction(facts, kind, root, flags)
        if _was_enriched(present):
            return Plan(b"", frozenset(), is_transaction, _transaction_type(facts), *(False,) * 8)
        leaves = is_transaction and kind in (CLIENT, PRODUCER)
        count = representative_count(tracestate)
        out: dict[str, Value] = {}
        switches: set[str] = set()
        removed: set[str] = set()
        if is_transaction:
            self._add_transaction(out, facts, status, root, count)
            switches |= self._transaction
        if not is_transaction or leaves:
            self._add_span(out, facts, kind, status, count, leaves)
            switches |= self._span
            if leaves and "type_subtype" in self._span and "type" in self._transaction:
                self._name_call(out, facts, kind, present, removed)
        self._add_user_agent(out, facts, switches)
        if "message_queue_name" in switches and facts.messaging_destination:
            scope = "transaction" if is_transaction else "span"
            out[f"{scope}.message.queue.name"] = facts.messaging_destination
        if "remove_messaging" in switches and "messaging" in facts.kinds:
            removed |= MESSAGING & present
        return Plan(
            added=encode_attributes({key: value for key, value in out.items() if key not in present}, _ATTRIBUTES),
            removed=frozenset(removed),
            is_transaction=is_transaction,
            transaction_type=_transaction_type(facts),
            timestamp="timestamp_us" in switches and "timestamp.us" not in present,
            transaction_id=is_transaction and "id" in self._transaction and "transaction.id" not in present,
            transaction_name=is_transaction and "name" in self._transaction and "transaction.name" not in present,
            transaction_duration=is_transaction
            and "duration_us" in self._transaction
            and "transaction.duration.us" not in present,
            span_duration=(leaves or not is_transaction)
            and "duration_us" in self._span
            and "span.duration.us" not in present,
            clear_id=is_transaction and {"id", "clear_span_id"} <= self._transaction,
            clear_name=is_transaction and {"name", "clear_span_name"} <= self._transaction,
            infers="inferred_spans" in switches and "child.id" not in present,
        )

    def _add_transaction(self, out: dict[str, Value], facts: Facts, status: int, root: bool, count: float) -> None:
        switches = self._transaction
        if "sampled" in switches:
            out["transaction.sampled"] = True
        if "root" in switches:
            out["transaction.root"] = root
        if "processor_event" in switches:
            out["processor.event"] = "transaction"
        if "representative_count" in switches:
            out["transaction.representative_count"] = count
        if "type" in switches:
            out["transaction.type"] = _transaction_type(facts)
        if "result" in switches:
            out["transaction.result"] = _result(facts, status)
        if "event_outcome" in switches:
            _add_outcome(out, facts, status, count)

    def _add_span(
        self, out: dict[str, Value], facts: Facts, kind: int, status: int, count: float, leaves: bool
    ) -> None:
        switches = self._span
        if "representative_count" in switches:
            out["span.representative_count"] = count
        if "action" in switches and facts.messaging_operation:
            out["span.action"] = facts.messaging_operation
        if "type_subtype" in switches:
            out["span.type"], subtype = _type_and_subtype(facts, kind)
            if subtype:
                out["span.subtype"] = subtype
        if "event_outcome" in switches:
            _add_outcome(out, facts, status, count)
        if "service_target" in switches:
            _add_target(out, facts)
        if "destination_service" in switches:
            _add_destination(out, facts)
        if "processor_event" in switches and not leaves:
            out["processor.event"] = "span"

    def _name_call(self, out: dict[str, Value], facts: Facts, kind: int, present: set[str], removed: set[str]) -> None:
        """The type of a transaction that is an outgoing call, unless one was given; an empty one is replaced."""
        if facts.type or facts.transaction_type:
            return
        type_, subtype = _type_and_subtype(facts, kind)
        out["transaction.type"] = f"{type_}.{subtype}" if subtype else type_
        if "transaction.type" in present:
            removed.add("transaction.type")
            present.discard("transaction.type")

    def _add_user_agent(self, out: dict[str, Value], facts: Facts, switches: set[str]) -> None:
        if "user_agent" not in switches or not facts.user_agent:
            return
        out["user_agent.original"] = facts.user_agent
        name, version = name_and_version(facts.user_agent)
        if not facts.user_agent_name and name:
            out["user_agent.name"] = name
        if not facts.user_agent_version and version:
            out["user_agent.version"] = version


def _is_transaction(facts: Facts, kind: int, root: bool, flags: int) -> bool:
    if facts.processor_event == "transaction" or root:
        return True
    if not flags & _REMOTE_KNOWN:
        return kind in (SERVER, CONSUMER)
    return bool(flags & _REMOTE)


def _was_enriched(present: set[str]) -> bool:
    """Whether a span has been here before. It has lost its messaging attributes, so it would look like another."""
    return any({f"{set_}.duration.us", f"{set_}.representative_count"} <= present for set_ in ("transaction", "span"))


def _transaction_type(facts: Facts) -> str:
    if facts.type:
        return facts.type
    if "messaging" in facts.kinds:
        return "messaging"
    return "request" if facts.kinds & {"rpc", "http"} else "unknown"


def _result(facts: Facts, status: int) -> str:
    result = ""
    if "http" in facts.kinds and facts.http_status > 0:
        hundreds = facts.http_status // 100
        result = f"HTTP {hundreds}xx" if 1 <= hundreds <= 5 else f"HTTP {facts.http_status}"
    if "rpc" in facts.kinds:
        result = facts.grpc_status
    return result or ("Error" if status == _STATUS_ERROR else "Success")


def _add_outcome(out: dict[str, Value], facts: Facts, status: int, count: float) -> None:
    if facts.event_outcome == "unknown":
        return
    failed = status == _STATUS_ERROR or (status != _STATUS_OK and facts.http_status >= 500)
    out["event.outcome"] = "failure" if failed else "success"
    out["event.success_count"] = 0 if failed else min(int(count), (1 << 63) - 1)


def _type_and_subtype(facts: Facts, kind: int) -> tuple[str, str]:
    kinds = facts.kinds
    if "db" in kinds:
        return "db", facts.db_system
    if "messaging" in kinds:
        return "messaging", facts.messaging_system
    if "rpc" in kinds:
        return "external", facts.rpc_system
    if "http" in kinds:
        return "external", "http"
    if "gen_ai" in kinds:
        return "genai", facts.gen_ai_system
    return ("app", "internal") if kind == INTERNAL else ("unknown", "")


def _add_target(out: dict[str, Value], facts: Facts) -> None:
    kinds = facts.kinds
    type_, name = "", facts.peer_service
    if "db" in kinds:
        type_, name = facts.db_system or "db", facts.db_name or name
    elif "messaging" in kinds:
        type_ = facts.messaging_system or "messaging"
        if not facts.messaging_temporary:
            name = facts.messaging_destination or name
    elif "rpc" in kinds:
        type_, name = facts.rpc_system or "external", facts.rpc_service or name
    elif "http" in kinds:
        type_ = "http"
        name = (_http_resource(facts) or host_and_port(facts)) or name
    if type_ or name:
        out["service.target.type"] = type_
        out["service.target.name"] = name


def _add_destination(out: dict[str, Value], facts: Facts) -> None:
    kinds = facts.kinds
    resource = (facts.peer_address or facts.peer_service) if facts.peer_service else ""
    if "db" in kinds:
        resource = resource or facts.db_system
    elif "messaging" in kinds:
        resource = resource or facts.messaging_system
        if resource and facts.messaging_destination:
            resource += f"/{facts.messaging_destination}"
    elif "http" in kinds and _http_resource(facts):
        resource = _add_http_destination(out, facts, resource)
    elif kinds & {"rpc", "http"}:
        resource = resource or host_and_port(facts) or facts.rpc_service
    if resource:
        out["span.destination.service.resource"] = resource


def _add_http_destination(out: dict[str, Value], facts: Facts, resource: str) -> str:
    url = facts.url
    assert url is not None
    port = _port(facts)
    out["destination.address"] = url.hostname()
    if port > 0:
        out["destination.port"] = port
    out["url.original"] = url.text()
    if facts.peer_service:
        out["span.destination.service.name"] = facts.peer_service
    else:
        origin = url.origin()
        if url.port() and port == url.default_port() > 0:
            origin = f"{url.scheme}://{url.hostname()}"
        out["span.destination.service.name"] = origin
        resource = _http_resource(facts)
    out["span.destination.service.type"] = "external"
    return resource


def _port(facts: Facts) -> int:
    assert facts.url is not None
    digits = facts.url.port()
    if not digits:
        return facts.url.default_port()
    return int(digits) if len(digits) <= 18 else 0


def _http_resource(facts: Facts) -> str:
    """host:port of the URL, the port of its scheme when it has none; "" without a host."""
    url = facts.url
    if url is None or not url.hostname():
        return ""
    default = url.default_port()
    return url.host if url.port() or not default else f"{url.host}:{default}"
