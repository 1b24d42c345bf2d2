"""Loading whole configurations: what is refused, with which words; what is warned about; what comes out."""

from pathlib import Path

import pytest

from heliograph.component.ids import ComponentId, Kind, PipelineId
from heliograph.config.load import load
from heliograph.config.model import Loaded
from heliograph.config.problem import InvalidConfig

TEN = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpont: 0.0.0.0:4317
processors:
  batch:
    send_batch_size: "8192"
  batch/2:
    timeout: 5 seconds
exporters:
  debug:
    verbosity: detailled
  debugg: {}
  file: {path: 5}
extension: {}
service:
  extensions: [file_storage]
  pipelines:
    logs:
      receivers: otlp
      exporters: [debug]
    metrics:
      receivers: [otlp]
      processors: [batch, batch, bacth]
      exporters: [otlp]
    trace/x: {receivers: [otlp]}
    traces:
      exporters: [debug]
  telemetry: {logs: {level: loud}}
"""

GOOD = """\
receivers: {nop: }
exporters: {nop: }
service: {pipelines: {logs: {receivers: [nop], exporters: [nop]}}}
"""


def loaded(tmp_path: Path, *texts: str, sets: tuple[str, ...] = (), **environ: str) -> Loaded:
    """Load YAML texts as files that are merged."""
    paths = []
    for index, text in enumerate(texts):
        path = tmp_path / f"{index}.yaml"
        path.write_text(text)
        paths.append(str(path))
    return load(paths, sets, environ)


def mistakes(tmp_path: Path, *texts: str, sets: tuple[str, ...] = (), **environ: str) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(InvalidConfig) as caught:
        loaded(tmp_path, *texts, sets=sets, **environ)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_all_mistakes_come_in_one_run_with_their_lines(tmp_path: Path) -> None:
    """Fifteen mistakes in one file give fifteen messages, in the order of the file."""
    found = mistakes(tmp_path, TEN)
    assert [line.split(": ")[0].removeprefix("0.yaml:") + " " + line.split(": ")[1] for line in found] == [
        "5:9 receivers::otlp::protocols::grpc::endpont",
        "8:5 processors::batch::send_batch_size",
        "10:5 processors::batch/2::timeout",
        "13:5 exporters::debug::verbosity",
        "14:3 exporters::debugg",
        "15:10 exporters::file::path",
        "16:1 extension",
        "18:16 service::extensions::0",
        "21:7 service::pipelines::logs::receivers",
        "25:27 service::pipelines::metrics::processors::1",
        "25:34 service::pipelines::metrics::processors::2",
        "26:19 service::pipelines::metrics::exporters::0",
        "27:5 service::pipelines::trace/x",
        "28:5 service::pipelines::traces::receivers",
        "30:22 service::telemetry::logs::level",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("exporters: {nosuch: }", 'exporters::nosuch: unknown exporter type "nosuch"; known exporters: '),
        (
            "processors: {transform: }",
            'unknown processor type "transform": it exists upstream and is not available here',
        ),
        ("exporters: {filelog: }", "filelog belongs under receivers: (known exporters: "),
        ("exporters: {debug/: }", 'exporters::debug/: "debug/" is no id: the part after / should not be empty'),
        ("exporters: {debug: {verbosty: basic}}", 'exporters::debug::verbosty: unknown key; did you mean "verbosity"?'),
        ("exporters: [nop]", "exporters: expected a map of exporters, found a list"),
        ("exporter: {}", 'exporter: unknown section; did you mean "exporters"?'),
        ("service: {pipeline: {}}", 'service::pipeline: unknown key; did you mean "pipelines"?'),
        ("service::pipelines: null", "service::pipelines: there must be at least one pipeline"),
        ("service: null", "service::pipelines: there must be at least one pipeline"),
        ("service::pipelines::foo: {}", '"foo" is no id of a pipeline: unknown pipeline signal'),
        ("service::pipelines::profiles: {}", "the signal profiles is not supported; remove this pipeline"),
        ("service::pipelines::logs::receivers: []", "logs::receivers: there must be at least one receiver"),
        (
            "service::pipelines::logs::exporters: nop",
            'logs::exporters: expected a list, found the text "nop"; write ["nop"]',
        ),
        ("service::pipelines::logs::processors: [batch]", 'processor "batch" is not defined; add it under processors:'),
        ("service::pipelines::logs::exporters: [nopp]", 'exporter "nopp" is not defined; did you mean "nop"?'),
        ("service::extensions: [nop]", 'extension "nop" is not defined; nop is defined as a receiver'),
        (
            "service::telemetry::metrics::address: ':1'",
            "address: this key is known upstream but not supported here; write",
        ),
        ("service::telemetry::metrics::readers: []", "readers: must not be empty unless level is none"),
        ("service::telemetry::metrics::readers: [{periodic: {}}]", "readers::0::periodic: this key is known upstream"),
        ("service::telemetry::traces::processors: []", "this program makes no spans of its own"),
        ("service::telemetry::logs::level: loud", '"loud" is no level; one of debug, info, warn, error'),
        (
            "service::telemetry::resource: {a: 1}",
            'resource::a: expected text, found the number 1; put it in quotes: "1"',
        ),
    ],
)
def test_each_mistake_of_the_whole_has_its_message(tmp_path: Path, change: str, message: str) -> None:
    """One change to a good configuration, one message that tells what to do."""
    found = mistakes(tmp_path, GOOD, change)
    assert any(message in line for line in found), found
    assert all(line.startswith(("1.yaml:1:", "0.yaml:")) for line in found)


def test_unused_components_are_checked_too(tmp_path: Path) -> None:
    """As upstream: what no pipeline uses must be right all the same."""
    found = mistakes(tmp_path, GOOD, "processors: {batch: {timeout: x}}")
    assert found == [
        '1.yaml:1:22: processors::batch::timeout: "x" is not a duration; '
        "write it like 30s, 200ms or 1h30m (units: h m s ms us ns)"
    ]


def test_a_connector_must_join_two_pipelines(tmp_path: Path) -> None:
    """Used on one side only, or between signals that it does not join."""
    one_side = "{connectors: {forward: }, service: {pipelines: {logs: {exporters: [forward]}}}}"
    assert mistakes(tmp_path, GOOD, one_side) == [
        '1.yaml:1:68: service::pipelines::logs::exporters::0: connector "forward" is used as exporter here and as '
        "receiver nowhere; list it as receiver in another pipeline, or remove it"
    ]
    wrong = (
        "{connectors: {forward: }, service: {pipelines: {logs: {exporters: [forward]},"
        " metrics: {receivers: [forward], exporters: [nop]}}}}"
    )
    assert any(
        'connector "forward" cannot join logs here with metrics there' in m for m in mistakes(tmp_path, GOOD, wrong)
    )
    both = (
        "{connectors: {forward: }, service: {pipelines: {logs: {exporters: [forward]},"
        " logs/2: {receivers: [forward], exporters: [nop]}}}}"
    )
    assert len(loaded(tmp_path, GOOD, both).pipelines) == 2


def test_an_extension_that_is_used_must_run(tmp_path: Path) -> None:
    """Defined is not enough: it must be in service::extensions."""
    text = (
        "{extensions: {file_storage: {directory: /tmp}}, exporters: {otlp_grpc: {endpoint: 'a:1',"
        " sending_queue: {storage: file_storage}}}, service: {pipelines: {logs: {exporters: [otlp_grpc]}}}}"
    )
    assert mistakes(tmp_path, GOOD, text) == [
        '1.yaml:1:106: exporters::otlp_grpc::sending_queue::storage: extension "file_storage" does not run; '
        "define it and add file_storage to service::extensions"
    ]


def test_a_null_pipeline_is_removed_by_a_later_file(tmp_path: Path) -> None:
    """And null resets a section or a component."""
    result = loaded(tmp_path, GOOD, "service::pipelines::traces: {receivers: [nop], exporters: [nop]}")
    assert list(map(str, result.pipelines)) == ["logs", "traces"]
    result = loaded(
        tmp_path,
        GOOD,
        "service::pipelines::traces: {receivers: [x], exporters: [y]}",
        "service::pipelines::traces: null",
    )
    assert list(map(str, result.pipelines)) == ["logs"]


def test_set_comes_last_and_takes_yaml(tmp_path: Path) -> None:
    """Dots or ::, lists, new components, references."""
    sets = ("processors.batch.timeout=${env:T}", "service::pipelines::logs::processors=[batch]")
    result = loaded(tmp_path, GOOD, "processors: {batch: {timeout: 1s}}", sets=sets, T="3s")
    batch = result.components[Kind.PROCESSOR, ComponentId("batch")]
    assert getattr(batch.config, "timeout") == 3  # noqa: B009
    assert result.pipelines[PipelineId.parse("logs")].processors == (ComponentId("batch"),)
    assert mistakes(tmp_path, GOOD, sets=("exporters.nop",)) == [
        "--set exporters.nop: missing equal sign; write --set path.to.key=value"
    ]


def test_deprecated_names_are_aliases_with_a_warning(tmp_path: Path) -> None:
    """The canonical type comes out, the id stays."""
    result = loaded(tmp_path, GOOD, "receivers: {filelog/a: {include: [/x]}}")
    assert result.components[Kind.RECEIVER, ComponentId("filelog", "a")].type == "file_log"
    assert [warning.partition(": ")[2] for warning in result.warnings] == [
        'receivers::filelog/a: "filelog" alias is deprecated; use "file_log" instead'
    ]


def test_telemetry_has_upstreams_defaults_and_forms(tmp_path: Path) -> None:
    """Level in any case, both forms of the resource, where Prometheus looks."""
    result = loaded(tmp_path, GOOD).telemetry
    assert (result.logs.level, result.metrics.listeners) == ("info", (("localhost", 8888),))
    text = (
        "service::telemetry: {logs: {level: DEBUG, encoding: json}, resource: {attributes: [{name: a, value: b}]},"
        " metrics: {level: Detailed, readers: [{pull: {exporter: {prometheus: {host: 0.0.0.0, port: 9}}}}]}}"
    )
    result = loaded(tmp_path, GOOD, text).telemetry
    assert (result.logs.level, result.metrics.level) == ("debug", "detailed")
    assert (result.metrics.listeners, result.resource) == ((("0.0.0.0", 9),), {"a": "b"})
    assert loaded(tmp_path, GOOD, "service::telemetry::metrics::level: none").telemetry.metrics.listeners == ()


def test_a_mistake_in_an_expansion_is_told_once(tmp_path: Path) -> None:
    """The value that could not be expanded is not complained about again."""
    assert mistakes(tmp_path, GOOD, "processors: {batch: {timeout: '${bogus:x}', send_batch_size: x}}") == [
        '1.yaml:1:22: processors::batch::timeout: scheme "bogus" is not supported; '
        "schemes are env, file, http, https, yaml; $${ is a plain ${",
        '1.yaml:1:45: processors::batch::send_batch_size: expected an integer, found the text "x"',
    ]
