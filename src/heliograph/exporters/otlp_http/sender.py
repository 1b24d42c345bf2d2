"""Sends batches over OTLP/HTTP.

429, 502, 503, 504 and network errors are tried again, after Retry-After when the server names a time; 413 cuts the
batch (delivery/halving.py); every other status is permanent. Source: the OTLP specification, "OTLP/HTTP Response", and
upstream's exporter/otlphttpexporter.
"""

from collections.abc import Sequence

from heliograph.component.batch import Batch, Context
from heliograph.component.errors import Denied, MalformedPayload, Permanent, Retryable, StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.delivery.delivery import Delivery
from heliograph.delivery.halving import Halving, TooLargeForServer
from heliograph.delivery.sender import SENT, SendResult
from heliograph.exporters.otlp_http.config import OTLPHTTPConfig
from heliograph.net.http.client import Answer, HttpClient
from heliograph.net.http.status import decode_message, grpc_code
from heliograph.net.tls import keep_fresh
from heliograph.otlp.json import request_to_json
from heliograph.otlp.request import request
from heliograph.otlp.response import partial_success, partial_success_json

_RETRYABLE = frozenset({429, 502, 503, 504})
_DENIED = frozenset({401, 403, 404, 407})
_TOO_LARGE = 413


def create(settings: Settings, config: OTLPHTTPConfig) -> Delivery:
    """An exporter for one signal."""
    sender = OTLPHTTPSender(settings, config)
    return Delivery(
        settings,
        sender,
        queue=config.sending_queue,
        retry=config.retry_on_failure,
        timeout=config.timeout,
        endpoint=sender.url,
    )


class OTLPHTTPSender:
    """The Sender of one signal. url: where it posts."""

    def __init__(self, settings: Settings, config: OTLPHTTPConfig) -> None:
        assert settings.signal is not None
        self._config = config
        self._signal = settings.signal
        self._name = f"exporter {settings.id}"
        self._log = settings.telemetry.log
        self._json = config.encoding == "json"
        self._content_type = "application/json" if self._json else "application/x-protobuf"
        self._client = HttpClient(config)
        self._halving = Halving(self._send, self._log)
        self.url = config.url(self._signal)

    async def open(self, host: Host) -> None:
        """Get ready. Raises StartError."""
        if not self.url:
            raise StartError(f"{self._name} is in a {self._signal} pipeline: set endpoint or {self._signal}_endpoint")
        await self._client.open(host, self._name)
        tls = self._config.tls
        if tls.reload_interval > 0 and self._client.tls is not None:
            host.spawn(keep_fresh(self._client.tls, tls, host.clock, self._log), f"{self._name} certificate")

    async def send(self, batch: Batch) -> SendResult:
        """Send one batch."""
        return await self._halving.send(batch)

    def forget(self, batch: Batch) -> SendResult:
        """What became of a batch that is given up."""
        return self._halving.forget(batch)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _send(self, parts: Sequence[bytes], items: int, context: Context) -> SendResult:
        body = request(parts)
        if self._json:
            body = request_to_json(self._signal.value, body)
        answer = await self._client.post(self.url, body, self._content_type, context)
        if 200 <= answer.status < 300:
            return self._accepted(answer, items)
        said = decode_message(answer.content_type, answer.body)
        message = f"{self.url} answered {answer.status}" + (f": {said}" if said else "")
        if answer.status in _RETRYABLE:
            raise Retryable(message, answer.retry_after)
        if answer.status in _DENIED:
            raise Denied(message, "endpoint, headers and auth of this exporter, and the rights of its key")
        if answer.status == _TOO_LARGE:
            raise TooLargeForServer(message)
        raise Permanent(message, code=grpc_code(answer.status))

    def _accepted(self, answer: Answer, items: int) -> SendResult:
        try:
            if answer.content_type == "application/json":
                rejected, message = partial_success_json(answer.body)
            elif answer.content_type == "application/x-protobuf":
                rejected, message = partial_success(answer.body)
            else:
                return SENT
        except MalformedPayload as error:
            self._log.warning("%s took %d %s; its answer is unreadable: %s", self.url, items, self._signal.items, error)
            return SENT
        if rejected or message:
            self._log.warning(
                "%s took a part: it rejected %d of %d %s: %s", self.url, rejected, items, self._signal.items, message
            )
        return SendResult(rejected={"rejected": min(rejected, items)}) if rejected else SENT
