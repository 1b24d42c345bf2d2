"""The cases: a folder each, with the configuration that both programs get and what is sent through it."""

from bench.case import Case
from bench.cases import (
    container_logs_to_otlp,
    file_log_idle,
    file_log_operators,
    host_metrics_idle,
    otlp_to_elasticapm_to_elasticsearch,
    otlp_to_elasticsearch,
    otlp_to_otlp,
)

ALL: tuple[Case, ...] = (
    *container_logs_to_otlp.CASES,
    *file_log_operators.CASES,
    *otlp_to_otlp.CASES,
    *otlp_to_elasticsearch.CASES,
    *otlp_to_elasticapm_to_elasticsearch.CASES,
    *host_metrics_idle.CASES,
    *file_log_idle.CASES,
)
