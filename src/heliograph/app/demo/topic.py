"""A topic of messages inside a service: sending in a producer span, handling in a consumer span of the same trace."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry import propagate
from opentelemetry.trace import SpanKind, Tracer

Message = dict[str, Any]


class Topic:
    """handle: called with each message, in a thread of the topic's own."""

    def __init__(self, tracer: Tracer, name: str, handle: Callable[[Message], None]) -> None:
        self._tracer = tracer
        self._name = name
        self._handle = handle
        self._waiting: queue.SimpleQueue[tuple[dict[str, str], Message]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def send(self, message: Message) -> None:
        """Put a message at the end."""
        with self._tracer.start_as_current_span(
            f"send {self._name}", kind=SpanKind.PRODUCER, attributes=self._attributes("send")
        ):
            headers: dict[str, str] = {}
            propagate.inject(headers)
            self._waiting.put((headers, message))

    def _work(self) -> None:
        while True:
            headers, message = self._waiting.get()
            with self._tracer.start_as_current_span(
                f"process {self._name}",
                context=propagate.extract(headers),
                kind=SpanKind.CONSUMER,
                attributes=self._attributes("process"),
            ):
                self._handle(message)

    def _attributes(self, operation: str) -> dict[str, str]:
        return {
            "messaging.system": "memory",
            "messaging.destination.name": self._name,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
        }
