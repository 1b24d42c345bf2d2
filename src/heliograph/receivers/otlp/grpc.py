"""OTLP over gRPC: one Export method for each signal that has a pipeline; the others answer UNIMPLEMENTED.

A malformed message is INVALID_ARGUMENT (upstream answers INTERNAL): the OTLP specification lists it as what must not
be sent again. Refusals that may pass carry RetryInfo.
"""

from heliograph.component.ids import Signal
from heliograph.net.grpc.server import Call, GrpcError, Handler
from heliograph.receivers.otlp.intake import Intake

_SERVICES = {Signal.TRACES: ("trace", "Trace"), Signal.METRICS: ("metrics", "Metrics"), Signal.LOGS: ("logs", "Logs")}
_DONE = b"\x0a\x00"


def method_path(signal: Signal) -> str:
    """The path of a signal's Export method."""
    package, service = _SERVICES[signal]
    return f"/opentelemetry.proto.collector.{package}.v1.{service}Service/Export"


def handlers(intake: Intake) -> dict[str, Handler]:
    """Path -> handler, for each signal that has a pipeline."""
    return {method_path(signal): _handler(signal, intake) for signal in intake.signals}


def _handler(signal: Signal, intake: Intake) -> Handler:
    async def export(request: bytes, call: Call) -> bytes:
        metadata = call.metadata if intake.include_metadata else {}
        refusal = await intake.take(signal, request, call.peer, metadata, call.auth)
        if refusal is not None:
            raise GrpcError(refusal.code, refusal.message, refusal.retry_after)
        return _DONE

    return export
