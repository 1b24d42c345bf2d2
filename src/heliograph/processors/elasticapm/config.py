"""Keys of the `elasticapm` processor: one switch for each thing it adds.

Names and defaults are those of Elastic's processor (internal/enrichments/config/config.go). Switches that are off
there by default are off here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from heliograph.component.config import key
from heliograph.component.switches import Switches


class ResourceSwitches(Switches):
    """What is added to resources."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        "agent_name": True,
        "agent_version": True,
        "override_host_name": True,
        "deployment_environment": True,
        "default_deployment_environment": False,
        "service_language": True,
        "default_service_language": False,
        "service_instance_id": True,
        "service_name": False,
        "host_os_type": False,
    }


class ScopeSwitches(Switches):
    """What is added to scopes; the first switch rules both attributes, as it does in Elastic's."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {"service_framework_name": True, "service_framework_version": True}


class TransactionSwitches(Switches):
    """What is added to spans that are transactions."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        "timestamp_us": True,
        "sampled": True,
        "id": True,
        "clear_span_id": False,
        "root": True,
        "name": True,
        "clear_span_name": False,
        "processor_event": True,
        "representative_count": True,
        "duration_us": True,
        "type": True,
        "result": True,
        "event_outcome": True,
        "inferred_spans": True,
        "user_agent": True,
        "remove_messaging": True,
        "message_queue_name": True,
    }


class SpanSwitches(Switches):
    """What is added to the other spans, and to transactions that are an outgoing call."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        "timestamp_us": True,
        "processor_event": True,
        "representative_count": True,
        "action": True,
        "type_subtype": True,
        "duration_us": True,
        "event_outcome": True,
        "service_target": True,
        "destination_service": True,
        "inferred_spans": True,
        "user_agent": True,
        "remove_messaging": True,
        "message_queue_name": True,
    }


_ERROR = {
    "error_id": True,
    "error_stack_trace": False,
    "error_grouping_key": True,
    "error_grouping_name": True,
    "error_type": False,
    "timestamp_us": True,
    "error_exception_type": False,
    "error_exception_message": False,
    "error_exception_handled": True,
}


class SpanEventSwitches(Switches):
    """What is added to span events."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        **_ERROR,
        "transaction_sampled": True,
        "transaction_type": True,
        "processor_event": True,
    }


class LogSwitches(Switches):
    """What is added to log records."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        **_ERROR,
        "error_stack_trace": True,
        "error_grouping_name": False,
        "error_type": True,
        "error_exception_type": True,
        "error_exception_message": True,
        "event_kind": True,
        "event_type": True,
        "event_category": True,
        "event_action": True,
    }


class MetricSwitches(Switches):
    """What is added to the resources of metrics."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {"processor_event": False, "metricset_name": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticApmConfig:
    """Adds the attributes that Elastic's Observability screens ask for. Each switch reads `name: {enabled: false}`."""

    resource: ResourceSwitches = key(ResourceSwitches.default, "Attributes of resources.")
    scope: ScopeSwitches = key(ScopeSwitches.default, "Attributes of scopes.")
    elastic_transaction: TransactionSwitches = key(TransactionSwitches.default, "Attributes of transactions.")
    elastic_span: SpanSwitches = key(SpanSwitches.default, "Attributes of other spans.")
    span_event: SpanEventSwitches = key(SpanEventSwitches.default, "Attributes of span events.")
    elastic_log: LogSwitches = key(LogSwitches.default, "Attributes of log records.")
    elastic_metric: MetricSwitches = key(MetricSwitches.default, "Attributes of the resources of metrics.")
    skip_enrichment: bool = key(
        False,
        "Leave logs and metrics as they are, unless a request asks for mapping mode ecs. Spans are enriched.",
    )
    service_name_in_datastream_dataset: bool = key(
        False,
        "Puts the service's name into the data stream in mapping mode ecs, not written here: only false.",
    )
    host_ip_enabled: bool = key(
        False, "Adds the sender's address in mapping mode ecs, which is not written here: only false."
    )

    def check(self) -> Iterator[tuple[str, str]]:
        for name in ("service_name_in_datastream_dataset", "host_ip_enabled"):
            if getattr(self, name):
                yield name, "has a meaning only in mapping mode ecs, documents are written in mode otel: remove the key"
