"""A stand-in for Elastic's Managed OTLP Endpoint, which no test can reach: OTLP over gRPC and HTTP with its rules.

- `Authorization: ApiKey <key>`: without the prefix, or with an unknown key, UNAUTHENTICATED / 401; with a key that may
  not write events, PERMISSION_DENIED / 403. Both are told before the body is looked at.
- A request of more than `largest` bytes (uncompressed) is refused: RESOURCE_EXHAUSTED without RetryInfo / 413.
- Too much at once: RESOURCE_EXHAUSTED with RetryInfo / 429 with Retry-After. A failure that passes: UNAVAILABLE / 503.
- Malformed: INVALID_ARGUMENT / 400. Profiles: UNIMPLEMENTED / 404.
- Partial success for each signal: records that `reject` does not take; cumulative histograms, unless they are allowed
  (they are since version 9.4 of the stack); records whose data_stream.type is no logs, metrics or traces are dropped
  without a word.

Source: elastic/opentelemetry, docs/reference/managed-inputs (authentication, rate limiting, troubleshooting,
limitations), and the OTLP specification for the statuses. testing/managed_endpoint_process.py runs it as a process.
"""

import gzip
import json
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from google.protobuf.message import DecodeError

from heliograph.component.auth import PermissionDenied, Unauthenticated
from heliograph.net.grpc.server import Call, GrpcError, GrpcServer, Handler
from heliograph.net.grpc.status import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE
from heliograph.otlp.messages import request_class, response_class
from heliograph.testing.attributes import plain

SIGNALS = {"traces": ("trace", "Trace"), "metrics": ("metrics", "Metrics"), "logs": ("logs", "Logs")}
_RESOURCES = {"traces": "resource_spans", "metrics": "resource_metrics", "logs": "resource_logs"}
_SCOPES = {"traces": "scope_spans", "metrics": "scope_metrics", "logs": "scope_logs"}
_RECORDS = {"traces": "spans", "metrics": "metrics", "logs": "log_records"}
_REJECTED = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}
_CUMULATIVE = 2
_PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What to answer instead of taking a request. kind: busy (429), away (503) or malformed (400)."""

    kind: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """One record that was taken: a span, a log record, or one data point with its metric."""

    signal: str
    resource: Mapping[str, Any]
    scope: str
    record: Any
    metric: Any = None

    @property
    def attributes(self) -> dict[str, Any]:
        """The record's own attributes."""
        return plain(self.record.attributes)


