"""Forwarding spans, checked and counted, through the `batch` processor: large requests, small ones, and large ones with
gzip on both sides."""

from pathlib import Path

from bench.case import Case, Measured, Options, forward
from bench.variant import Variant

CONFIG = Path(__file__).with_name("config.yaml")


def _large(case: Case, variant: Variant, options: Options) -> Measured:
    requests = 300 if options.quick else 2000
    return forward(case, variant, options, CONFIG, "otlp", signal="traces", items=512, requests=requests)


def _small(case: Case, variant: Variant, options: Options) -> Measured:
    requests = 5000 if options.quick else 30_000
    return forward(case, variant, options, CONFIG, "otlp", signal="traces", items=10, requests=requests)


def _gzip(case: Case, variant: Variant, options: Options) -> Measured:
    requests = 150 if options.quick else 1000
    return forward(
        case, variant, options, CONFIG, "otlp", signal="traces", items=512, requests=requests, compression="gzip"
    )


CASES = (
    Case("otlp_to_otlp/512", "span", _large, 1 / 2),
    Case("otlp_to_otlp/10", "span", _small, 1.0),
    Case("otlp_to_otlp/512_gzip", "span", _gzip),
)
