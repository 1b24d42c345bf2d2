"""OTLP over HTTP: one route for each signal that has a pipeline, protobuf and JSON.

Errors are a google.rpc.Status in the format of the request. Source: the OTLP specification, "OTLP/HTTP", and what
upstream's receiver was seen to answer (method, media type and path errors are plain text there).
"""

import math
from collections.abc import Mapping

from heliograph.component.errors import MalformedPayload
from heliograph.component.ids import Signal
from heliograph.net.http.server import Request, Response, Wording
from heliograph.net.http.status import encode_status, encode_status_json, grpc_code, http_status
from heliograph.receivers.otlp.intake import Intake, Refusal

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_DONE = {
    PROTOBUF: Response(200, b"\x0a\x00", PROTOBUF),
    JSON: Response(200, b'{"partialSuccess":{}}', JSON),
}


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def worded(content_type: str, status: int, code: int, message: str) -> Response:
    """An error in the format of the request; JSON for a request that has no content type, as upstream answers."""
    kind = media_type(content_type) or JSON
    if kind == PROTOBUF:
        return Response(status, encode_status(code, message), PROTOBUF)
    if kind == JSON:
        return Response(status, encode_status_json(code, message), JSON)
    return Response(status, message.encode("utf-8", "replace"), "text/plain")


def _word(content_type: str, status: int, message: str) -> Response:
    return worded(content_type, status, grpc_code(status), message)


WORDING: Wording = _word


class SignalRoute:
    """The route of one signal."""

    def __init__(self, signal: Signal, intake: Intake) -> None:
        self._signal = signal
        self._intake = intake

    def refuse(self, method: str, content_type: str) -> Response | None:
        """Only POST, only protobuf and JSON."""
        if method != "POST":
            return Response(405, b"405 method not allowed, supported: [POST]", headers={"Allow": "POST"})
        if media_type(content_type) not in _DONE:
            return Response(415, f"415 unsupported media type, supported: [{JSON}, {PROTOBUF}]".encode())
        return None

    async def handle(self, request: Request) -> Response:
        """Take one export request."""
        kind = media_type(request.content_type)
        body = request.body
        if kind == JSON:
            from heliograph.otlp.json import request_from_json

            try:
                body = request_from_json(self._signal.value, body)
            except MalformedPayload as error:
                return self._refused(kind, self._intake.malformed(self._signal, error))
        refusal = await self._intake.take(self._signal, body, request.peer, self._metadata(request), request.auth)
        if refusal is not None:
            return self._refused(kind, refusal)
        done = _DONE[kind]
        return Response(done.status, done.body, done.content_type)

    def _metadata(self, request: Request) -> Mapping[str, tuple[str, ...]]:
        return request.headers if self._intake.include_metadata else {}

    def _refused(self, kind: str, refusal: Refusal) -> Response:
        response = worded(kind, http_status(refusal.code), refusal.code, refusal.message)
        if refusal.retry_after is not None:
            response.headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after)))
        return response