class ManagedEndpoint:
    """Use as an async context manager; ports are free ones unless given.

    keys: key -> whether it may write events. refuse: what to do with the next requests, one entry each. busy: refuse
    all with 429 as long as it is true. reject: says why a record is not taken, or "". `taken` has all records,
    `requests` counts those that were taken, `refused` counts answers by kind.
    """

    def __init__(
        self,
        keys: Mapping[str, bool] | None = None,
        *,
        largest: int = 4 << 20,
        cumulative_histograms: bool = True,
        reject: Callable[[Taken], str] | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        sink: Callable[[Taken], None] | None = None,
    ) -> None:
        self.keys = dict(keys if keys is not None else {"key": True})
        self.largest = largest
        self.cumulative_histograms = cumulative_histograms
        self.reject = reject
        self.refuse: deque[Refusal] = deque()
        self.busy = False
        self.taken: list[Taken] = []
        self.requests = 0
        self.refused: dict[str, int] = {}
        self.grpc_port = self.http_port = 0
        self._keep = sink if sink is not None else self.taken.append
        self._tls = tls
        self._grpc: GrpcServer | None = None
        self._runner: web.AppRunner | None = None

    def of(self, signal: str) -> list[Taken]:
        """The records of a signal."""
        return [taken for taken in self.taken if taken.signal == signal]

    async def start(self, host: str = "127.0.0.1", grpc_port: int = 0, http_port: int = 0) -> None:
        """Listen."""
        self._grpc = GrpcServer(
            {
                f"/opentelemetry.proto.collector.{package}.v1.{service}Service/Export": self._export(signal)
                for signal, (package, service) in SIGNALS.items()
            },
            max_message_bytes=self.largest,
            authenticate=self._authenticate,
        )
        self.grpc_port = await self._grpc.listen(host, grpc_port, self._tls() if self._tls else None)
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/v1/{signal}", self._post)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, http_port, ssl_context=self._tls() if self._tls else None)
        await site.start()
        self.http_port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._grpc is not None:
            await self._grpc.close(0.1)
            self._grpc = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _authenticate(self, headers: Mapping[str, tuple[str, ...]], path: str) -> Mapping[str, str]:
        scheme, _, key = (headers.get("authorization") or ("",))[0].partition(" ")
        if scheme != "ApiKey":
            self._count("unauthenticated")
            raise Unauthenticated("ApiKey prefix not found")
        if key not in self.keys:
            self._count("unauthenticated")
            raise Unauthenticated("the API key is invalid")
        if not self.keys[key]:
            self._count("denied")
            raise PermissionDenied("the API key needs the privilege event:write for the application apm")
        return {}

    def _count(self, kind: str) -> None:
        self.refused[kind] = self.refused.get(kind, 0) + 1

    def _next_refusal(self) -> Refusal | None:
        refusal = self.refuse.popleft() if self.refuse else Refusal("busy", 1.0) if self.busy else None
        if refusal is not None:
            self._count(refusal.kind)
        return refusal

    def _export(self, signal: str) -> Handler:
        async def export(body: bytes, call: Call) -> bytes:
            match self._next_refusal():
                case Refusal("busy", after):
                    raise GrpcError(RESOURCE_EXHAUSTED, "request exceeded available capacity", after or 1.0)
                case Refusal("away", after):
                    raise GrpcError(UNAVAILABLE, "the service is not available", after)
                case Refusal(_, _):
                    raise GrpcError(INVALID_ARGUMENT, "the request is malformed")
            try:
                return self._take(signal, body)
            except DecodeError as error:
                self._count("malformed")
                raise GrpcError(INVALID_ARGUMENT, f"the request is malformed: {error}") from None

        return export

    async def _post(self, request: web.Request) -> web.Response:
        signal = request.match_info["signal"]
        if signal not in SIGNALS:
            return web.Response(status=404)
        try:
            headers = {name.lower(): (value,) for name, value in request.headers.items()}
            await self._authenticate(headers, request.path)
        except Unauthenticated as error:
            return web.Response(status=401, text=str(error))
        except PermissionDenied as error:
            return web.Response(status=403, text=str(error))
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if len(body) > self.largest:
            self._count("too large")
            return web.Response(status=413, text="request entity too large")
        refusal = self._next_refusal()
        if refusal is not None:
            status = {"busy": 429, "away": 503}.get(refusal.kind, 400)
            after = {} if refusal.retry_after is None else {"Retry-After": f"{refusal.retry_after:g}"}
            return web.Response(status=status, headers=after, text="request exceeded available capacity")
        if request.content_type != _PROTOBUF:
            return web.Response(status=415)
        try:
            return web.Response(body=self._take(signal, body), content_type=_PROTOBUF)
        except DecodeError as error:
            self._count("malformed")
            return web.Response(status=400, text=str(error))

    def _take(self, signal: str, body: bytes) -> bytes:
        reasons: list[str] = []
        found = list(records(signal, request_class(signal).FromString(body)))
        for taken in found:
            kind = taken.resource.get("data_stream.type", signal)
            if reason := self._problem(taken):
                reasons.append(reason)
            elif kind in SIGNALS:
                self._keep(taken)
        self.requests += 1
        response = response_class(signal)()
        if reasons:
            setattr(response.partial_success, _REJECTED[signal], len(reasons))
            response.partial_success.error_message = reasons[0]
        return bytes(response.SerializeToString())

    def _problem(self, taken: Taken) -> str:
        if taken.metric is not None and not self.cumulative_histograms:
            kind = taken.metric.WhichOneof("data")
            if "histogram" in kind and getattr(taken.metric, kind).aggregation_temporality == _CUMULATIVE:
                return f"{taken.metric.name}: histograms need delta temporality"
        return self.reject(taken) if self.reject is not None else ""


def records(signal: str, request: Any) -> Iterator[Taken]:
    """All records of a request, each with its resource and scope."""
    for resource in getattr(request, _RESOURCES[signal]):
        attributes = plain(resource.resource.attributes)
        for scope in getattr(resource, _SCOPES[signal]):
            for record in getattr(scope, _RECORDS[signal]):
                if signal != "metrics":
                    yield Taken(signal, attributes, scope.scope.name, record)
                    continue
                for point in getattr(record, record.WhichOneof("data")).data_points:
                    yield Taken(signal, attributes, scope.scope.name, point, record)


def document(taken: Taken) -> dict[str, Any]:
    """A record as JSON has it, to be read by a person: numbers as they are, ids in hexadecimal."""
    record = taken.record
    found: dict[str, Any] = {"signal": taken.signal, "resource": dict(taken.resource), "scope": taken.scope}
    if taken.metric is not None:
        found["metric"], found["unit"] = taken.metric.name, taken.metric.unit
        kind = record.WhichOneof("value") if hasattr(record, "as_double") else None
        found["value"] = getattr(record, kind) if kind else getattr(record, "sum", None)
    elif taken.signal == "traces":
        found |= {"name": record.name, "trace": record.trace_id.hex(), "span": record.span_id.hex()}
    else:
        found |= {"body": plain_body(record), "severity": record.severity_text, "trace": record.trace_id.hex()}
    found["time"] = record.start_time_unix_nano if taken.signal == "traces" else record.time_unix_nano
    found["attributes"] = taken.attributes
    return found


def plain_body(record: Any) -> Any:
    """The body of a log record."""
    from heliograph.otlp.attributes import from_any_value

    return from_any_value(record.body)


def line(taken: Taken) -> str:
    """The document as one line of JSON."""
    return json.dumps(document(taken), default=lambda value: value.hex() if isinstance(value, bytes) else str(value))
