"""OTel-mode documents, gzipped, into a bulk API that takes everything: spans, log records and data points."""

from pathlib import Path

from bench.case import Case, Measured, Options, forward
from bench.variant import Variant

CONFIG = Path(__file__).with_name("config.yaml")


def _spans(case: Case, variant: Variant, options: Options) -> Measured:
    requests = 80 if options.quick else 400
    return forward(case, variant, options, CONFIG, "bulk", signal="traces", items=512, requests=requests)


def _logs(case: Case, variant: Variant, options: Options) -> Measured:
    requests = 80 if options.quick else 400
    return forward(case, variant, options, CONFIG, "bulk", signal="logs", items=512, requests=requests)


CASES = (
    Case("otlp_to_elasticsearch/spans", "document", _spans, 1.0),
    Case("otlp_to_elasticsearch/logs", "document", _logs, 1.0),
)
