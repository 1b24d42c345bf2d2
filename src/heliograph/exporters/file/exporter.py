"""The exporter: a request becomes a line of OTLP/JSON, or its length (4 bytes, big-endian) and its bytes.

With compression each request is compressed on its own, and lengths stand before JSON too, as upstream does it. There is
no queue: an error of the file goes back to the sender of the data, who keeps it.
"""

from collections.abc import Callable
from pathlib import Path

import zstandard

from heliograph.component.batch import Batch
from heliograph.component.errors import Retryable, StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.delivery.config import QueueConfig, RetryConfig
from heliograph.delivery.delivery import Delivery
from heliograph.delivery.sender import SENT, SendResult
from heliograph.exporters.file.config import FileConfig
from heliograph.exporters.file.writer import Writer, acquire, release
from heliograph.otlp.json import request_to_json
from heliograph.otlp.request import request


class FileSender:
    """A Sender that writes to a file."""

    def __init__(self, name: str, config: FileConfig) -> None:
        self._name = name
        self._config = config
        self._path = Path(config.path)
        self._encode = _encoder(config)
        self._writer: Writer | None = None

    async def open(self, host: Host) -> None:
        """Open the file. Raises StartError."""
        config = self._config
        try:
            if config.create_directory:
                self._path.parent.mkdir(mode=config.directory_mode, parents=True, exist_ok=True)
            self._writer = acquire(self._path, append=config.append, rotation=config.rotation, clock=host.clock)
        except OSError as error:
            fix = "" if self._path.parent.exists() else ": make its directory, or set `create_directory: true`"
            raise StartError(f"{self._name}: cannot open {self._path}: {error.strerror}{fix}") from error

    async def send(self, batch: Batch) -> SendResult:
        """Write a request."""
        writer = self._writer
        if writer is None:
            raise Retryable(f"{self._name}: {self._path} is closed")
        data = self._encode(str(batch.signal), request(batch.parts))
        try:
            writer.write(data)
        except OSError as error:
            raise Retryable(f"{self._name}: cannot write {self._path}: {error.strerror}") from error
        return SENT

    async def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer = None
            release(self._path)


def _encoder(config: FileConfig) -> Callable[[str, bytes], bytes]:
    """(signal, request as protobuf) -> what is written."""
    as_json = config.format == "json"
    if config.compression:
        compress = zstandard.ZstdCompressor(level=config.compression_params.level or 3).compress
        if as_json:
            return lambda signal, body: _framed(compress(request_to_json(signal, body)))
        return lambda signal, body: _framed(compress(body))
    if as_json:
        return lambda signal, body: request_to_json(signal, body) + b"\n"
    return lambda signal, body: _framed(body)


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def create(settings: Settings, config: FileConfig) -> Delivery:
    """The exporter, without a queue, as upstream's."""
    sender = FileSender(f"exporter {settings.id}", config)
    queue, retry = QueueConfig(enabled=False), RetryConfig(enabled=False)
    return Delivery(settings, sender, queue=queue, retry=retry, timeout=0, endpoint=config.path)
