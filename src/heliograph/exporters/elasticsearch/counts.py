"""What the exporter counts beside delivery: upstream's metrics of documents and bulk requests, and duplicates."""

from heliograph.telemetry.component import ComponentTelemetry
from heliograph.telemetry.metrics import Counter

_LATENCY = (
    0, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 25, 50, 75, 100,
    250, 500, 750, 1000, 2500, 5000, 7500, 10000,
)  # fmt: skip
_MOST_TYPES = 64


class Counts:
    """The metrics of one exporter and signal."""

    def __init__(self, telemetry: ComponentTelemetry, signal: str) -> None:
        self._telemetry = telemetry
        self._signal = signal
        self._types: set[str] = set()
        count = self._counter
        self.received = count("docs_received", "Documents made from telemetry.")
        self.retried = count("docs_retried", "Documents sent again because the server refused them for now.")
        self.retried_requests = count("docs_retried_http_request", "Documents sent again because a request failed.")
        self.set_aside = telemetry.counter(
            "heliograph_elasticsearch_set_aside_documents",
            "Documents set aside because their index took none; they are sent when it does.",
            data_type=signal,
        )
        self.bytes = count("flushed_bytes", "Bytes of bulk requests as sent.")
        self.uncompressed_bytes = count("flushed_uncompressed_bytes", "Bytes of bulk requests before compression.")
        self.duplicates = telemetry.counter(
            "heliograph_elasticsearch_duplicate_documents",
            "Documents that were there already (409); they count as delivered.",
            data_type=signal,
        )

    def processed(self, outcome: str, status: int, documents: int, error_type: str = "") -> None:
        """Documents whose fate is known."""
        labels = {"outcome": outcome, "http_response_status_code": str(status)}
        if error_type:
            if error_type not in self._types and len(self._types) >= _MOST_TYPES:
                error_type = "other"
            self._types.add(error_type)
            labels["error_type"] = error_type
        self._counter("docs_processed", "Documents by outcome.", **labels).add(documents)

    def request(self, outcome: str, status: int, seconds: float) -> None:
        """A bulk request that is over."""
        labels = {"outcome": outcome, "http_response_status_code": str(status)} if status else {"outcome": outcome}
        self._counter("bulk_requests_count", "Bulk requests.", **labels).add(1)
        self._telemetry.metrics.histogram(
            "otelcol_elasticsearch_bulk_requests_latency",
            "Seconds that bulk requests took.",
            {str(self._telemetry.kind): str(self._telemetry.id), "data_type": self._signal, **labels},
            _LATENCY,
        ).observe(seconds)

    def _counter(self, name: str, help: str, **labels: str) -> Counter:
        return self._telemetry.counter(f"otelcol_elasticsearch_{name}", help, data_type=self._signal, **labels)


def outcome_of(status: int) -> str:
    """Upstream's word for a status."""
    if status == 429:
        return "too_many"
    if 200 <= status < 300:
        return "success"
    if status >= 500:
        return "failed_server"
    return "failed_client" if status >= 400 else "unknown"
