"""What the attributes of a span say about it, whichever of the many conventions they are written in.

Later attributes win over earlier ones. A value of another type than expected counts as empty, as it does in Elastic's.
Source: internal/enrichments/span.go (capture, normalizeAttributes, buildURLFromComponents).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from heliograph.otlp.attributes import Value
from heliograph.processors.elasticapm import url as urls
from heliograph.processors.elasticapm.url import Url

_GRPC_CODES = (
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists"),
    *("PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented"),
    *("Internal", "Unavailable", "DataLoss", "Unauthenticated"),
)

_TEXTS: dict[str, tuple[str, str]] = {
    # attribute -> (field of Facts, what it tells the span to be)
    "processor.event": ("processor_event", ""),
    "event.outcome": ("event_outcome", ""),
    "peer.service": ("peer_service", ""),
    "service.peer.name": ("peer_service", ""),
    "http.host": ("http_host", "http"),
    "server.address": ("server_address", ""),
    "net.peer.ip": ("peer_ip", ""),
    "net.sock.peer.addr": ("peer_ip", ""),
    "network.peer.address": ("peer_ip", ""),
    "peer.ipv4": ("peer_ip", ""),
    "peer.ipv6": ("peer_ip", ""),
    "peer.address": ("peer_address", ""),
    "messaging.destination": ("messaging_destination", "messaging"),
    "messaging.destination.name": ("messaging_destination", "messaging"),
    "message_bus.destination": ("messaging_destination", "messaging"),
    "messaging.operation": ("messaging_operation", "messaging"),
    "messaging.operation.type": ("messaging_operation", "messaging"),
    "messaging.operation.name": ("messaging_operation", "messaging"),
    "messaging.system": ("messaging_system", "messaging"),
    "http.target": ("http_target", "http"),
    "url.scheme": ("url_scheme", "http"),
    "url.domain": ("url_domain", "http"),
    "url.path": ("url_path", "http"),
    "url.query": ("url_query", "http"),
    "rpc.response.status_code": ("grpc_status", "rpc"),
    "rpc.system": ("rpc_system", "rpc"),
    "rpc.system.name": ("rpc_system", "rpc"),
    "rpc.service": ("rpc_service", "rpc"),
    "rpc.method": ("rpc_service", "rpc"),
    "db.name": ("db_name", "db"),
    "db.namespace": ("db_name", "db"),
    "db.instance": ("db_name", "db"),
    "db.elasticsearch.cluster.name": ("db_name", "db"),
    "db.system": ("db_system", "db"),
    "db.system.name": ("db_system", "db"),
    "db.type": ("db_system", "db"),
    "gen_ai.system": ("gen_ai_system", "gen_ai"),
    "gen_ai.provider.name": ("gen_ai_system", "gen_ai"),
    "user_agent.name": ("user_agent_name", ""),
    "user_agent.version": ("user_agent_version", ""),
    "type": ("type", ""),
    "transaction.type": ("transaction_type", ""),
}
_NUMBERS: dict[str, tuple[str, str]] = {
    "server.port": ("server_port", ""),
    "http.status_code": ("http_status", "http"),
    "http.response.status_code": ("http_status", "http"),
    "url.port": ("url_port", "http"),
}
_SIGNS: dict[str, str] = {
    "messaging.temp_destination": "messaging",
    "messaging.destination.temporary": "messaging",
    "http.method": "http",
    "http.request.method": "http",
    "http.scheme": "http",
    "http.flavor": "http",
    "net.host.name": "http",
    "db.statement": "db",
    "db.user": "db",
    "db.query.text": "db",
}
_OWN_RULE = (
    *("net.peer.name", "peer.hostname", "net.peer.port", "peer.port", "url.full", "http.url"),
    *("rpc.grpc.status_code", "sql.query", "http.user_agent", "user_agent.original"),
)
READ = frozenset((*_TEXTS, *_NUMBERS, *_SIGNS, *_OWN_RULE))
"""Attributes that are looked at."""
VALUED = frozenset((*_TEXTS, *_NUMBERS, *_OWN_RULE)) - {"sql.query"}
"""Attributes whose value is looked at; of the others it is enough that they are there."""


@dataclass(slots=True)
class Facts:
    """What is known of a span. kinds: some of http, messaging, rpc, db, gen_ai."""

    kinds: set[str] = field(default_factory=set)
    url: Url | None = None
    processor_event: str = ""
    event_outcome: str = ""
    peer_service: str = ""
    peer_address: str = ""
    peer_ip: str = ""
    http_host: str = ""
    http_target: str = ""
    http_status: int = 0
    server_address: str = ""
    server_port: int = 0
    url_scheme: str = ""
    url_domain: str = ""
    url_path: str = ""
    url_query: str = ""
    url_port: int = 0
    rpc_system: str = ""
    rpc_service: str = ""
    grpc_status: str = ""
    db_name: str = ""
    db_system: str = ""
    messaging_operation: str = ""
    messaging_system: str = ""
    messaging_destination: str = ""
    messaging_temporary: bool = False
    gen_ai_system: str = ""
    type: str = ""
    transaction_type: str = ""
    user_agent: str = ""
    user_agent_name: str = ""
    user_agent_version: str = ""


def gather(attributes: Iterable[tuple[str, Value]]) -> Facts:
    """Read the attributes of a span."""
    facts = Facts()
    original = False  # whether user_agent.original was there
    for key, value in attributes:
        text = value if isinstance(value, str) else ""
        number = value if isinstance(value, int) and not isinstance(value, bool) else 0
        if key in _TEXTS:
            name, kind = _TEXTS[key]
            setattr(facts, name, text)
        elif key in _NUMBERS:
            name, kind = _NUMBERS[key]
            setattr(facts, name, number)
        elif key in _SIGNS:
            kind = _SIGNS[key]
            facts.messaging_temporary |= kind == "messaging"
        elif key in ("http.user_agent", "user_agent.original"):
            kind = ""
            if key == "user_agent.original" or not original:
                facts.user_agent = text
            original |= key == "user_agent.original"
        elif key in _SPECIAL:
            kind = _SPECIAL[key](facts, text, number)
        else:
            continue
        if kind:
            facts.kinds.add(kind)
    _complete(facts)
    return facts


def _server_name(facts: Facts, text: str, number: int) -> str:
    facts.server_address = facts.server_address or text
    return ""


def _server_port(facts: Facts, text: str, number: int) -> str:
    facts.server_port = facts.server_port or number
    return ""


def _full_url(facts: Facts, text: str, number: int) -> str:
    facts.url = urls.parse(text)
    return "http"


def _grpc_code(facts: Facts, text: str, number: int) -> str:
    code = number & 0xFFFFFFFF
    facts.grpc_status = _GRPC_CODES[code] if code < len(_GRPC_CODES) else f"Code({code})"
    return "rpc"


def _sql(facts: Facts, text: str, number: int) -> str:
    facts.db_system = facts.db_system or "sql"
    return "db"


_SPECIAL: dict[str, Callable[[Facts, str, int], str]] = {
    "net.peer.name": _server_name,
    "peer.hostname": _server_name,
    "net.peer.port": _server_port,
    "peer.port": _server_port,
    "url.full": _full_url,
    "http.url": _full_url,
    "rpc.grpc.status_code": _grpc_code,
    "sql.query": _sql,
}


def _complete(facts: Facts) -> None:
    if not facts.rpc_system and facts.grpc_status:
        facts.rpc_system = "grpc"
    if not facts.server_address:
        if facts.peer_address and (":" not in facts.peer_address or _is_address(facts.peer_address)):
            facts.server_address = facts.peer_address
        else:
            facts.server_address = facts.peer_ip
    if facts.url is None:
        facts.url = _assembled(facts)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _assembled(facts: Facts) -> Url | None:
    """The URL from its parts, when there is at least a path."""
    target = facts.http_target
    if not target:
        if not facts.url_path:
            return None
        target = facts.url_path + (f"?{facts.url_query}" if facts.url_query else "")
    url = urls.parse(target)
    if url is None:
        return None
    url.scheme = url.scheme or facts.url_scheme or "http"
    if not url.host:
        host, port = facts.url_domain, facts.url_port
        if not host:
            host, port = facts.server_address, facts.server_port
        if facts.http_host:
            url.host = facts.http_host
        elif host:
            url.host = urls.join_host_port(host, port) if port > 0 else host
    return url


def host_and_port(facts: Facts) -> str:
    """Whom the span talked to: by its URL, else its domain, else the server's address; "" when nothing is known."""
    if facts.url is not None:
        return facts.url.host
    host, port = facts.url_domain, facts.url_port
    if not host:
        host, port = facts.server_address, facts.server_port
    return urls.join_host_port(host, port) if host and port else host
