"""print-config: every value with its origin, secrets hidden, and the text is a configuration again."""

from pathlib import Path

from heliograph.config.load import load
from heliograph.config.printed import printed

TEXT = """\
receivers: {nop: }
exporters:
  otlp_grpc:
    endpoint: ${env:GATEWAY}
    headers: {Authorization: "ApiKey ${env:KEY}"}
    timeout: 90s
    sending_queue: {num_consumers: 2}
  otlp_http: {endpoint: "https://user:hunter2@host:4318"}
service: {pipelines: {logs: {receivers: [nop], exporters: [otlp_grpc, otlp_http]}}}
"""


def lines(tmp_path: Path, *, redacted: bool = True) -> list[str]:
    """The printed configuration without the folder and without padding."""
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    loaded = load(
        [str(path)], ["exporters.otlp_grpc.retry_on_failure.enabled=false"], {"GATEWAY": "g:1", "KEY": "hunter2"}
    )
    text = printed(loaded, redacted=redacted).replace(f"{tmp_path}/", "")
    return [" ".join(line.split()) for line in text.splitlines()]


def test_each_value_has_its_origin(tmp_path: Path) -> None:
    """File and line, environment, --set, default."""
    found = lines(tmp_path)
    assert "endpoint: g:1 # c.yaml:4 (environment GATEWAY)" in found
    assert "timeout: 1m30s # c.yaml:6" in found
    assert "num_consumers: 2 # c.yaml:7" in found
    assert "queue_size: 1000 # default" in found
    assert "enabled: false # --set exporters.otlp_grpc.retry_on_failure.enabled" in found
    assert "exporters: [otlp_grpc, otlp_http] # c.yaml:9" in found


def test_secrets_are_hidden_unless_asked_for(tmp_path: Path) -> None:
    """Header values and credentials in URLs."""
    hidden = lines(tmp_path)
    assert not any("hunter2" in line for line in hidden)
    assert 'Authorization: "[REDACTED]" # c.yaml:5 (environment KEY)' in hidden
    assert sum("hunter2" in line for line in lines(tmp_path, redacted=False)) == 2


def test_what_is_printed_is_a_configuration_again(tmp_path: Path) -> None:
    """Loading the printed text gives the same components."""
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    first = load([str(path)], [], {"GATEWAY": "g:1", "KEY": "k"})
    path.write_text(printed(first, redacted=False))
    second = load([str(path)], [], {})
    assert {key: item.config for key, item in second.components.items()} == {
        key: item.config for key, item in first.components.items()
    }
    assert second.telemetry == first.telemetry
    assert list(second.pipelines) == list(first.pipelines)
