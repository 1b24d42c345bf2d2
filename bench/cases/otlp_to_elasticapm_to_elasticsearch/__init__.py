"""The whole backend path: enriched, aggregated, written as OTel-mode documents to a bulk API that takes everything.

Upstream has no elasticapm, so its figure is that of its plain path (otlp to elasticsearch) for the same spans: ours may
cost twice that. The aggregated metrics end in `nop`, since documents are counted; they are some thousand a minute.
"""

from pathlib import Path

from bench.case import Case, Measured, Options, forward
from bench.variant import Variant

_OURS = Path(__file__).with_name("config.yaml")
_PLAIN = Path(__file__).with_name("upstream.yaml")


def _run(case: Case, variant: Variant, options: Options) -> Measured:
    requests = 80 if options.quick else 400
    config = _OURS if variant.source else _PLAIN
    return forward(case, variant, options, config, "bulk", signal="traces", items=512, requests=requests)


CASES = (Case("otlp_to_elasticapm_to_elasticsearch", "document", _run, 2.0),)
